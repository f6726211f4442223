"""One change is one trace: from its notification through webhook, routing and sync to Marketo's answer."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from local.harness.telemetry import Telemetry
from local.wiring import QUEUES
from shared.azure.parked_rows import Parked
from shared.azure.service_bus import Bus
from shared.config.settings import BusSettings
from shared.model.entities import ENTITIES
from shared.model.errors import SignInError
from shared.model.outcome import Parent
from shared.model.record import Record
from shared.sync.parking import Parking
from shared.telemetry import spans
from tests.support.values import NOON
from tests.support.whole_app import CORRELATION, LEAD, MAIL, SECRET, SEEN, Broker, World

SENT_BY_DYNAMICS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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
