"""What each trigger does: a webhook is taken in, notifications are routed, messages are synced, refusals are kept."""

import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.data.tables import TableEntity

from local.wiring import pipeline_around
from shared.azure.parked_rows import Parked, child_of, child_row
from shared.azure.service_bus import Outgoing
from shared.dataverse.notifications import Notification, parse
from shared.model.codes import Kind
from shared.model.entities import Entity
from shared.model.errors import (
    BrokerUnavailableError,
    DataverseError,
    MarketoError,
    MsiSyncError,
    SignInError,
    StorageUnavailableError,
)
from shared.model.outcome import Deferred, Failed, Outcome, Parent, Retry, Skipped, Synced
from shared.model.record import Record, decode, encode, read, timestamp
from shared.sync.circuit_breaker import Circuits
from shared.sync.incoming import Incoming
from shared.sync.scheduling import Bursts, Windows
from shared.sync.settlement import STORAGE_AWAY
from shared.sync.storms import COVERED
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 12, 0, 3, tzinfo=UTC)
SEEN = NOON - timedelta(seconds=40)
ORGANIZATION = "aa55bb66-0000-4000-8000-000000000001"
TABLES = ["systemuser", "account", "lead", "contact", "opportunity", "connection"]
JSON = "application/json"


def context(number: int = 1, table: str = "lead", **facts: Any) -> dict[str, Any]:
    return {
        "MessageName": "Update",
        "PrimaryEntityName": table,
        "PrimaryEntityId": guid(number),
        "OrganizationId": ORGANIZATION,
        "CorrelationId": guid(77),
        "InputParameters": [
            {
                "key": "Target",
                "value": {"Attributes": [{"key": "subject", "value": None}], "Id": guid(number), "LogicalName": table},
            }
        ],
    } | facts


def update_of(number: int, table: str, columns: Sequence[str]) -> bytes:
    target = {
        "Attributes": [{"key": name, "value": None} for name in columns],
        "Id": guid(number),
        "LogicalName": table,
    }
    return body(number, table, InputParameters=[{"key": "Target", "value": target}])


def body(number: int = 1, table: str = "lead", **facts: Any) -> bytes:
    return json.dumps(context(number, table, **facts)).encode()


def incoming(sent: bytes) -> Incoming:
    return Incoming(sent, SEEN)


