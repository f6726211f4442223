"""What becomes of outcomes: everything is durable before the trigger's messages are completed."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.model.dead_letter import MESSAGE_LENGTH
from shared.model.entities import ENTITIES
from shared.model.errors import BrokerUnavailableError, StorageUnavailableError
from shared.model.outcome import (
    FILTERED,
    Deferred,
    Failed,
    Later,
    Outcome,
    Parent,
    Removed,
    Retry,
    Skipped,
    Synced,
    WillNotCome,
)
from shared.model.record import MAX_RECORDS, Record, decode, read
from shared.sync.scheduling import BACKOFF, JITTER, Windows
from tests.support.settling import COMPANY, IN_A_BURST, SEEN, World, record
from tests.support.values import NOON, guid


async def test_children_of_what_is_in_marketo_now_are_released_and_of_nothing_else(world: World) -> None:
    await world.settle(
        (record(1, requested=True), Synced("created")),
        (record(2), Synced("unchanged")),
        (record(3, requested=True), Retry(60.0, "502", "")),
        (record(4, requested=True), Skipped("RowGone")),
    )
    assert world.released == [record(1, requested=True), record(2)]


async def test_the_children_of_what_was_deleted_go_without_it(world: World) -> None:
    removed = (record(1, requested=True), Removed("deleted", "Deleted"))
    assert await world.settle(removed, (record(2), Removed("flagged", "RowGone"))) == []
    assert world.released == []
    assert [(lost.id, cause.code, cause.skipped) for lost, cause in world.given_up] == [
        (record(1).id, "Deleted", True), (record(2).id, "RowGone", True),
    ]  # fmt: skip


@pytest.mark.parametrize("outcome", [Synced("created"), Failed("1003", "bad")])
async def test_nobody_waits_for_a_role(world: World, outcome: Outcome) -> None:
    await world.settler.settle(ENTITIES["opportunity_role"], [(Record("connection", guid(10), SEEN), outcome)])
    assert (world.released, world.given_up) == ([], [])


async def test_a_deferred_record_is_parked_with_its_parents(world: World) -> None:
    assert await world.settle((record(), Deferred((COMPANY,)))) == []
    assert world.parked == [(record(), (COMPANY,))]


async def test_records_with_the_same_wait_share_messages_that_become_visible_then(world: World) -> None:
    outcomes = [(record(n), Retry(20.0, "606", "rate")) for n in range(150)]
    sent = await world.settle(*outcomes, (record(900), Retry(300.0, "603", "denied")))
    assert [(m.queue, m.session, m.at, len(decode(m.body, "person"))) for m in sent] == [
        ("persons", "person", NOON + timedelta(seconds=20), MAX_RECORDS),
        ("persons", "person", NOON + timedelta(seconds=20), 50),
        ("persons", "person", NOON + timedelta(seconds=300), 1),
    ]


async def test_what_the_time_did_not_suffice_for_is_visible_at_once_and_unchanged(world: World) -> None:
    waiting = record(attempt=2, requested=True, parked_since=NOON, correlation_id="c")
    (message,) = await world.settle((waiting, Retry(0, "OutOfTime", "")))
    assert message.at is None
    assert decode(message.body, "person") == [waiting]


@pytest.mark.parametrize(("until", "wait"), [(IN_A_BURST, 8), (NOON, None)], ids=["in a burst", "after it"])
async def test_what_comes_later_has_a_turn_in_the_next_cycle(world: World, until: datetime, wait: float | None) -> None:
    world.windows = Windows(until, now=lambda: NOON)
    later = [record(n, attempt=2, parked_since=NOON, collected=True) for n in range(150)]
    sent = await world.settle(*[(r, Later("FillsACall")) for r in later])
    at = None if wait is None else NOON + timedelta(seconds=wait)
    assert [(m.queue, m.session, m.at) for m in sent] == [("persons", "person", at)] * 2
    assert [r for m in sent for r in decode(m.body, "person")] == later


@pytest.mark.parametrize("outcome", [Later("FillsACall"), Later("FillsACall", soon=True), Retry(60.0, "502", "")])
async def test_what_comes_again_is_a_part_of_the_same_burst(world: World, outcome: Outcome) -> None:
    world.windows = Windows(IN_A_BURST, now=lambda: NOON)
    (message,) = await world.settle((record(), outcome))
    assert read(message.body, "person").burst == IN_A_BURST


async def test_what_comes_later_in_this_turn_is_visible_at_once_and_apart_from_the_next_cycle(world: World) -> None:
    world.windows = Windows(IN_A_BURST, now=lambda: NOON)
    soon, next_cycle = record(1, collected=True), record(2, parked_since=NOON)
    sent = await world.settle((soon, Later("FillsACall", soon=True)), (next_cycle, Later("MeetsItsParents")))
    assert [(m.queue, m.at, decode(m.body, "person")) for m in sent] == [
        ("persons", None, [soon]),
        ("persons", NOON + timedelta(seconds=8), [next_cycle]),
    ]


@pytest.mark.parametrize("attempt", [0, 50])
async def test_throttling_and_outages_use_up_no_attempt_however_often(world: World, attempt: int) -> None:
    (message,) = await world.settle((record(attempt=attempt), Retry(20.0, "606", "")))
    assert message.queue == "persons"
    assert message.at == NOON + timedelta(seconds=20)
    assert decode(message.body, "person")[0].attempt == attempt


@pytest.mark.parametrize(
    ("after", "expected"),
    [(5.0, [5.0, 60, 120, 300, 900, 3600, 3600]), (60.0, [60, 120, 300, 900, 3600, 3600, 3600])],
    ids=["what may pass in a moment", "anything else"],
)
async def test_counted_tries_are_counted_and_wait_longer_each_time(after: float, expected: list[float]) -> None:
    waits = []
    for attempt in range(7):
        world = World(max_attempts=99)
        (message,) = await world.settle((record(attempt=attempt), Retry(after, "1004", "", counted=True)))
        assert message.at is not None
        assert decode(message.body, "person")[0].attempt == attempt + 1
        waits.append((message.at - NOON).total_seconds())
    assert waits == expected
    assert sorted({*waits} - {5.0}) == list(BACKOFF)


@pytest.mark.parametrize("chance", [0.0, 0.4, 1.0])
async def test_counted_waits_are_jittered_and_the_others_are_kept_to_the_moment(chance: float) -> None:
    sent = await World(chance=chance).settle(
        (record(1), Retry(60.0, "1014", "", counted=True)), (record(2), Retry(60.0, "CircuitOpen", ""))
    )
    counted, other = ((m.at - NOON).total_seconds() for m in sent if m.at)
    assert counted == pytest.approx(60 * (1 + JITTER * chance))
    assert other == 60.0


async def test_a_wait_that_is_longer_than_the_pause_between_tries_is_kept(world: World) -> None:
    (message,) = await world.settle((record(attempt=1), Retry(500.0, "1014", "", counted=True)))
    assert message.at == NOON + timedelta(seconds=500)


async def test_the_last_counted_try_becomes_a_dead_letter_with_the_vendors_code(world: World) -> None:
    (letter,) = await world.settle((record(attempt=2), Retry(5.0, "1004", "Lead not found", counted=True)))
    assert letter.queue == "dead-letters"
    assert letter.properties["code"] == "1004"
    assert "Lead not found" in str(letter.properties["message"])
    assert "3 tries" in str(letter.properties["message"])
    assert letter.properties["attempts"] == 3


async def test_a_dead_letter_tells_an_operator_everything_and_can_be_replayed_as_it_is(world: World) -> None:
    failed = record(attempt=1, correlation_id="c")
    (letter,) = await world.settle((failed, Failed("1003", "Invalid value for field 'email'", "marketo")))
    assert letter.properties == {
        "code": "1003", "message": "Invalid value for field 'email'", "system": "marketo", "source_queue": "persons",
        "first_seen": "2026-03-04T11:55:00.000Z", "entity": "person", "table": "contact", "record_id": failed.id,
        "attempts": 2,
    }  # fmt: skip
    assert (letter.queue, letter.session, letter.at) == ("dead-letters", None, None)
    assert letter.correlation_id == "c"
    assert letter.content_type == "application/json"
    assert decode(letter.body, "person") == [failed]


async def test_each_failed_record_is_a_dead_letter_of_its_own(world: World) -> None:
    letters = await world.settle(*[(record(n), Failed("1003", "bad")) for n in range(3)])
    assert [json.loads(letter.body)["records"][0]["id"] for letter in letters] == [record(n).id for n in range(3)]


async def test_a_long_message_of_a_vendor_is_cut_and_not_refused_by_the_broker(world: World) -> None:
    (letter,) = await world.settle((record(), Failed("1003", "x" * 100_000)))
    assert letter.properties["message"] == "x" * MESSAGE_LENGTH


async def test_what_went_without_a_link_is_kept_to_be_linked_later(world: World) -> None:
    assert await world.settle((record(1), Synced("updated", (COMPANY,))), (record(2), Synced("created"))) == []
    assert world.linked_later == [(record(1), (COMPANY,))]
    assert world.released == [record(1), record(2)], "others may wait for it all the same"


async def test_what_will_not_come_is_noted_with_the_reason_that_its_children_are_told(world: World) -> None:
    refused, missing = record(1), record(2, requested=True)
    await world.settle(
        (refused, Failed("1003", "Invalid value", "marketo")),
        (missing, Skipped("RowGone")),
        (record(3), FILTERED),
        (record(4, requested=True), Retry(60.0, "502", "bad gateway")),
        (record(5, requested=True), Retry(300.0, "0x80040220", "missing prvReadContact")),
        (record(6), Retry(300.0, "0x80040220", "missing prvReadContact")),
    )
    assert world.given_up == [
        (refused, WillNotCome("1003", "Invalid value", NOON)),
        (missing, WillNotCome("RowGone", "its row is not in Dynamics (any more)", NOON, skipped=True)),
        (record(5, requested=True), WillNotCome("0x80040220", "missing prvReadContact", NOON)),
    ]
    assert world.released == [record(3)]


async def test_a_change_and_the_request_of_a_child_make_one_dead_letter(world: World) -> None:
    noted = WillNotCome("1003", "bad", SEEN + timedelta(minutes=1))
    known = Parent("person", "contact", record(1).id)
    world.known = {known: noted}
    same = [record(1, requested=True), record(1), record(1, attempt=2)]
    for again in same:
        assert await world.settle((again, Failed("1003", "bad"))) == []
    assert world.given_up == [], "what is noted stays"
    others: list[tuple[Record, Outcome]] = [
        (record(1), Failed("1007", "another reason")),
        (replace(record(1), first_seen=noted.since + timedelta(seconds=1)), Failed("1003", "a later change")),
        (record(1, replays=1), Failed("1003", "an operator asked for it")),
        (record(1, forced=True), Failed("1003", "an operator asked for it")),
        (record(2), Failed("1003", "another record")),
    ]
    for number, other in enumerate(others, 1):
        assert len(await world.settle(other)) == number


async def test_what_is_looked_at_again_comes_after_its_own_time(world: World) -> None:
    sent = await world.settle(
        (record(1), Later("RowNotThere", after=5.0)),
        (record(2), Later("RowNotThere", after=5.0)),
        (record(3), Later("RowNotThere", after=60.0)),
    )
    assert [(m.at, [r.id for r in decode(m.body, "person")]) for m in sent] == [
        (NOON + timedelta(seconds=5), [record(1).id, record(2).id]),
        (NOON + timedelta(seconds=60), [record(3).id]),
    ]


@pytest.mark.parametrize("part", ["bus", "park", "release"])
async def test_the_trigger_fails_when_something_cannot_be_made_durable(world: World, part: str) -> None:
    world.away[part] = RuntimeError(part)
    with pytest.raises(RuntimeError, match=part):
        await world.settle(
            (record(1), Deferred((COMPANY,))), (record(2), Retry(20.0, "606", "")), (record(3), Synced("created"))
        )
    assert world.sent == []


STORAGE_AWAY = StorageUnavailableError("ServiceRequestError")


async def test_what_needs_storage_while_it_is_away_comes_again_and_uses_up_no_attempt(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.away = {"park": STORAGE_AWAY, "release": STORAGE_AWAY}
    waiting = record(1, attempt=2, parked_since=SEEN, correlation_id="c")
    waited_for = record(2, requested=True)
    (message,) = await world.settle((waiting, Deferred((COMPANY,))), (waited_for, Synced("created")))
    assert (message.queue, message.session, message.at) == ("persons", "person", NOON + timedelta(seconds=60))
    assert decode(message.body, "person") == [waiting, waited_for]
    assert "storage_away" in caplog.text
    assert "ServiceRequestError" in caplog.text


async def test_while_storage_is_away_the_rest_of_the_batch_is_settled_once(world: World) -> None:
    world.away = {"park": STORAGE_AWAY}
    sent = await world.settle(
        (record(1), Deferred((COMPANY,))),
        (record(2), Failed("1003", "bad")),
        (record(3), Retry(20.0, "606", "")),
        (record(4, requested=True), Synced("created")),
        (record(5), Skipped("RowGone")),
    )
    assert sorted((m.queue, [r.id for r in decode(m.body, "person")]) for m in sent) == [
        ("dead-letters", [record(2).id]), ("persons", [record(1).id]), ("persons", [record(3).id]),
    ]  # fmt: skip
    assert world.released == [record(4, requested=True)]


async def test_while_storage_is_away_records_that_nobody_is_known_to_wait_for_go_on(world: World) -> None:
    world.away = {"release": STORAGE_AWAY}
    assert await world.settle((record(1), Synced("created")), (record(2), Synced("unchanged"))) == []


@pytest.mark.parametrize("part", ["park", "release"])
async def test_an_error_of_the_broker_is_no_outage_of_storage(world: World, part: str) -> None:
    """Requests and releases are messages."""
    world.away = {part: BrokerUnavailableError("MessagingEntityDisabledError")}
    with pytest.raises(BrokerUnavailableError):
        await world.settle((record(1), Deferred((COMPANY,))), (record(2, requested=True), Synced("created")))
    assert world.sent == []


async def test_while_storage_is_away_a_parent_that_will_not_come_is_told_later_once(world: World) -> None:
    """Its dead letter waits with it: there is to be one of them."""
    world.away = dict.fromkeys(("noted", "give_up", "link_later"), STORAGE_AWAY)
    waited_for, sent = record(1, requested=True), record(2)
    (message,) = await world.settle((waited_for, Failed("1003", "bad")), (sent, Synced("updated", (COMPANY,))))
    assert message.at == NOON + timedelta(seconds=60)
    assert decode(message.body, "person") == [waited_for, sent]


async def test_children_are_told_later_when_storage_goes_away_behind_the_dead_letter(world: World) -> None:
    world.away = {"give_up": STORAGE_AWAY}
    waited_for = record(1, requested=True)
    letter, later = await world.settle((waited_for, Failed("1003", "bad")))
    assert (letter.queue, later.queue, later.at) == ("dead-letters", "persons", NOON + timedelta(seconds=60))
    assert decode(later.body, "person") == [waited_for]
