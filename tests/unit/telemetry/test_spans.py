"""One change is one trace: from its notification through webhook, routing and sync to Marketo's answer."""

import json
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from pydantic import SecretStr

from local.harness.telemetry import Telemetry
from local.virtual import MemoryState, MemoryTable
from local.wiring import QUEUES, engine_between, pipeline_around
from shared.azure.parked_rows import Parked
from shared.azure.service_bus import Bus
from shared.config.settings import BusSettings
from shared.config.sync_toml import SyncConfig
from shared.dataverse.client import DataverseClient
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.model.entities import ENTITIES
from shared.model.errors import SignInError
from shared.model.outcome import Parent
from shared.model.record import Record
from shared.sync.circuit_breaker import Circuits
from shared.sync.incoming import Incoming
from shared.sync.left_out_rows import LeftOutRows
from shared.sync.marketo_cache import Known
from shared.sync.parking import Parking
from shared.sync.scheduling import Bursts
from shared.sync.schema import Schema
from shared.sync.settlement import Settler
from shared.sync.statistics import Counts
from shared.telemetry import spans
from tests.support.values import NOON

SEEN = NOON - timedelta(seconds=40)
ORGANIZATION = "aa55bb66-0000-4000-8000-000000000001"
LEAD = "0b1c2d3e-2052-ef11-a316-000d3a5b7c01"
CORRELATION = "c0000005-4f52-4e11-9a3b-7c1d5e8f2a60"
SECRET, MAIL = "mk-s3cret-0003", "ann.o'hara@contoso.example"
RULES = SyncConfig.model_validate({"lead": {"fields": {"email": "emailaddress1", "firstName": "firstname"}}})
SENT_BY_DYNAMICS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Broker:
    """Takes what the real bus sends, and gives it as the triggers do."""

    def __init__(self) -> None:
        self.queues: dict[str, list[Incoming]] = {}

    def get_queue_sender(self, queue: str) -> Any:
        async def send(given: Any) -> None:
            for message in given if isinstance(given, list) else [given]:
                body = b"".join(message.body)
                self.queues.setdefault(queue, []).append(Incoming(body, SEEN, message.application_properties))

        class Batch(list[Any]):
            add_message = list.append

        async def batch(**_: Any) -> Batch:
            return Batch()

        return SimpleNamespace(send_messages=send, create_message_batch=batch)

    def take(self, queue: str) -> list[Incoming]:
        return self.queues.pop(queue, [])