class World:
    """Everything around the pipeline at once: bus, engine and settler."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.unreachable = False
        self.synced: list[Record] = []
        self.settled: list[tuple[Record, Outcome]] = []
        self.counted: list[tuple[str, int]] = []
        self.refusal: MsiSyncError | None = None
        self.children: list[Record] = []
        self.looked_for: list[Record] = []
        self.in_marketo: set[str] = set()
        self.outcome: Outcome = Synced("created")
        self.pages: list[list[Record]] = []
        self.finds: list[str] = []
        self.children_error: MsiSyncError | None = None
        self.check_error: MsiSyncError | None = None
        self.echoes: set[str] = set()
        self.again: list[Record] = []
        self.relabelled: list[Record] = []
        self.appeared: list[Record] = []
        self.storage_is_away = False
        self.heard: list[datetime] = []
        self.links: list[Parked] = []
        self.unparked: list[Parked] = []
        self.pipeline = pipeline_around(
            self,
            bursts=Bursts(burst_batch=3, seconds=20.0, now=lambda: NOON),
            circuits=Circuits(None, seconds=60.0, now=lambda: NOON),
            gauges=self.tell,
            tables={table: {"new_synctomkto"} for table in TABLES},
            organization_id=self.organization,
            is_echo=self.is_echo,
            written_again=self.written_again,
            relabel=self.relabel,
            look_again=self.look_again,
            now=lambda: NOON,
            delivered=self.heard.append,
        )

    async def of(self, parents: Sequence[Record]) -> AsyncIterator[list[Record]]:
        self.looked_for += parents
        if parents and self.children_error:
            raise self.children_error
        for parent in parents:
            for page in self.pages or [self.children]:
                yield [replace(child, first_seen=parent.first_seen) for child in page]

    async def find(self, entity: Any, keys: Sequence[str]) -> dict[str, int]:
        self.finds.append(entity.name)
        return {key: 1 for key in keys if key in self.in_marketo}

    async def links_to(self, parents: Sequence[Parent]) -> list[Parked]:
        return [] if self.storage_is_away else [child for child in self.links if child.parent in parents]

    async def linked(self, children: Sequence[Parked]) -> None:
        sent = {record.key for message in self.sent for record in decode(message.body, message.queue)}
        assert {child.record.key for child in children} <= sent, "taken away before it was sent"
        self.unparked += children

    async def is_echo(self, notification: Notification) -> bool:
        return notification.tag in self.echoes

    async def relabel(self, send: Any) -> int:
        await send(self.relabelled)
        return len(self.relabelled)

    async def look_again(self, send: Any) -> int:
        await send(self.appeared)
        return len(self.appeared)

    async def written_again(self, records: Sequence[Record]) -> None:
        if self.storage_is_away:
            raise StorageUnavailableError("ServiceRequestError")
        self.again += records

    async def organization(self) -> str:
        if self.refusal:
            raise self.refusal
        return ORGANIZATION

    async def send(self, messages: Sequence[Outgoing]) -> None:
        if self.unreachable:
            raise BrokerUnavailableError("ServiceBusConnectionError")
        self.sent += messages

    async def sync(
        self, entity: Entity, records: Sequence[Record], windows: Windows, received: datetime | None
    ) -> list[tuple[Record, Outcome]]:
        self.windows, self.received, self.entity = windows, received, entity
        self.synced += records
        return [(record, self.outcome) for record in records]

    async def settle(
        self, entity: Entity, outcomes: Sequence[tuple[Record, Outcome]], windows: Windows
    ) -> Sequence[tuple[Record, Outcome]]:
        assert entity is self.entity
        assert windows is self.windows
        self.settled += outcomes
        return outcomes

    async def add(self, entity_name: str, outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        assert outcomes == self.settled, "counted before it was settled"
        self.counted.append((entity_name, len(outcomes)))

    async def note(self, entity_name: str, outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        assert (entity_name, len(outcomes)) == self.counted[-1]

    async def tend(self) -> None:
        self.counted.append(("tended", 0))

    async def tell(self) -> None:
        self.counted.append(("told", 0))

    async def check(self, *_: Any) -> dict[str, int]:
        if self.storage_is_away:
            raise StorageUnavailableError("ServiceRequestError")
        if self.check_error:
            raise self.check_error
        return {"checked": 5, "released": 2}

    async def accept(self, sent: bytes, content_type: str = JSON) -> int:
        status, text = await self.pipeline.accept(sent, content_type, {})
        assert text
        return status

    def ids(self) -> dict[str, list[str]]:
        """The ids of the records that were sent, by queue."""
        return {m.queue: [record.id for record in decode(m.body, m.queue)] for m in self.sent}

    def letters(self) -> list[Outgoing]:
        return [message for message in self.sent if message.queue == "dead-letters"]


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", "Application/JSON"])
async def test_a_webhook_is_202_once_its_change_is_queued_as_it_came(world: World, content_type: str) -> None:
    assert await world.accept(body(), content_type) == 202
    (message,) = world.sent
    assert (message.queue, message.body, message.session, message.at) == ("changes", body(), None, None)
    assert message.correlation_id == guid(77)


@pytest.mark.parametrize(
    ("content_type", "sent", "status"),
    [
        *((content_type, body(), 415) for content_type in ("", "text/plain", "application/xml", "application/msbin1")),
        *((JSON, sent, 400) for sent in (b"", b"[]", b"{", b"{}", body(PrimaryEntityId="no guid"))),
        (JSON, body(OrganizationName="x" * 262_144), 413),
    ],
)
async def test_a_wrong_webhook_is_refused(world: World, content_type: str, sent: bytes, status: int) -> None:
    assert await world.accept(sent, content_type) == status
    assert world.sent == []


async def test_a_webhook_is_503_while_the_broker_is_away(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.unreachable = True
    with caplog.at_level(logging.ERROR):
        assert await world.accept(body()) == 503
    assert guid(77) in caplog.text


@pytest.mark.parametrize("part", ["ParentContext", "PreEntityImages", "PostEntityImages"])
async def test_a_webhook_of_250_kb_is_queued_without_its_bulk(world: World, part: str) -> None:
    large = json.dumps(context() | {part: [{"key": "x", "value": "é" * 40_000}]}).encode()
    assert 192 * 1024 < len(large) <= 256 * 1024
    assert await world.accept(large) == 202
    (message,) = world.sent
    assert len(message.body) <= 192 * 1024
    before, after = parse(large), parse(message.body)
    assert after.changes == before.changes
    assert after.correlation_id == before.correlation_id
    assert after.organization_id == before.organization_id


async def test_parameters_that_are_bulk_alone_are_left_out_as_dynamics_does(world: World) -> None:
    target = {"Attributes": [{"key": "description", "value": "x" * 220_000}], "Id": guid(1), "LogicalName": "lead"}
    large = body(InputParameters=[{"key": "Target", "value": target}])
    assert 192 * 1024 < len(large) <= 256 * 1024
    assert await world.accept(large) == 202
    (message,) = world.sent
    assert len(message.body) < 1024
    assert parse(message.body).changes == parse(large).changes


async def test_a_bulk_update_that_fits_no_message_is_refused_and_never_shortened(world: World) -> None:
    """Its parameters are the only place that names its rows."""
    rows = [{"Id": guid(n), "LogicalName": "lead", "Attributes": [{"key": "x" * 3000}]} for n in range(1, 71)]
    targets = [{"key": "Targets", "value": {"EntityName": "lead", "Entities": rows}}]
    large = body(MessageName="UpdateMultiple", PrimaryEntityId=guid(0), InputParameters=targets)
    assert 192 * 1024 < len(large) <= 256 * 1024
    assert len(parse(large).changes) == 70
    assert await world.accept(large) == 413
    assert world.sent == []


async def test_a_bulk_update_beside_large_images_is_queued_with_all_its_rows(world: World) -> None:
    rows = [{"Id": guid(n), "LogicalName": "lead", "Attributes": []} for n in range(1, 71)]
    targets = [{"key": "Targets", "value": {"EntityName": "lead", "Entities": rows}}]
    facts: dict[str, Any] = {"MessageName": "UpdateMultiple", "PrimaryEntityId": guid(0), "InputParameters": targets}
    large = body(**facts, PreEntityImages=[{"key": "x", "value": "x" * 200_000}])
    assert await world.accept(large) == 202
    assert parse(world.sent[0].body).changes == parse(large).changes


@pytest.mark.parametrize(
    "sent",
    [
        *(json.dumps(context(ParentContext="x" * 110_000)).encode(encoding) for encoding in ("utf-16", "utf-16-be")),
        json.dumps(context(ParentContext="x" * 55_000)).encode("utf-32"),
        b"\xef\xbb\xbf" + body(ParentContext="x" * 200_000),
        body(ParentContext="x" * 200_000, OrganizationName="Contoso \ud83d"),  # half an emoji
    ],
    ids=["utf-16", "utf-16-be", "utf-32", "bom", "surrogate"],
)
async def test_a_large_body_in_any_encoding_is_slimmed(world: World, sent: bytes) -> None:
    assert 192 * 1024 < len(sent) <= 256 * 1024
    assert await world.accept(sent) == 202
    assert parse(world.sent[0].body).changes == parse(body()).changes


async def test_a_lone_change_goes_to_its_queue_at_once(world: World) -> None:
    await world.pipeline.route([incoming(body())])
    (message,) = world.sent
    assert (message.queue, message.session, message.at) == ("person", "person", None)
    assert decode(message.body, "person") == [Record("lead", guid(1), SEEN, "upsert", guid(77), last_seen=SEEN)]


async def test_changes_below_a_burst_go_at_once(world: World) -> None:
    await world.pipeline.route([incoming(body(n)) for n in range(1, 3)])
    assert [(message.queue, message.at) for message in world.sent] == [("person", None)]


async def test_in_a_burst_each_entity_waits_for_its_turn_in_the_next_cycle_after_its_parents(world: World) -> None:
    tables = ["opportunity", "contact", "account", "systemuser", "connection"]
    await world.pipeline.route([incoming(body(n, table)) for n, table in enumerate(tables, 1)])
    start = NOON.replace(second=20)
    assert [(message.queue, message.at) for message in world.sent] == [
        ("sales_person", start), ("company", start + timedelta(seconds=4)), ("person", start + timedelta(seconds=8)),
        ("opportunity", start + timedelta(seconds=12)), ("opportunity_role", start + timedelta(seconds=16)),
    ]  # fmt: skip


async def test_only_the_messages_of_a_burst_tell_of_it(world: World) -> None:
    await world.pipeline.route([incoming(body(1))])
    await world.pipeline.route([incoming(body(n)) for n in range(1, 4)])
    assert [read(message.body, message.queue).burst for message in world.sent] == [None, NOON + timedelta(seconds=40)]


@pytest.mark.parametrize("is_burst", [True, False])
async def test_a_function_in_a_process_of_its_own_is_told_of_the_burst(world: World, is_burst: bool) -> None:
    await world.pipeline.route([incoming(body(n)) for n in range(1, 4 if is_burst else 2)])
    elsewhere = World()
    await elsewhere.pipeline.sync("person", [incoming(encode("person", [])), incoming(world.sent[0].body)])
    assert elsewhere.windows.is_burst == is_burst


async def test_a_lone_change_within_a_burst_waits_with_the_others_and_a_refusal_does_not(world: World) -> None:
    await world.pipeline.route([incoming(body(n)) for n in range(1, 4)])
    world.sent.clear()
    await world.pipeline.route([incoming(body(4)), incoming(b"{")])
    assert [(message.queue, message.at) for message in world.sent] == [
        ("person", NOON.replace(second=28)),
        ("dead-letters", None),
    ]


async def test_edits_of_one_row_are_one_record_of_one_message(world: World) -> None:
    await world.pipeline.route([incoming(body(1)), incoming(body(2)), incoming(body(1))])
    assert world.ids() == {"person": [guid(1), guid(2)]}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"{", "NotJson"), (b"@\x06binary", "WrongFormat"), (body(OrganizationId=guid(5)), "WrongOrganization"),
        (body(table="incident"), "UnknownTable"), (body(PrimaryEntityId="x"), "BadGuid"),
    ],
)  # fmt: skip
async def test_what_is_refused_is_kept_and_its_neighbours_go_on(world: World, sent: bytes, code: str) -> None:
    await world.pipeline.route([incoming(body(1)), incoming(sent), incoming(body(2))])
    (letter,) = world.letters()
    assert letter.body == sent
    assert letter.properties["code"] == code
    assert len(str(letter.properties["message"])) > 20
    assert letter.properties["source_queue"] == "changes"
    assert letter.properties["first_seen"] == "2026-03-04T11:59:23.000Z"
    (work,) = [message for message in world.sent if message.queue == "person"]
    assert [record.id for record in decode(work.body, "person")] == [guid(1), guid(2)]


async def test_of_what_fills_a_message_by_itself_the_beginning_is_kept_and_its_neighbours_go_on(world: World) -> None:
    """With its reason beside it, the whole would be more than the broker takes."""
    sent = b"{" + b"x" * 261_900
    await world.pipeline.route([incoming(body(1)), incoming(sent)])
    (letter,) = world.letters()
    assert sent.startswith(letter.body)
    assert len(letter.body) == 192 * 1024
    assert letter.properties["truncated_from_bytes"] == len(sent)
    assert [message.queue for message in world.sent if message.queue == "person"] == ["person"]


OUTAGES = [
    DataverseError("Unreachable", "no answer", kind=Kind.TRANSIENT),
    DataverseError("0x80040220", "no privilege", kind=Kind.CONFIGURATION),
    SignInError("AADSTS50126", "wrong password"),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.code)
async def test_notifications_wait_uncounted_while_their_owner_is_unknown(world: World, outage: MsiSyncError) -> None:
    world.refusal = outage
    await world.pipeline.route([incoming(body(1)), incoming(b"{")])
    assert [(m.queue, m.body, m.session, m.at) for m in world.sent] == [
        ("changes", sent, None, NOON + timedelta(seconds=60)) for sent in (body(1), b"{")
    ]


async def test_a_notification_that_waited_keeps_the_time_when_it_first_came(world: World) -> None:
    world.refusal = OUTAGES[0]
    waiting = [incoming(body(1)), incoming(b"{")]
    for minute in range(1, 4):
        await world.pipeline.route(waiting)
        carried: list[dict[str, object]] = [{str(k): v for k, v in m.properties.items()} for m in world.sent]
        later = NOON + timedelta(minutes=minute)
        waiting = [Incoming(m.body, later, facts) for m, facts in zip(world.sent, carried, strict=True)]
        world.sent.clear()
    world.refusal = None
    await world.pipeline.route(waiting)
    work, letter = world.sent
    (record,) = decode(work.body, "person")
    assert record == Record("lead", guid(1), SEEN, "upsert", guid(77), last_seen=record.last_seen)
    assert record.last_seen == waiting[0].enqueued, "the broker has it anew"
    assert letter.properties["first_seen"] == "2026-03-04T11:59:23.000Z"


@pytest.mark.parametrize("carried", ["", "yesterday", 5, None, "2026-03-04T11:00:00"])
async def test_a_first_time_that_cannot_be_read_is_the_time_of_the_queue(world: World, carried: object) -> None:
    await world.pipeline.route([Incoming(body(1), SEEN, {"first_seen": carried})])
    assert decode(world.sent[0].body, "person")[0].first_seen == SEEN


async def test_a_first_time_without_zone_does_not_stop_another_change_of_the_same_row(world: World) -> None:
    await world.pipeline.route([incoming(body(1)), Incoming(body(1), SEEN, {"first_seen": "2026-03-04T11:00:00"})])
    assert [record.first_seen for record in decode(world.sent[0].body, "person")] == [SEEN]


async def test_the_trigger_fails_and_keeps_its_messages_when_the_broker_is_away(world: World) -> None:
    world.unreachable = True
    with pytest.raises(BrokerUnavailableError):
        await world.pipeline.route([incoming(body())])


async def test_the_records_of_all_messages_are_synced_together_and_settled(world: World) -> None:
    records = [Record("lead", guid(n), SEEN) for n in range(1, 5)]
    await world.pipeline.sync("person", [incoming(encode("person", part)) for part in (records[:3], records[3:])])
    assert world.synced == records
    assert world.settled == [(record, Synced("created")) for record in records]
    assert world.counted == [("person", len(records))]


async def test_the_newest_message_of_a_batch_tells_the_broker_s_time(world: World) -> None:
    """Not what this process has put in where the broker said nothing."""
    times = [SEEN, SEEN + timedelta(seconds=5), SEEN + timedelta(seconds=2)]
    batch = [Incoming(encode("person", [Record("lead", guid(n), SEEN)]), at) for n, at in enumerate(times)]
    unstamped = Incoming(encode("person", [Record("lead", guid(9), SEEN)]), NOON + timedelta(hours=2), is_stamped=False)
    await world.pipeline.sync("person", [*batch, unstamped])
    await world.pipeline.route([Incoming(body(), SEEN), replace(unstamped, body=body())])
    await world.pipeline.route([replace(unstamped, body=body())])
    assert world.heard == [SEEN + timedelta(seconds=5), SEEN]


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"{", "BadMessage"), (b'{"version":9}', "MessageVersion"), (encode("company", []), "WrongEntity")],
)
async def test_an_unreadable_message_is_kept_and_its_neighbours_go_on(world: World, sent: bytes, code: str) -> None:
    good = Record("lead", guid(1), SEEN)
    await world.pipeline.sync("person", [incoming(sent), incoming(encode("person", [good]))])
    assert world.synced == [good]
    (letter,) = world.letters()
    assert letter.body == sent
    assert letter.properties["code"] == code
    assert letter.properties["source_queue"] == "person"
    assert "docs/messages.md" in str(letter.properties["message"]) or code == "WrongEntity"


async def test_a_change_of_the_filter_s_column_lets_the_children_be_synced_again(world: World) -> None:
    await world.pipeline.route([incoming(update_of(1, "account", ["new_synctomkto", "name"]))])
    (message,) = world.sent
    (account,) = decode(message.body, "company")
    assert account.filter_changed
    world.sent.clear()
    world.children = [Record("contact", guid(5), NOON), Record("opportunity", guid(6), NOON)]
    await world.pipeline.sync("person", [incoming(encode("person", [replace(account, table="lead")]))])
    assert world.ids() == {"person": [guid(5)], "opportunity": [guid(6)]}


async def test_any_other_change_costs_no_look_for_children(world: World) -> None:
    await world.pipeline.route([incoming(update_of(1, "account", ["name"]))])
    (account,) = decode(world.sent.pop().body, "company")
    assert not account.filter_changed
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    await world.pipeline.sync("person", [incoming(encode("person", [replace(account, table="lead")]))])
    assert [outcome for _, outcome in world.settled] == [Synced("created")]


async def test_children_that_cannot_be_read_mean_another_try_of_their_parent(world: World) -> None:
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    entered = Record("lead", guid(1), SEEN, filter_changed=True)
    await world.pipeline.sync("person", [incoming(encode("person", [entered, Record("lead", guid(2), SEEN)]))])
    outcomes = {record.id: outcome for record, outcome in world.settled}
    assert outcomes == {guid(1): Retry(60.0, "0x80044150", "SQL"), guid(2): Synced("created")}


async def test_what_marketo_has_of_the_children_of_a_record_that_it_had_lost_is_synced_again(world: World) -> None:
    world.outcome = Synced("created", anew=True)
    world.in_marketo = {guid(5)}
    world.children = [Record(t, guid(n), NOON) for t, n in (("contact", 5), ("contact", 6), ("connection", 7))]
    await world.pipeline.sync("person", [incoming(encode("person", [Record("contact", guid(1), SEEN)]))])
    assert world.ids() == {"person": [guid(5)], "opportunity_role": [guid(7)]}
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    world.settled.clear()
    await world.pipeline.sync("person", [incoming(encode("person", [Record("contact", guid(1), SEEN)]))])
    ((again, outcome),) = world.settled
    assert isinstance(outcome, Retry)
    assert again.filter_changed, "Marketo will not say again that it had lost the record"


async def test_the_children_of_a_lost_record_cost_one_call_of_each_entity(world: World) -> None:
    world.outcome = Synced("created", anew=True)
    world.in_marketo = {guid(5), guid(6), guid(7)}
    children = {n: Record(t, guid(n), NOON) for t, n in (("lead", 5), ("contact", 6), ("opportunity", 7))}
    world.pages = [[children[5]], [children[6]], [children[7]], [children[7]]]  # it names the account twice
    await world.pipeline.sync("person", [incoming(encode("person", [Record("account", guid(1), SEEN)]))])
    assert sorted(world.finds) == ["opportunity", "person"]
    assert world.ids() == {"person": [guid(5), guid(6)], "opportunity": [guid(7)]}


@pytest.mark.parametrize("storage_is_away", [False, True])
async def test_a_linked_child_of_a_lost_record_is_sent_once(world: World, storage_is_away: bool) -> None:
    """It is parked no more once it was sent; without storage it stays so, and the parent's release sends it again."""
    world.storage_is_away = storage_is_away
    world.outcome = Synced("created", anew=True)
    world.in_marketo = {guid(5)}
    world.children = [Record("contact", guid(5), NOON)]
    parent = Parent("person", "contact", guid(1))
    there, elsewhere, other = (
        Parked(parent, "person", Record("contact", guid(5), SEEN), "etag", linked_later=True),
        Parked(parent, "opportunity", Record("opportunity", guid(6), SEEN), "etag", linked_later=True),
        Parked(Parent("person", "contact", guid(2)), "person", Record("contact", guid(5), SEEN), linked_later=True),
    )
    world.links = [there, elsewhere, other]
    await world.pipeline.sync("person", [incoming(encode("person", [Record("contact", guid(1), SEEN)]))])
    assert [[r.id for r in decode(message.body, message.queue)] for message in world.sent] == [[guid(5)]]
    assert world.unparked == ([] if storage_is_away else [there])
    assert [outcome for _, outcome in world.settled] == [world.outcome]


