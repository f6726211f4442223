"""What each trigger does: a webhook is taken in, notifications are routed, messages are synced, refusals are kept."""

import logging
from dataclasses import replace
from datetime import timedelta
from unittest.mock import AsyncMock

import pytest

from shared.model.codes import Kind
from shared.model.errors import BrokerUnavailableError, DataverseError, MarketoError, MsiSyncError, SignInError
from shared.model.outcome import Later, Synced
from shared.model.record import Record, decode, encode, read
from shared.sync.incoming import Incoming
from shared.sync.settlement import STORAGE_AWAY
from tests.support.pipeline import NOON, SEEN, World, body, incoming
from tests.support.values import guid


async def test_a_lone_change_goes_to_its_queue_at_once(world: World) -> None:
    await world.pipeline.route([incoming(body())])
    (message,) = world.sent
    assert (message.queue, message.session, message.at) == ("person", "person", None)
    assert decode(message.body, "person") == [Record("lead", guid(1), SEEN, "upsert", guid(77), last_seen=SEEN)]


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


async def test_in_a_burst_half_empty_messages_are_packed_while_more_are_waiting(world: World) -> None:
    """A batch has so many messages: with more records in each, more calls to Marketo are full."""
    until = NOON + timedelta(seconds=40)
    lone = [incoming(encode("person", [Record("lead", guid(n), SEEN)], until)) for n in range(3)]
    await world.pipeline.sync("person", lone)
    assert world.synced == []
    assert [(record.id, outcome) for record, outcome in world.settled] == [
        (guid(n), Later("FillsAMessage", soon=True)) for n in range(3)
    ]
    world.settled.clear()
    await world.pipeline.sync("person", lone[:2])
    assert len(world.synced) == 2, "nothing more is waiting"


async def test_a_lone_change_within_a_burst_waits_with_the_others_and_a_refusal_does_not(world: World) -> None:
    await world.pipeline.route([incoming(body(n)) for n in range(1, 4)])
    world.sent.clear()
    await world.pipeline.route([incoming(body(4)), incoming(b"{")])
    assert [(message.queue, message.at) for message in world.sent] == [
        ("person", NOON.replace(second=28)),
        ("dead-letters", None),
    ]


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


@pytest.mark.parametrize(
    "carried",
    [
        "", "yesterday", 5, None, "2026-03-04T11:00:00", "2026-03-04T11:00:00+24:00", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-23:59",
    ],
)  # fmt: skip
async def test_a_first_time_that_cannot_be_read_is_the_time_of_the_queue(world: World, carried: object) -> None:
    await world.pipeline.route([Incoming(body(1), SEEN, {"first_seen": carried})])
    assert decode(world.sent[0].body, "person")[0].first_seen == SEEN


async def test_the_records_of_all_messages_are_synced_together_and_settled(world: World) -> None:
    records = [Record("lead", guid(n), SEEN) for n in range(1, 5)]
    await world.pipeline.sync("person", [incoming(encode("person", part)) for part in (records[:3], records[3:])])
    assert world.synced == records
    assert world.settled == [(record, Synced("created")) for record in records]
    assert world.counted == [("person", len(records))]


OF_RUN = Record("contact", guid(1), SEEN, run="20260304-120000-abcd/contact/0")


async def test_runs_hear_of_a_batch_when_it_is_durable_and_what_it_has_cost(world: World) -> None:
    await world.pipeline.sync("person", [incoming(encode("person", [OF_RUN, Record("contact", guid(2), SEEN)]))])
    assert world.told_runs == [([OF_RUN.run, ""], 1)]


async def test_runs_hear_nothing_of_a_batch_that_comes_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "settle", AsyncMock(side_effect=BrokerUnavailableError("ServiceBusConnectionError")))
    with pytest.raises(BrokerUnavailableError):
        await world.pipeline.sync("person", [incoming(encode("person", [OF_RUN]))])
    assert world.told_runs == []


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
