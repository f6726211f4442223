"""The roles of an opportunity in Marketo are those that it has in Dynamics, whatever is done to them there.

The app's handlers and engine between both simulators, with what `msisync register` registers; queues in memory.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from emulators.dataverse import constants
from emulators.dataverse.environment import Fault
from emulators.dataverse.harness import RecordingQueues, Running, running
from emulators.dataverse.seeding import seed
from emulators.functions.harness import until
from emulators.marketo.harness import Marketo
from emulators.marketo.harness import running as running_marketo
from emulators.marketo.instance import Instance
from emulators.marketo.objects import LEADS, ROLES
from local.wiring import QUEUES, engine_between, pipeline_around
from shared.azure.service_bus import Outgoing
from shared.cli.register.plan import plan
from shared.cli.register.rows import Writer, read_columns
from shared.cli.register.wanted import queue_target, wanted
from shared.config.sync_toml import SyncConfig
from shared.dataverse.client import DataverseClient
from shared.dataverse.metadata import Metadata
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.model.entities import ENTITIES, Entity
from shared.model.outcome import Parent
from shared.model.record import Record, encode
from shared.sync.circuit_breaker import Circuits
from shared.sync.dependants import Dependants
from shared.sync.incoming import Incoming
from shared.sync.lookups import References
from shared.sync.marketo_cache import Known
from shared.sync.reference_state import ReferenceState
from shared.sync.scheduling import Bursts
from shared.sync.schema import Schema
from shared.sync.settlement import Settler
from tests.support.state import SharedState

SEND = "Endpoint=sb://contoso-sync.servicebus.windows.net/;SharedAccessKeyName=dataverse-send;SharedAccessKey=a2V5PT0="
BUYER, CHAMPION, LEGACY = (str(uuid4()) for _ in range(3))
#: The calls of a change of a role: the role itself, a look at those of its opportunity, whose an old one is, its end.
UPSERT, LOOK, WHOSE, DELETE = (
    *("POST opportunities/roles", "GET opportunities/roles"),
    *("GET leads", "POST opportunities/roles/delete"),
)


#: What is to come within this time is waited for: a row that changes again a moment later waits for some seconds.
SOON = timedelta(seconds=10)


class Crash(BaseException):
    """The process is gone."""


def mapping(**more: Any) -> SyncConfig:
    """Persons, opportunities and both tables of roles; owners and accounts are not synced."""
    tables = {
        "contact": {"firstName": "firstname"},
        "lead": {"firstName": "firstname"},
        "opportunity": {"name": "name"},
    }
    tables |= {"connection": {}, "customeropportunityrole": {}}
    return SyncConfig.model_validate({**{table: {"fields": fields} for table, fields in tables.items()}, **more})


class App:
    """The app, its queues, and what people do in Dynamics."""

    def __init__(self, dynamics: Running, marketo: Marketo, queues: RecordingQueues) -> None:
        self.dynamics = dynamics
        self.marketo = marketo
        self.posted = queues
        self.waiting: list[Outgoing] = []
        self.parked: list[tuple[Parent, str, Record]] = []
        self.passed = timedelta()
        loop = asyncio.get_running_loop()
        clock, sleep = loop.time, asyncio.sleep
        self.dataverse = DataverseClient(
            httpx.AsyncClient(base_url=constants.ORGANIZATION_URL, transport=dynamics.transport()),
            self,  # type: ignore[arg-type]  # signs in by the two methods below
            clock=clock,
            sleep=sleep,
        )
        self.client = MarketoClient(
            marketo.rest,
            _SignedIn(marketo),  # type: ignore[arg-type]  # likewise
            Pacer(10_000, 10, clock=clock, sleep=sleep),
            clock=clock,
            sleep=sleep,
        )

    async def token(self) -> str:
        return self.dynamics.access_token()

    def refuse(self, _token: str) -> None:
        raise AssertionError("the token was refused")

    async def start(self, config: SyncConfig) -> None:
        """Register what the app needs, and start it; it remembers nothing of an earlier process."""
        columns = await read_columns(config, Metadata(self.dataverse))
        needed = wanted(config, columns, queue_target(SecretStr(SEND), "dynamics-changes"))
        writer, actions = Writer(self.dataverse, needed.target), plan(needed, []).actions
        await writer.prepare(actions)
        for action in actions:
            await writer.write(action)
        self.restart(config)

    def restart(self, config: SyncConfig) -> None:
        loop = asyncio.get_running_loop()

        def clock() -> float:
            return loop.time() + self.passed.total_seconds()

        known = Known(clock=clock)
        state: Any = ReferenceState(SharedState())  # type: ignore[arg-type]  # in memory
        schema = Schema(config, Metadata(self.dataverse), self.client, clock=clock)
        references = References(self.dataverse, config, clock=clock, versions=state.versions)
        self.engine = engine_between(
            self.dataverse,
            self.client,
            config,
            clock=clock,
            now=self.now,
            known=known,
            schema=schema,
            references=references,
        )
        self.pipeline = pipeline_around(
            self,
            bursts=Bursts(burst_batch=1000, seconds=20.0, now=self.now),
            circuits=Circuits(None, seconds=60.0, now=self.now),
            bus=self,
            engine=self.engine,
            settler=Settler(self, self, QUEUES, now=self.now, max_attempts=5),  # type: ignore[arg-type]  # both in memory
            marketo=self.client,
            known=known,
            dependants=Dependants(self.dataverse, state, config),
            tables={table: config.filter_columns(table) for table in config.tables},
            organization_id=self.organization_id,
            is_echo=self.is_echo,
            now=self.now,
        )

    # -- the app's surroundings ---------------------------------------------------------------------------------------

    async def send(self, messages: Sequence[Outgoing]) -> None:
        self.waiting += messages

    async def organization_id(self) -> str:
        return constants.ORGANIZATION_ID

    async def is_echo(self, _notification: object) -> bool:
        return False

    async def note(self, *_: object) -> None:
        pass

    add = note

    async def links_to(self, _parents: object) -> list[object]:
        return []

    async def noted(self, _parents: object) -> dict[Parent, Any]:
        return {}

    async def give_up(self, *_: object) -> None:
        pass

    link_later = give_up

    async def park(self, entity: Entity, deferred: Any, _windows: object) -> None:
        self.parked += [(parents[-1], entity.name, record) for record, parents in deferred]

    async def release(self, entity: Entity, synced: Sequence[Record], _windows: object) -> None:
        there = {(entity.name, record.id) for record in synced}
        going = [child for child in self.parked if (child[0].entity, child[0].id) in there]
        self.parked = [child for child in self.parked if child not in going]
        self.waiting += [Outgoing(QUEUES.of(name), encode(name, [record])) for _, name, record in going]

    def now(self) -> datetime:
        return datetime.now(UTC) + self.passed

    # -- what happens -------------------------------------------------------------------------------------------------

    async def pump(self) -> None:
        """Let everything that has been posted go through all queues, parents first, and what follows soon after it."""
        for _ in range(20):
            await until(lambda: self.dynamics.simulator.delivery.pending == 0)
            bodies, self.posted.sent = [each.json().encode() for _, each in self.posted.sent], []
            if bodies:
                await self.pipeline.route([Incoming(body, self.now()) for body in bodies])
            due = [m for m in self.waiting if m.at is None or m.at <= self.now()]
            for name in ENTITIES:
                here = [m for m in due if m.queue == QUEUES.of(name)]
                if here:
                    await self._deliver(name, here)
            soon = any(m.at is None or m.at <= self.now() + SOON for m in self.waiting)
            if not (bodies or due or soon):
                return
            self.passed += SOON if soon and not due else timedelta()
        raise AssertionError("it goes on for ever")

    async def _deliver(self, name: str, messages: list[Outgoing]) -> None:
        """As the broker does: what is not settled when the process dies comes again."""
        self.waiting = [message for message in self.waiting if message not in messages]
        try:
            await self.pipeline.sync(name, [Incoming(message.body, self.now()) for message in messages])
        except Crash:
            self.waiting += messages
            raise

    async def later(self) -> None:
        """Deliver what waits for its time."""
        self.passed += max((message.at - self.now() for message in self.waiting if message.at), default=SOON)
        await self.pump()

    async def resync(self, table: str, id_: str) -> None:
        """As `msisync resync` does."""
        record = Record(table, id_, self.now(), forced=True)
        await self.send([Outgoing(QUEUES.of(table), encode(table, [record]), session=table)])
        await self.pump()

    async def switch(self, **switches: Any) -> None:
        """Turn switches of Dynamics."""
        async with httpx.AsyncClient(base_url=self.dynamics.control_url, trust_env=False) as control:
            (await control.post("/switches", json=switches)).raise_for_status()

    # -- Dynamics -----------------------------------------------------------------------------------------------------

    async def write(self, method: str, path: str, body: Any = None) -> str:
        answer = await self.dynamics.call(method, path, body)
        assert answer.status == 204, answer.body
        return answer.row_id if method == "POST" else ""

    async def contact(self, name: str = "Ann") -> str:
        return await self.write("POST", "contacts", {"firstname": name, "lastname": "Berg"})

    async def deal(self, contact: str = "", **more: Any) -> str:
        account = await self.write("POST", "accounts", {"name": "Contoso"}) if not contact else ""
        customer = {"customerid_contact@odata.bind": f"/contacts({contact})"} if contact else {}
        customer |= {"customerid_account@odata.bind": f"/accounts({account})"} if account else {}
        return await self.write("POST", "opportunities", {"name": "Deal", **customer, **more})

    async def connect(self, deal: str, contact: str, role: str | None = BUYER) -> str:
        body = {
            "record1id_opportunity@odata.bind": f"/opportunities({deal})",
            "record2id_contact@odata.bind": f"/contacts({contact})",
        }
        body |= {"record2roleid@odata.bind": f"/connectionroles({role})"} if role else {}
        return await self.write("POST", "connections", body)

    async def legacy(self, deal: str, contact: str) -> str:
        body = {
            "opportunityid@odata.bind": f"/opportunities({deal})",
            "customerid_contact@odata.bind": f"/contacts({contact})",
            "opportunityroleid@odata.bind": f"/relationshiproles({LEGACY})",
        }
        return await self.write("POST", "customeropportunityroles", body)

    # -- Marketo ------------------------------------------------------------------------------------------------------

    def roles(self, deal: str) -> list[tuple[str, str]]:
        """Person and name of each role that Marketo has of an opportunity."""
        tables = self.marketo.instance.tables
        persons = {row["id"]: row.get("externalPersonId") for row in tables[LEADS]}
        found = [row for row in tables[ROLES] if row["externalOpportunityId"] == deal]
        return sorted((str(persons.get(row["leadId"])), row["role"]) for row in found)

    def calls(self) -> Counter[str]:
        """Calls so far, but for descriptions, by verb and path."""
        found = self.marketo.instance.stats.as_json()["calls"]
        return Counter(
            {
                f"{verb} {path.removeprefix('/rest/v1/').removesuffix('.json')}": sum(results.values())
                for path, verbs in found.items()
                for verb, results in verbs.items()
                if "describe" not in path
            }
        )

    async def spent(self, work: Any) -> Counter[str]:
        """What doing this, and all that follows, costs in calls to Marketo."""
        before = self.calls()
        await work
        await self.pump()
        return self.calls() - before


class _SignedIn:
    def __init__(self, marketo: Marketo) -> None:
        self._marketo = marketo

    async def token(self) -> str:
        return self._marketo.rest.headers["Authorization"].removeprefix("Bearer ")

    def refuse(self, _token: str) -> None:
        raise AssertionError("the token was refused")


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Running, with an environment that has the roles."""
    queues = RecordingQueues()
    async with running(empty=True, queues=queues) as dynamics, running_marketo(Instance()) as marketo:
        roles = [(BUYER, "Buyer"), (CHAMPION, "Champion")]
        rows = [{"connectionroleid": id_, "name": name, "category": 1000} for id_, name in roles]
        seed(
            dynamics.environment,
            {"connectionrole": rows, "relationshiprole": [{"relationshiproleid": LEGACY, "name": "Influencer"}]},
        )
        found = App(dynamics, marketo, queues)
        await found.start(mapping())
        yield found
        await found.dataverse.close()