@pytest.mark.parametrize(
    ("table", "column", "deciding"),
    [
        ("team", "administratorid", True), ("team", "name", False), ("connectionrole", "name", True),
        ("relationshiprole", "name", True), ("relationshiprole", "description", False),
    ],
)  # fmt: skip
async def test_teams_and_roles_decide_about_others(world: World, table: str, column: str, deciding: bool) -> None:
    world.children = [Record("contact", guid(5), NOON)]
    await world.pipeline.route([incoming(update_of(1, table, [column]))])
    assert [(record.table, record.id) for record in world.looked_for] == ([(table, guid(1))] if deciding else [])
    found = [record.key for message in world.sent for record in decode(message.body, "person")]
    assert found == ([("contact", guid(5))] if deciding else [])


async def test_a_team_whose_rows_cannot_be_found_now_is_looked_at_again(world: World) -> None:
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    team = update_of(1, "team", ["administratorid"])
    await world.pipeline.route([incoming(team), incoming(body(2))])
    waiting = [message for message in world.sent if message.queue == "changes"]
    assert [(message.body, message.properties["first_seen"]) for message in waiting] == [(team, timestamp(SEEN))]
    assert [m.queue for m in world.sent if m not in waiting] == ["person"]


@pytest.mark.parametrize(
    ("outcome", "followed"),
    [
        (Synced("updated"), True), (Skipped("Filtered"), True), (Failed("1003", "refused"), True),
        (Retry(5.0, "606", "rate"), False), (Deferred((Parent("company", "account", guid(9)),)), False),
    ],
)  # fmt: skip
async def test_a_contact_in_between_is_followed_whatever_becomes_of_it_once_that_is_final(
    world: World, outcome: Outcome, followed: bool
) -> None:
    world.outcome = outcome
    world.children = [Record("opportunity", guid(5), NOON)]
    await world.pipeline.route([incoming(update_of(1, "contact", ["parentcustomerid"]))])
    (message,) = world.sent
    world.sent.clear()
    await world.pipeline.sync("person", [incoming(message.body)])
    assert [sent.queue for sent in world.sent] == (["opportunity"] if followed else [])


