"""The roles of an opportunity in Marketo are those that it has in Dynamics, whatever is done to them there.

The app's handlers and engine between both simulators, with what `msisync register` registers; queues in memory."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from emulators.functions.harness import until
from emulators.marketo.merging import merge_leads
from emulators.marketo.objects import LEADS, ROLES
from shared.marketo.client import Write
from shared.model.entities import Entity
from tests.support.roles import BUYER, CHAMPION, DELETE, LOOK, UPSERT, WHOSE, App, mapping, running_app, stakeholder


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with running_app() as found:
        yield found


async def test_another_role_of_a_connection_replaces_the_old_one(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    body = {"record2roleid@odata.bind": f"/connectionroles({CHAMPION})"}
    spent = await app.spent(app.write("PATCH", f"connections({connection})", body))
    assert app.roles(deal) == [(contact, "Champion")]
    assert spent == {UPSERT: 1, LOOK: 1, WHOSE: 1, DELETE: 1}


async def test_a_renamed_role_is_renamed_wherever_it_is_played(app: App) -> None:
    deal, contact, _ = await stakeholder(app)
    other = await app.contact("Bob")
    await app.connect(deal, other)
    second = await app.deal()
    await app.connect(second, other)
    await app.pump()
    await app.write("PATCH", f"connectionroles({BUYER})", {"name": "Decision Maker"})
    await app.pump()
    assert app.roles(deal) == sorted([(contact, "Decision Maker"), (other, "Decision Maker")])
    assert app.roles(second) == [(other, "Decision Maker")]


async def test_a_role_that_is_spelled_otherwise_than_before_is_not_taken_for_an_old_one(app: App) -> None:
    """Where Marketo takes both spellings for one, deleting the old one would delete the role."""
    deal, contact, connection = await stakeholder(app)
    (record,) = app.marketo.instance.tables[ROLES]
    app.marketo.instance.tables[ROLES].update(record, {"role": "BUYER"})
    await app.write("DELETE", f"connections({connection})")
    await app.connect(deal, contact)
    await until(lambda: app.dynamics.simulator.delivery.pending == 0)
    app.posted.sent = [each for each in app.posted.sent if each[1].context["MessageName"] == "Delete"]
    await app.pump()
    assert app.roles(deal) == [(contact, "BUYER")]


async def test_a_contact_that_takes_another_one_s_place_takes_the_role(app: App) -> None:
    deal, _, connection = await stakeholder(app)
    other = await app.contact("Bob")
    await app.write("PATCH", f"connections({connection})", {"record2id_contact@odata.bind": f"/contacts({other})"})
    await app.pump()
    assert app.roles(deal) == [(other, "Buyer")]


@pytest.mark.parametrize("code", ["by_parent", "1003", "1004", "1013"])
async def test_a_role_of_a_person_merged_away_in_marketo_ends_at_the_person_that_is_left(app: App, code: str) -> None:
    """The process remembers the id of the person that is gone, and nobody knows with which code Marketo refuses it."""
    deal, contact, _ = await stakeholder(app)
    instance = app.marketo.instance
    (gone,) = instance.tables[LEADS].find(("externalPersonId",), contact)
    left = instance.tables[LEADS].insert({"email": "left@example.org"})
    merge_leads(instance, left, [gone])
    await app.marketo.switch(role_parent_code=code)
    spent = await app.spent(app.connect(deal, contact, CHAMPION))
    assert app.roles(deal) == [(contact, "Buyer"), (contact, "Champion")]
    assert {role["leadId"] for role in instance.tables[ROLES]} == {left["id"]}
    assert spent[UPSERT] == 2, "one is refused"


async def test_a_connection_that_moves_to_another_opportunity_leaves_nothing_behind(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    other = await app.deal()
    body = {"record1id_opportunity@odata.bind": f"/opportunities({other})"}
    await app.write("PATCH", f"connections({connection})", body)
    await app.pump()
    assert (app.roles(deal), app.roles(other)) == ([], [(contact, "Buyer")])


async def test_a_connection_that_is_deactivated_gives_its_role_back_and_takes_it_again(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    await app.write("PATCH", f"connections({connection})", {"statecode": 1, "statuscode": 2})
    await app.pump()
    assert app.roles(deal) == []
    await app.write("PATCH", f"connections({connection})", {"statecode": 0, "statuscode": 1})
    await app.pump()
    assert app.roles(deal) == [(contact, "Buyer")]


async def test_a_deleted_connection_takes_its_role_along(app: App) -> None:
    deal, _, connection = await stakeholder(app)
    spent = await app.spent(app.write("DELETE", f"connections({connection})"))
    assert app.roles(deal) == []
    assert spent == {LOOK: 1, WHOSE: 1, DELETE: 1}, "both mirrored rows are one look"


async def test_the_legacy_table_gives_and_takes_roles_as_well(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    legacy, other = await app.legacy(deal, contact), await app.deal()
    await app.pump()
    assert app.roles(deal) == [(contact, "Buyer"), (contact, "Influencer")]
    await app.write("DELETE", f"connections({connection})")
    body = {"opportunityid@odata.bind": f"/opportunities({other})"}
    await app.write("PATCH", f"customeropportunityroles({legacy})", body)
    await app.pump()
    assert (app.roles(deal), app.roles(other)) == ([], [(contact, "Influencer")])
    await app.write("DELETE", f"customeropportunityroles({legacy})")
    await app.pump()
    assert app.roles(other) == []


async def test_a_merged_contact_hands_its_roles_over(app: App) -> None:
    deal, contact, _ = await stakeholder(app)
    winner = await app.contact("Ann again")
    await app.pump()
    target, loser = ({"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": id_} for id_ in (winner, contact))
    body = {"Target": target, "Subordinate": loser, "PerformParentingChecks": False}
    assert (await app.dynamics.call("POST", "Merge", body)).status == 204
    await app.pump()
    assert app.roles(deal) == [(winner, "Buyer")]


# -- what is not known is not gone --------------------------------------------------------------------------------


async def test_a_resync_of_the_opportunity_removes_what_was_left_behind_without_an_image(app: App) -> None:
    deal, _, connection = await stakeholder(app)
    await app.write("DELETE", f"connections({connection})")
    await until(lambda: app.dynamics.simulator.delivery.pending == 0)
    app.posted.sent = []
    await app.resync("opportunity", deal)
    assert app.roles(deal) == []


@pytest.mark.parametrize(
    ("switches", "left"),
    [
        ({"hidden_rows": [CHAMPION]}, ["Champion"]),
        ({"secured_columns": {"connection": {"record2id": "hidden"}}}, ["Buyer", "Champion"]),
        ({"no_read_privilege": ["connection"]}, ["Buyer", "Champion"]),
    ],
    ids=["a role", "a column", "a table"],
)
async def test_what_cannot_be_read_has_nothing_deleted(app: App, switches: dict[str, Any], left: list[str]) -> None:
    deal, _, connection = await stakeholder(app)
    await app.connect(deal, await app.contact("Bob"), CHAMPION)
    await app.pump()
    app.restart(mapping())
    await app.switch(**switches)
    await app.write("DELETE", f"connections({connection})")
    await app.pump()
    assert sorted(role for _, role in app.roles(deal)) == left, "what Bob is must stay, whatever his role is called"


async def test_a_role_of_somebody_whom_dynamics_does_not_know_is_left_alone(app: App) -> None:
    deal, _, connection = await stakeholder(app)
    created = await app.marketo.sync("leads", [{"email": "x@y.example"}])
    stranger = {"externalOpportunityId": deal, "leadId": created["result"][0]["id"], "role": "Friend"}
    await app.marketo.sync("opportunities/roles", [stranger])
    await app.write("DELETE", f"connections({connection})")
    await app.pump()
    assert app.roles(deal) == [("None", "Friend")]


# -- when it goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("opportunities/roles", {"kind": "code", "verb": "GET", "code": "608"}),
        ("opportunities/roles/delete", {"kind": "code", "verb": "POST", "code": "713"}),
        ("leads", {"kind": "status", "verb": "GET", "status": 503}),
    ],
)
async def test_what_marketo_does_not_answer_is_tried_again(app: App, path: str, fault: dict[str, Any]) -> None:
    deal, contact, connection = await stakeholder(app)
    app.restart(mapping())
    await app.marketo.fault(**fault, path=f"/rest/v1/{path}.json", count=10)
    body = {"record2roleid@odata.bind": f"/connectionroles({CHAMPION})"}
    await app.write("PATCH", f"connections({connection})", body)
    app.engine.time_budget = 0.5
    await app.pump()
    assert (contact, "Buyer") in app.roles(deal)
    (await app.marketo.control.delete("/faults")).raise_for_status()
    app.restart(mapping())
    await app.later()
    assert app.roles(deal) == [(contact, "Champion")]


async def test_a_role_that_is_gone_already_is_as_good_as_deleted(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    deal, _, connection = await stakeholder(app)
    write = app.client.write

    async def twice(entity: Entity, bodies: Sequence[bytes], how: Write, **more: Any) -> Any:
        if how is Write.DELETE:
            await write(entity, bodies, how, deadline=more["deadline"], begin=None)
        return await write(entity, bodies, how, **more)

    monkeypatch.setattr(app.client, "write", twice)
    await app.write("DELETE", f"connections({connection})")
    await app.pump()
    assert app.roles(deal) == []
    assert not app.waiting, "it is done"