async def stakeholder(app: App) -> tuple[str, str, str]:
    """An opportunity with one connection: opportunity, contact, connection."""
    contact, deal = await app.contact(), await app.deal()
    connection = await app.connect(deal, contact)
    await app.pump()
    assert app.roles(deal) == [(contact, "Buyer")]
    return deal, contact, connection


async def test_a_new_connection_costs_its_own_call_and_no_look(app: App) -> None:
    contact, other, deal = await app.contact(), await app.contact("Bob"), await app.deal()
    await app.pump()
    spent = await app.spent(app.connect(deal, contact))
    assert (spent[UPSERT], spent[LOOK], spent[DELETE]) == (1, 0, 0)
    await app.connect(deal, other, CHAMPION)
    await app.pump()
    assert app.roles(deal) == sorted([(contact, "Buyer"), (other, "Champion")])


async def test_another_role_of_a_connection_replaces_the_old_one(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    body = {"record2roleid@odata.bind": f"/connectionroles({CHAMPION})"}
    spent = await app.spent(app.write("PATCH", f"connections({connection})", body))
    assert app.roles(deal) == [(contact, "Champion")]
    assert spent == {UPSERT: 1, LOOK: 1, WHOSE: 1, DELETE: 1}


async def test_a_change_of_a_connection_that_is_about_no_role_costs_no_look(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    spent = await app.spent(app.write("PATCH", f"connections({connection})", {"statuscode": 1}))
    assert spent == {UPSERT: 1}
    assert app.roles(deal) == [(contact, "Buyer")]


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


async def test_a_role_that_two_connections_give_stays_until_the_last_one_goes(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    second = await app.connect(deal, contact)
    await app.pump()
    await app.write("DELETE", f"connections({connection})")
    await app.pump()
    assert app.roles(deal) == [(contact, "Buyer")]
    await app.write("PATCH", f"connections({second})", {"statecode": 1, "statuscode": 2})
    await app.pump()
    assert app.roles(deal) == []


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


# -- the primary contact ------------------------------------------------------------------------------------------


async def test_the_primary_contact_has_a_role_which_changes_with_it_and_nothing_else(app: App) -> None:
    ann, bob = await app.contact(), await app.contact("Bob")
    await app.pump()
    deal = ""

    async def made() -> None:
        nonlocal deal
        deal = await app.deal(ann)

    spent = await app.spent(made())
    assert app.roles(deal) == [(ann, "Primary Contact")]
    assert (spent[UPSERT], spent[LOOK]) == (1, 0)
    (record,) = app.marketo.instance.tables[ROLES]
    assert record["isPrimary"] is True
    spent = await app.spent(app.write("PATCH", f"opportunities({deal})", {"name": "Bigger deal"}))
    assert spent == {"POST opportunities": 1}
    body = {"customerid_contact@odata.bind": f"/contacts({bob})"}
    await app.write("PATCH", f"opportunities({deal})", body)
    await app.pump()
    assert app.roles(deal) == [(bob, "Primary Contact")]
    account = await app.write("POST", "accounts", {"name": "Contoso"})
    moved = {"customerid_account@odata.bind": f"/accounts({account})", "parentcontactid@odata.bind": None}
    await app.write("PATCH", f"opportunities({deal})", moved)
    await app.pump()
    assert app.roles(deal) == []


async def test_an_opportunity_without_contact_costs_no_call_for_roles(app: App) -> None:
    spent = await app.spent(app.deal())
    assert (spent["POST opportunities"], spent[UPSERT], spent[LOOK]) == (1, 0, 0)


async def test_the_contact_beside_an_account_is_the_primary_one(app: App) -> None:
    ann = await app.contact()
    deal = await app.deal(**{"parentcontactid@odata.bind": f"/contacts({ann})"})
    await app.pump()
    assert app.roles(deal) == [(ann, "Primary Contact")]


async def test_qualifying_a_lead_gives_its_contact_the_role_in_its_opportunity(app: App) -> None:
    lead = await app.write("POST", "leads", {"firstname": "Lea", "lastname": "Li", "subject": "New line"})
    await app.pump()
    body = {"CreateAccount": False, "CreateContact": True, "CreateOpportunity": True, "Status": 3}
    answer = await app.dynamics.call("POST", f"leads({lead})/Microsoft.Dynamics.CRM.QualifyLead", body)
    made = {row["@odata.type"].rpartition(".")[2]: row for row in answer.json()["value"]}
    await app.pump()
    deal, contact = made["opportunity"]["opportunityid"], made["contact"]["contactid"]
    assert app.roles(deal) == [(contact, "Primary Contact")]


async def test_without_a_name_in_sync_toml_there_is_no_such_role_and_an_old_one_goes(app: App) -> None:
    ann = await app.contact()
    deal = await app.deal(ann)
    await app.pump()
    assert app.roles(deal) == [(ann, "Primary Contact")]
    app.restart(mapping(roles={"customer_contact": ""}))
    await app.resync("opportunity", deal)
    assert app.roles(deal) == []


# -- what is not known is not gone --------------------------------------------------------------------------------


async def test_a_resync_of_the_opportunity_removes_what_was_left_behind_without_an_image(app: App) -> None:
    deal, _, connection = await stakeholder(app)
    await app.write("DELETE", f"connections({connection})")
    await until(lambda: app.dynamics.simulator.delivery.pending == 0)
    app.posted.sent = []
    await app.resync("opportunity", deal)
    assert app.roles(deal) == []


async def test_with_keep_nothing_is_deleted_and_nobody_looks(app: App) -> None:
    deal, contact, connection = await stakeholder(app)
    app.restart(mapping(lifecycle={"role": "keep"}))
    spent = await app.spent(app.write("DELETE", f"connections({connection})"))
    assert app.roles(deal) == [(contact, "Buyer")]
    assert not spent


@pytest.mark.parametrize("trouble", ["role hidden", "column hidden", "no privilege", "Dynamics away"])
async def test_what_cannot_be_read_has_nothing_deleted(app: App, trouble: str) -> None:
    deal, contact, connection = await stakeholder(app)
    other = await app.contact("Bob")
    await app.connect(deal, other, CHAMPION)
    await app.pump()
    before = app.roles(deal)
    app.restart(mapping())
    match trouble:
        case "role hidden":
            await app.switch(hidden_rows=[CHAMPION])
        case "column hidden":
            await app.switch(secured_columns={"connection": {"record2id": "hidden"}})
        case "no privilege":
            await app.switch(no_read_privilege=["connection"])
        case "Dynamics away":
            app.dynamics.environment.faults.append(Fault(match="connections[?]", method="GET", times=100))
    await app.write("DELETE", f"connections({connection})")
    await app.pump()
    gone = [(contact, "Buyer")]
    expected = [role for role in before if role not in gone] if trouble == "role hidden" else before
    assert app.roles(deal) == expected, "what Bob is must stay, whatever his role is called"


async def test_a_contact_that_is_not_in_marketo_holds_nothing_that_is_another_one_s(app: App) -> None:
    """Bob is excluded by the filter, so nobody knows his role in Marketo; but Ann's is not his."""
    deal, _, connection = await stakeholder(app)
    bob = await app.write("POST", "contacts", {"firstname": "Bob", "lastname": "B", "new_synctomkto": False})
    await app.write("PATCH", f"connections({connection})", {"record2id_contact@odata.bind": f"/contacts({bob})"})
    await app.pump()
    assert app.roles(deal) == []


async def test_a_role_of_somebody_whom_dynamics_does_not_know_is_left_alone(app: App) -> None:
    deal, _, connection = await stakeholder(app)
    created = await app.marketo.sync("leads", [{"email": "x@y.example"}])
    stranger = {"externalOpportunityId": deal, "leadId": created["result"][0]["id"], "role": "Friend"}
    await app.marketo.sync("opportunities/roles", [stranger])
    await app.write("DELETE", f"connections({connection})")
    await app.pump()
    assert app.roles(deal) == [("None", "Friend")]


# -- when it goes wrong -------------------------------------------------------------------------------------------


async def test_a_crash_between_the_new_role_and_the_look_leaves_no_old_one(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal, contact, connection = await stakeholder(app)
    read = app.client.read

    async def dies(entity: Entity, *given: Any, **more: Any) -> list[dict[str, Any]]:
        if entity.name == "opportunity_role":
            raise Crash
        return await read(entity, *given, **more)

    monkeypatch.setattr(app.client, "read", dies)
    body = {"record2roleid@odata.bind": f"/connectionroles({CHAMPION})"}
    await app.write("PATCH", f"connections({connection})", body)
    with pytest.raises(Crash):
        await app.pump()
    assert app.roles(deal) == [(contact, "Buyer"), (contact, "Champion")]
    monkeypatch.undo()
    app.restart(mapping())
    await app.pump()
    assert app.roles(deal) == [(contact, "Champion")]


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
    delete = app.client.delete

    async def second(entity: Entity, bodies: Sequence[bytes], **more: Any) -> Any:
        await delete(entity, bodies, deadline=more["deadline"], begin=None)  # type: ignore[arg-type]  # of no lease
        return await delete(entity, bodies, **more)

    monkeypatch.setattr(app.client, "delete", second)
    await app.write("DELETE", f"connections({connection})")
    await app.pump()
    assert app.roles(deal) == []
    assert not app.waiting, "it is done"