async def test_an_update_that_does_not_name_its_columns_may_have_written_any(world: World) -> None:
    await world.pipeline.route([incoming(body(1, "contact", InputParameters=[]))])
    (contact,) = decode(world.sent.pop().body, "person")
    assert (contact.filter_changed, contact.deciding) == (True, True)
    await world.pipeline.route([incoming(body(1, "contact", MessageName="Create", InputParameters=[]))])
    (contact,) = decode(world.sent.pop().body, "person")
    assert (contact.filter_changed, contact.deciding) == (False, False)


async def test_nothing_is_synced_before_an_unreadable_message_is_safe(world: World) -> None:
    world.unreachable = True
    with pytest.raises(BrokerUnavailableError):
        await world.pipeline.sync("person", [incoming(b"{"), incoming(encode("person", []))])
    assert world.synced == []


async def test_the_timer_tells_what_it_did(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await world.pipeline.release()
    assert world.counted == [("tended", 0), ("told", 0)]
    assert "checked=5 released=2" in caplog.text


async def test_the_timer_sends_on_the_rows_of_renamed_choices(world: World) -> None:
    world.relabelled = [Record("contact", guid(1), NOON), Record("account", guid(2), NOON)]
    await world.pipeline.release()
    assert [message.queue for message in world.sent] == ["company", "person"]


async def test_the_timer_sends_on_what_depends_on_rows_that_have_appeared(world: World) -> None:
    world.appeared = [Record("systemuser", guid(1), NOON), Record("contact", guid(2), NOON)]
    await world.pipeline.release()
    assert [message.queue for message in world.sent] == ["sales_person", "person"]


async def test_an_echo_of_our_own_write_is_dropped_and_its_neighbour_is_not(world: World) -> None:
    world.echoes.add("msisync")
    echo = body(1, SharedVariables=[{"key": "tag", "value": "msisync"}])
    await world.pipeline.route([incoming(echo), incoming(body(2))])
    assert world.ids() == {"person": [guid(2)]}


async def test_a_replayed_write_back_is_due_again_once_its_person_is_in_marketo(world: World) -> None:
    records = [Record("lead", guid(1), SEEN, write_back=True), Record("lead", guid(2), SEEN)]
    await world.pipeline.sync("person", [incoming(encode("person", records))])
    assert [record.id for record in world.again] == [guid(1)]


async def test_without_storage_a_replayed_write_back_waits_and_its_neighbours_are_settled(world: World) -> None:
    world.storage_is_away = True
    records = [Record("lead", guid(1), SEEN, write_back=True), Record("lead", guid(2), SEEN)]
    await world.pipeline.sync("person", [incoming(encode("person", records))])
    assert [outcome for _, outcome in world.settled] == [STORAGE_AWAY, Synced("created")]


async def test_without_storage_the_timer_does_not_fail(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.storage_is_away = True
    await world.pipeline.release()
    assert "release_waits storage" in caplog.text


async def test_the_timer_waits_for_marketo_and_fails_without_the_broker(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.check_error = MarketoError("502", "bad gateway", kind=Kind.TRANSIENT)
    await world.pipeline.release()
    assert "release_waits 502: bad gateway" in caplog.text
    world.check_error = BrokerUnavailableError("ServiceBusConnectionError")
    with pytest.raises(BrokerUnavailableError):
        await world.pipeline.release()


ACCOUNT = Parent("company", "account", guid(9))


def kept(columns: dict[str, Any]) -> Parked:
    """What is read of a row that storage has."""
    entity: Any = TableEntity(columns)
    entity._metadata = {"etag": "1"}
    return child_of(ACCOUNT, entity)


def test_a_parked_record_keeps_what_must_travel_with_it() -> None:
    record = Record(
        "contact", guid(1), SEEN, correlation_id=guid(2), attempt=2, requested=True, parked_since=NOON,
        filter_changed=True, deciding=True, forced=True, replays=3, write_back=True, run="a-run/contact/7",
    )  # fmt: skip
    assert kept(child_row(Parked(ACCOUNT, "person", record))).record == record


def test_a_live_change_that_is_parked_over_a_runs_record_keeps_its_mark() -> None:
    of_run, live = (Record("contact", guid(1), SEEN, parked_since=NOON, run=mark) for mark in ("a-run/contact/7", ""))
    # Storage keeps the columns of a row that the next write does not have.
    columns = child_row(Parked(ACCOUNT, "person", of_run)) | child_row(Parked(ACCOUNT, "person", live))
    assert kept(columns).record == of_run


def test_a_record_that_an_earlier_version_parked_is_read() -> None:
    columns = {
        "PartitionKey": "company", "RowKey": f"{guid(9)}|contact|{guid(1)}", "Entity": "person", "FirstSeen": SEEN,
        "Since": NOON, "Correlation": guid(2), "Attempt": 2, "Requested": True, "Forced": True, "Replays": 3,
    }  # fmt: skip
    found = kept(columns)
    expected = Record(
        "contact", guid(1), SEEN, correlation_id=guid(2), attempt=2, requested=True, forced=True, replays=3,
        parked_since=NOON,
    )  # fmt: skip
    assert (found.record, found.linked_later) == (expected, False)


def test_an_earlier_version_can_read_what_this_one_parks() -> None:
    record = Record("contact", guid(1), SEEN, correlation_id=guid(2), attempt=2, requested=True, parked_since=NOON)
    columns = child_row(Parked(ACCOUNT, "person", record))
    del columns["Record"]  # which the earlier version does not know
    assert kept(columns).record == record


def test_what_only_one_try_knows_of_a_record_is_not_parked() -> None:
    waits = Record("contact", guid(1), SEEN, parked_since=NOON)
    record = replace(waits, collected=True, released=True, absent=1, last_seen=SEEN)
    assert kept(child_row(Parked(ACCOUNT, "person", record))).record == waits


# -- roles --------------------------------------------------------------------------------------------------------


async def roles_after(world: World, record: Record, outcome: Outcome) -> list[Record]:
    """What is sent to the queue of roles after an opportunity was synced."""
    world.outcome = outcome
    await world.pipeline.sync("opportunity", [incoming(encode("opportunity", [record]))])
    sent = [message for message in world.sent if message.queue == "opportunity_role"]
    return [found for message in sent for found in decode(message.body, "opportunity_role")]


DEAL = Record("opportunity", guid(1), SEEN)


@pytest.mark.parametrize(
    ("facts", "outcome", "additive"),
    [
        ({"deciding": True}, Synced("updated"), False),
        ({"deciding": True, "additive": True}, Synced("updated"), True),
        ({"deciding": True}, Synced("created"), True),
        ({"forced": True}, Synced("created"), False),
        ({"filter_changed": True}, Synced("updated"), False),
        ({"requested": True}, Synced("updated"), True),
        ({}, Synced("created"), True),
    ],
)
async def test_the_roles_of_an_opportunity_follow_when_they_may_be_others(
    world: World, facts: dict[str, Any], outcome: Outcome, additive: bool
) -> None:
    (found,) = await roles_after(world, replace(DEAL, **facts), outcome)
    assert found == replace(DEAL, additive=additive, forced=facts.get("forced", False))


async def test_the_roles_of_an_opportunity_follow_once_from_each_process_though_marketo_had_it(world: World) -> None:
    """The process that created it may have been killed before its roles were sent."""
    (roles,) = await roles_after(world, DEAL, Synced("updated"))
    assert roles.additive
    world.sent.clear()
    world.settled.clear()
    assert await roles_after(world, DEAL, Synced("updated")) == []


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({}, COVERED),
        ({"deciding": True}, Skipped("Filtered")),
        ({}, Failed("1002", "no name")),
    ],
)
async def test_the_roles_of_an_opportunity_do_not_follow_for_nothing(
    world: World, facts: dict[str, Any], outcome: Outcome
) -> None:
    assert await roles_after(world, replace(DEAL, **facts), outcome) == []


async def test_a_deleted_connection_brings_the_opportunity_of_its_pre_image_to_the_queue_of_roles(world: World) -> None:
    end = {"key": "record1id", "value": {"Id": guid(7), "LogicalName": "opportunity"}}
    images = [{"key": "pre", "value": {"Attributes": [end]}}]
    await world.pipeline.route([incoming(body(1, "connection", MessageName="Delete", PreEntityImages=images))])
    found = [record for message in world.sent for record in decode(message.body, "opportunity_role")]
    assert [(record.key, record.operation) for record in found] == [
        (("connection", guid(1)), "delete"),
        (("opportunity", guid(7)), "upsert"),
    ]