class World:
    """The whole app between HTTP and the broker; Dataverse and Marketo answer what they are told to."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.upsert: dict[str, Any] = {"result": [{"status": "created", "id": 7}]}
        self.row = {"leadid": LEAD, "emailaddress1": MAIL, "firstname": "Ann"}
        client: Any = self.broker
        nobody: Any = self
        bus = Bus(BusSettings.model_construct(), client, context=spans.carried)
        now, clock = (lambda: NOON), (lambda: 0.0)
        http = httpx.AsyncClient(base_url="https://x.example", transport=httpx.MockTransport(self._answer))
        dataverse = DataverseClient(http, nobody, clock=clock, sleep=nobody)
        auth = MarketoAuth(http, "client", SecretStr(SECRET), clock=clock, sleep=nobody)
        pacer = Pacer(50, 5, clock=clock, sleep=nobody)
        marketo = MarketoClient(http, auth, pacer, clock=clock, sleep=nobody)
        circuits = Circuits(None, seconds=60.0, now=now)
        known = Known(clock=clock)
        self.pipeline = pipeline_around(
            nobody,
            bursts=Bursts(burst_batch=32, seconds=20.0, now=now),
            circuits=circuits,
            bus=bus,
            engine=engine_between(
                dataverse, marketo, RULES, clock=clock, now=now, schema=Schema(RULES, nobody, marketo, clock=clock),
                known=known, circuits=circuits,
            ),
            settler=Settler(bus, nobody, QUEUES, now=now, max_attempts=8),
            marketo=marketo,
            known=known,
            counts=Counts(nobody, now=now),
            left_out=LeftOutRows(MemoryState(MemoryTable(seconds=0)), now=now),
            is_echo=self._no_echo,
            tables={"lead": set()},
            organization_id=self._organization,
            now=now,
        )  # fmt: skip

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/identity/oauth/token":
            return httpx.Response(200, json={"access_token": "t0ken-of-marketo", "expires_in": 3600})
        if path.startswith("/api/"):
            return httpx.Response(200, json={"value": [self.row]}, headers={"x-ms-service-request-id": "svc-1"})
        if path.endswith("describe2.json"):
            fields = [{"name": n, "dataType": "string"} for n in ("email", "firstName", "externalPersonId")]
            return httpx.Response(200, json={"requestId": "r#1", "success": True, "result": [{"fields": fields}]})
        return httpx.Response(200, json={"requestId": "r#2", "success": True} | self.upsert)

    async def token(self) -> str:
        return "t0ken-of-dynamics"

    async def _no_echo(self, _: Any) -> bool:
        return False

    async def hidden_columns(self, _table: str) -> frozenset[str]:
        return frozenset()

    async def readable_columns(self, _: str) -> frozenset[str]:
        return frozenset(self.row)

    async def labels(self, *_: Any) -> dict[str, dict[int, str]]:
        return {}

    async def of(self, _: Any) -> Any:
        for page in list[Any]():
            yield page

    async def release(self, *_: Any) -> int:
        return 0

    async def give_up(self, *_: Any) -> None: ...

    async def noted(self, *_: Any) -> dict[Any, Any]:
        return {}

    async def change(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    async def _organization(self) -> str:
        return ORGANIZATION

    def notification(self, lead: str = LEAD) -> bytes:
        return json.dumps(
            {
                "MessageName": "Update", "PrimaryEntityName": "lead", "PrimaryEntityId": lead,
                "OrganizationId": ORGANIZATION, "CorrelationId": CORRELATION,
                "InputParameters": [
                    {"key": "Target", "value": {"Attributes": [{"key": "emailaddress1", "value": MAIL}], "Id": lead,
                                                "LogicalName": "lead"}}
                ],
            }
        ).encode()  # fmt: skip

    async def route(self, *carriers: dict[str, str]) -> None:
        await self.pipeline.route([Incoming(self.notification(), SEEN, carrier) for carrier in carriers])


def named(told: Telemetry, name: str) -> ReadableSpan:
    (found,) = [span for span in told.spans if span.name == name]
    return found


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}" if span.context else ""


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}" if span.context else ""


def is_child(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return child.parent is not None and f"{child.parent.span_id:016x}" == id_of(parent)


async def test_a_change_is_one_trace_from_the_webhook_to_marketos_answer(told: Telemetry, world: World) -> None:
    status, _ = await world.pipeline.accept(world.notification(), "application/json", {})
    assert status == 202
    await world.pipeline.route(world.broker.take("changes"))
    await world.pipeline.sync("person", world.broker.take("person"))

    webhook, route, sync = (named(told, name) for name in ("receive_webhook", "route_changes", "sync_person"))
    rows, upsert = named(told, "dataverse leads"), named(told, "marketo leads")
    assert {trace_of(span) for span in told.spans} == {trace_of(webhook)}
    assert is_child(route, webhook)
    assert is_child(sync, route)
    assert is_child(rows, sync)
    assert is_child(upsert, sync)
    assert dict(upsert.attributes or {}) | {"peer.service": ""} == {
        spans.SYSTEM: "marketo", spans.ENDPOINT: "leads", spans.METHOD: "POST", "peer.service": "",
        spans.REQUEST_ID: "r#2",
    }  # fmt: skip
    assert (rows.attributes or {})[spans.REQUEST_ID] == "svc-1"
    assert (upsert.kind, sync.kind) == (SpanKind.CLIENT, SpanKind.INTERNAL)
    assert (sync.attributes or {})[spans.ENTITY] == "person"
    assert (route.attributes or {})[spans.CORRELATION] == (sync.attributes or {})[spans.CORRELATION] == (CORRELATION,)


@pytest.mark.parametrize("property_name", ["traceparent", "Diagnostic-Id"])
async def test_a_notification_s_context_begins_the_trace(told: Telemetry, world: World, property_name: str) -> None:
    await world.route({property_name: SENT_BY_DYNAMICS})
    route = named(told, "route_changes")
    assert trace_of(route) == SENT_BY_DYNAMICS.split("-")[1]
    (message,) = world.broker.take("person")
    assert message.properties["traceparent"] == f"00-{trace_of(route)}-{id_of(route)}-01"


@pytest.mark.parametrize("nonsense", ["", "|old.style.id.", "00-0-0-00", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
async def test_what_is_no_context_begins_a_new_trace(told: Telemetry, world: World, nonsense: str) -> None:
    await world.route({"traceparent": nonsense})
    assert named(told, "route_changes").parent is None


async def test_a_batch_of_several_changes_is_linked_to_each_of_them(told: Telemetry, world: World) -> None:
    contexts = [f"00-{n:032x}-{n:016x}-01" for n in range(1, 41)]
    await world.route(*({"traceparent": context} for context in contexts), {}, {"traceparent": contexts[0]})
    route = named(told, "route_changes")
    assert route.parent is None
    assert [link.context.span_id for link in route.links] == list(range(1, spans.MAX_LINKS + 1))
    assert (route.attributes or {})[spans.MESSAGES] == 42


async def test_a_retry_and_a_dead_letter_stay_in_the_trace(told: Telemetry, world: World) -> None:
    world.upsert = {"result": [{"status": "skipped", "reasons": [{"code": "1029", "message": "busy"}]}]}
    await world.route({"traceparent": SENT_BY_DYNAMICS})
    await world.pipeline.sync("person", world.broker.take("person"))
    (again,) = world.broker.take("person")
    world.upsert = {"result": [{"status": "skipped", "reasons": [{"code": "1002", "message": "no"}]}]}
    await world.pipeline.sync("person", [again])
    (letter,) = world.broker.take("dead-letters")
    first, second = (span for span in told.spans if span.name == "sync_person")
    assert is_child(second, first)
    assert str(letter.properties["traceparent"]).split("-")[1] == SENT_BY_DYNAMICS.split("-")[1]


class ParkedRows:
    """A table of parked records that nobody else works on."""

    def __init__(self) -> None:
        self.rows: list[Parked] = []

    async def park(self, parked: Iterable[Parked], *_: Any) -> None:
        self.rows += parked

    async def children(self, _: Parent) -> AsyncIterator[list[Parked]]:
        yield self.rows

    async def nothing(self, *_: Any) -> dict[str, Any]:
        return {}

    notes = replace = unmark = remove = waited_for = nothing


async def parked_and_released(*contexts: str) -> str:
    """What a message with the children of one parent carries, that were parked within these contexts."""
    rows, broker = ParkedRows(), Broker()
    store: Any = rows
    client: Any = broker
    bus = Bus(BusSettings.model_construct(), client, context=spans.carried)
    parking = Parking(store, bus, QUEUES, now=lambda: NOON, check_after=60.0, max_wait=100.0)
    parent = Parent("company", "account", LEAD)
    for number, context in enumerate(contexts):
        with spans.invocation("sync_person", [{"traceparent": context}]):
            child = Record("lead", LEAD[:-1] + str(number), SEEN)
            await parking.park(ENTITIES["person"], [(child, (parent,))])
    with spans.invocation("sync_company"):
        await parking.release(ENTITIES["company"], [Record("account", LEAD, SEEN, requested=True)])
        released = str(spans.here())
    (message,) = broker.take("person")
    carried = str(message.properties["traceparent"])
    return "parent's" if carried == released else carried


async def test_the_trace_of_a_child_goes_on_when_its_parent_has_come(told: Telemetry) -> None:
    carried = await parked_and_released(SENT_BY_DYNAMICS)
    assert carried.split("-")[1:3] == [SENT_BY_DYNAMICS.split("-")[1], id_of(named(told, "sync_person"))]


async def test_children_of_several_traces_share_a_message_and_go_on_in_their_parents(told: Telemetry) -> None:
    assert await parked_and_released(SENT_BY_DYNAMICS, f"00-{1:032x}-{1:016x}-01") == "parent's"
    assert len(told.spans) == 3


async def test_what_cannot_be_routed_now_keeps_its_own_context(told: Telemetry, world: World) -> None:
    del told
    contexts = [{"traceparent": f"00-{n:032x}-{n:016x}-01"} for n in (1, 2)]

    async def away() -> str:
        raise SignInError("AADSTS", "no")

    world.pipeline.organization_id = away
    await world.route(*contexts)
    assert [message.properties["traceparent"] for message in world.broker.take("changes")] == [
        context["traceparent"] for context in contexts
    ]


async def test_a_call_that_is_refused_says_its_code_and_nothing_of_the_record(told: Telemetry, world: World) -> None:
    refusal = {"code": "1003", "message": f"Invalid value for field 'email' and value '{MAIL}'"}
    world.upsert = {"success": False, "errors": [refusal], "requestId": "r#3"}
    await world.route({})
    await world.pipeline.sync("person", world.broker.take("person"))
    upsert, _ = [span for span in told.spans if span.name == "marketo leads"]  # and a call without records
    attributes = dict(upsert.attributes or {})
    assert (attributes[spans.CODE], attributes[spans.REQUEST_ID]) == ("1003", "r#3")
    assert not upsert.status.is_ok
    assert upsert.events == ()


async def test_no_secret_and_no_personal_data_is_in_what_is_told(told: Telemetry, world: World) -> None:
    text = f"Invalid value for field 'email' and value '{MAIL}'; see https://x.example/?access_token=t0ken-of-marketo"
    world.upsert = {"result": [{"status": "skipped", "reasons": [{"code": "1077", "message": text}]}]}
    await world.pipeline.accept(world.notification(), "application/json", {"authorization": "Bearer abc"})
    await world.pipeline.route(world.broker.take("changes"))
    await world.pipeline.sync("person", world.broker.take("person"))
    (letter,) = world.broker.take("dead-letters")
    assert "field 'email'" in str(letter.properties["message"])  # the reason, without the value

    everything = [
        *(f"{span.name} {dict(span.attributes or {})} {span.events} {span.status.description}" for span in told.spans),
        *map(str, told.points()),
        *told.lines,
    ]
    assert len(told.spans) > 5
    assert any("dead_letter entity=person" in line and "code=1077" in line for line in told.lines)
    assert any("msisync.dead_letters" in line for line in everything)
    for secret in (SECRET, "t0ken", MAIL, "hara", "contoso.example", "Ann"):
        assert not [line for line in everything if secret in line]


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("/rest/v1/leads.json", "leads"),
        ("/rest/v1/leads/describe2.json?x=1", "leads/describe2"),
        ("/rest/v1/lead/123.json", "lead"),
        ("/rest/v1/stats/usage.json", "stats/usage"),
        ("/rest/v1/opportunities/roles.json", "opportunities/roles"),
        ("/rest/v1/activities.json?nextPageToken=abc", "activities"),
        ("/api/data/v9.2/contacts?$select=x&@p1='a@b.example'", "contacts"),
        ("/api/data/v9.2/contacts(0b1c2d3e-2052-ef11-a316-000d3a5b7c01)", "contacts"),
        ("/api/data/v9.2/EntityDefinitions(LogicalName='lead')/Attributes?$select=x", "EntityDefinitions/Attributes"),
        ("https://contoso.crm4.dynamics.com/api/data/v9.2/accounts?$skiptoken=1", "accounts"),
        ("/api/data/v9.2/WhoAmI", "WhoAmI"),
        ("/api/data/v9.2/$batch", "$batch"),
    ],
)
def test_an_endpoint_is_named_without_what_is_particular(url: str, endpoint: str) -> None:
    assert spans.endpoint_of(url) == endpoint
