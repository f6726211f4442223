"""An app between the simulators of both vendors, for opportunity roles: steps post, and its queues are delivered."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from pydantic import SecretStr

from emulators.dataverse import constants
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
from shared.dataverse.metadata import Metadata
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
from tests.support.simulators import dataverse_of, marketo_of
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
        self.dataverse, self.client = dataverse_of(dynamics), marketo_of(marketo)

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
        self.waiting = [message for message in self.waiting if message not in messages]
        await self.pipeline.sync(name, [Incoming(message.body, self.now()) for message in messages])

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


@asynccontextmanager
async def running_app() -> AsyncIterator[App]:
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
