"""Sales Insight's fields come back to Dynamics: the guide's table, nightly tiers, echoes, and who is left out."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from emulators.dataverse.harness import registration
from local.harness import Made, Rows, System, eventually, running_system
from local.harness.commands import Ended, run, run_here
from local.harness.insight import Insight
from local.harness.secrets import secrets_in_logs
from local.harness.showing import way_to
from local.queues import INTAKE
from tests.e2e.conftest import ENVIRONMENT, LIMITS

LONG = "Ä long descriptiön " * 30
NOTHING = dict.fromkeys(
    (
        *(f"msiLastInterestingMoment{part}" for part in ("Type", "Date", "Desc", "Source")),
        *("priority", "relativeUrgency", "relativeScoring"),
    )
)


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    directory = tmp_path_factory.mktemp("write-back")
    async with running_system(directory, marketo=LIMITS, functions_environment=ENVIRONMENT) as system:
        yield system
        assert not await secrets_in_logs(system)


@pytest.fixture
async def insight(running: System) -> AsyncIterator[Insight]:
    """Nothing is left to write back, and the first sweep is not due."""
    found = Insight(running)
    await found.run()
    with way_to(running):
        yield found


async def msisync(insight: Insight, line: str) -> Ended:
    return await run_here(insight.system.stack.settings_file, *f"write-back run {line} --json".split())


def only(ended: Ended) -> dict[str, Any]:
    """The only run of a command that went well."""
    assert ended.code == 0, ended
    (found,) = ended.json["runs"]
    return dict(found)


async def test_the_guides_seven_fields_reach_leads_and_contacts_and_nothing_echoes(insight: Insight) -> None:
    system = insight.system
    for table in ("contact", "lead"):
        await system.dataverse(
            "/seed", registration(table, queue=INTAKE)
        )  # every update is posted, whatever columns it has
    (contact,), (lead,) = await insight.people(1), await insight.people(1, "lead")
    assert await insight.values(contact) == await insight.values(lead) == NOTHING
    calculated = {"priority": 7, "relativeUrgency": 2, "relativeScore": 3}
    await insight.moment(contact, "Email", "Opened: “Prices”", activityDate="2026-03-04T10:11:12Z")
    await insight.score(contact, **calculated)
    await insight.moment(lead, "Web " * 40, LONG, activityDate="2026-03-05T23:59:59-06:00")
    async with insight.counted() as calls:
        await insight.run()
        assert await insight.values(contact) == {
            "msiLastInterestingMomentType": "Email", "msiLastInterestingMomentDate": "2026-03-04T10:11:12Z",
            "msiLastInterestingMomentDesc": "Opened: “Prices”", "msiLastInterestingMomentSource": "Visit",
            "priority": 7, "relativeUrgency": 2, "relativeScoring": 3,
        }  # fmt: skip
        assert await insight.values(lead) == NOTHING | {
            "msiLastInterestingMomentType": ("Web " * 25).rstrip(),
            "msiLastInterestingMomentDate": "2026-03-06T05:59:59Z",
            "msiLastInterestingMomentDesc": LONG[:255].rstrip(),
            "msiLastInterestingMomentSource": "Visit",
        }

        async def posted() -> int:
            stats = await system.dataverse("/stats")
            return 0 if stats["pending_posts"] else int(stats["posted"])

        await eventually(posted, lambda count: count == 2, what="a notification of each write")
        await system.broker.idle()
    assert calls.marketo.keys() <= {f"/rest/v1/{path}.json" for path in FOR_CHANGES}, calls
    assert calls.of_marketo == len(FOR_CHANGES)
    assert await system.received("contact") == 0
    assert not await system.broker.dead_letters()
    async with insight.counted() as calls:
        await insight.run()
    assert calls.marketo == {f"/rest/v1/{path}.json": 1 for path in ("activities", "activities/leadchanges")}
    assert not calls.dataverse
    for table in ("serviceendpoint", "sdkmessageprocessingstep"):
        assert await system.dataverse(f"/rows/{table}")  # they were there all the time


#: The calls of a run in which something has changed; the plan was made before.
FOR_CHANGES = ("activities", "activities/leadchanges", "leads")


async def test_emptied_fields_empty_columns_and_equal_values_are_left_alone(insight: Insight) -> None:
    one, other = await insight.people(2)
    await insight.score(one, other, relativeScore=2)
    await insight.run()
    assert await insight.scores([one, other]) == [2, 2]
    before = await insight.rows([one, other])
    await insight.score(one, relativeScore=None)
    await insight.score(other, relativeScore=2)
    await insight.run()
    after = await insight.rows([one, other])
    assert await insight.scores([one, other]) == [None, 2]
    assert after[other] == before[other]
    (last, *_) = await insight.runs()
    assert (last["kind"], last["read"], last["differing"], last["written"]) == ("changes", 2, 1, 1)


async def test_nightly_tiers_leave_no_activity_and_are_caught_by_the_sweep(insight: Insight) -> None:
    contacts, leads = await insight.people(3), await insight.people(2, "lead")
    switched_off = Rows().contact(new_synctomkto=False)
    rows = Rows()
    rows.made.append(switched_off)
    await insight.system.seed(rows)
    await insight.know(switched_off)
    everybody = [*contacts, *leads, switched_off]
    await insight.recalculate(*everybody, relativeScore=1)
    await insight.run()
    assert await insight.scores(everybody) == [None] * 6  # no activity, and the night is not over
    await insight.change_state("sweep", of="2026-01-01")
    await insight.run()
    assert await insight.scores(everybody) == [1, 1, 1, 1, 1, None]
    (last, *_) = await insight.runs()
    assert (last["kind"], last["written"], last["complete"]) == ("sweep", 5, True)
    await insight.recalculate(*everybody, relativeScore=3)
    await insight.run()
    assert await insight.scores(everybody) == [1, 1, 1, 1, 1, None]  # one sweep a night
    found = only(await msisync(insight, "--sweep"))
    assert (found["kind"], found["written"], found["complete"]) == ("sweep", 5, True)
    assert await insight.scores(everybody) == [3, 3, 3, 3, 3, None]


async def test_the_command_tells_what_it_would_write_writes_it_and_takes_single_persons(insight: Insight) -> None:
    one, other, third = await insight.people(3)
    await insight.score(one, other, relativeScore=2)
    rows, state = await insight.rows([one, other]), await insight.state()
    for option in ("--dry-run", "--dry-run --sweep", f"--dry-run --person {one.id} {other.values['emailaddress1']}"):
        found = only(await msisync(insight, option))
        assert (found["differing"], found["written"], found["failed"]) == (2, 0, 0), option
        assert (await insight.rows([one, other]), await insight.state()) == (rows, state), option
    found = only(await msisync(insight, f"--person {one.id}"))
    assert (found["read"], found["written"]) == (1, 1)
    assert await insight.scores([one, other]) == [2, None]
    ended = await run(insight.system.stack.settings_file, "write-back", "run", "--json")  # as an operator starts it
    found = only(ended)
    assert (found["kind"], found["read"], found["written"], found["complete"]) == ("changes", 2, 1, True)
    assert found["marketo_calls"] == 3
    assert await insight.scores([one, other, third]) == [2, 2, None]
    assert only(await msisync(insight, ""))["written"] == 0


async def test_who_is_merged_has_no_id_or_belongs_to_another_system_is_left_out(insight: Insight) -> None:
    system = insight.system
    winner, loser, deleted, known = await insight.people(4)
    elsewhere = Made("contact", str(uuid4()), {"emailaddress1": "elsewhere@x.example"})
    await insight.know(elsewhere)
    nobody, foreign = (
        await system.marketo("/seed", {"leads": [{"email": "n@x.example"}, {"externalPersonId": "00Q5e00001"}]})
    )["leads"]
    await insight.score(winner, loser, deleted, elsewhere, known, relativeScore=2)
    for lead_id in (nobody, foreign):
        score = {"leadId": lead_id, "activityTypeId": 22, "recalculated": {"relativeScore": 2}}
        await system.marketo("/activities", score)
    merger = {"winner": {"externalPersonId": winner.id}, "losers": [{"externalPersonId": loser.id}]}
    await system.marketo("/merge", merger)
    count = len(await system.dataverse("/rows/contact"))
    await insight.run()
    assert await insight.scores([winner, loser, deleted, known]) == [2, None, 2, 2]
    assert len(await system.dataverse("/rows/contact")) == count  # no row for who is not there
    assert elsewhere.id not in {row["leadid"] for row in await system.dataverse("/rows/lead")}
    (last, *_) = await insight.runs()
    assert (last["read"], last["written"], last["gone"], last["failed"], last["error"]) == (3, 3, 1, 0, "")


async def test_columns_and_fields_that_vanish_are_left_out_and_the_others_are_written(insight: Insight) -> None:
    system = insight.system
    one, other = await insight.people(2)
    await insight.score(one, priority=4, relativeScore=2)
    gone = ["new_priority"]
    await system.dataverse("/switches", {"removed_columns": {"contact": gone, "lead": gone}})
    await insight.run()
    assert await insight.scores([one]) == [2]
    await system.dataverse("/switches", {"removed_columns": {}})
    await insight.score(other, relativeScore=3)
    await insight.moment(other)
    await system.marketo("/switches", {"removed_fields": {"leads": ["relativeUrgency"]}})
    await insight.run()
    assert (await insight.values(other))["msiLastInterestingMomentType"] == "Web"
    assert await insight.scores([other]) == [3]
    await system.marketo("/switches", {"removed_fields": {}})
