"""What a dead letter says: of this app or of the broker, about a record or a notification, or about nothing known."""

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.azure.receiver import Message
from shared.cli.dead_letters.letter import DeadLetter, address, place_of, places, read
from shared.cli.dead_letters.look import add_filters, age, fits, replays
from shared.cli.dead_letters.selection import MAX_GROUPS, Groups
from shared.cli.peek import Place
from shared.model.record import Record, encode
from tests.support.queues import QUEUES
from tests.support.values import NOON

EARLIER = NOON - timedelta(hours=2)
ID, OTHER = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", "7a1d9f40-1c52-ef11-a316-000d3a5b7c01"
OURS, PERSONS, CHANGES = Place("dead-letters"), Place("persons", dead=True), Place("changes", dead=True)
PROPERTIES: dict[str, object] = {
    "code": "1003", "message": "Invalid value for field 'email'", "system": "marketo", "source_queue": "persons",
    "first_seen": "2026-03-04T10:00:00.000Z", "entity": "person", "table": "contact", "record_id": ID, "attempts": 3,
}  # fmt: skip


def notification(id_: str = ID, table: str = "contact") -> bytes:
    context = {"MessageName": "Update", "PrimaryEntityName": table, "PrimaryEntityId": id_, "InputParameters": []}
    return json.dumps(context).encode()


def letter(place: Place = OURS, body: bytes = b"", number: int = 17, **message: Any) -> DeadLetter:
    given = {"properties": PROPERTIES if place == OURS else {}, **message}
    return read(
        place, Message(number, body or encode("person", [Record("contact", ID, EARLIER)]), NOON, **given), QUEUES
    )


def test_a_dead_letter_of_this_app_says_everything_in_its_properties() -> None:
    found = letter(body=b"not even looked at")
    assert (found.code, found.reason, found.system) == ("1003", "Invalid value for field 'email'", "marketo")
    assert (found.entity, found.ids, found.source_queue) == ("person", (("contact", ID),), "persons")
    assert (found.first_seen, found.attempts, found.replays) == (EARLIER, 3, 0)
    assert letter(properties={**PROPERTIES, "replay_count": 2}).replays == 2
    assert found.address == "dead-letters/17"
    assert f"msisync dead-letters replay --id {ID} --apply" in found.remedy


def test_who_is_ambiguous_is_linked_by_the_command_that_names_the_row() -> None:
    found = letter(properties={**PROPERTIES, "code": "AmbiguousPerson", "system": "msisync"})
    assert f"msisync link contact {ID} MARKETO_ID" in found.remedy


def test_what_lifts_the_brake_names_the_entity() -> None:
    braked = letter(properties={**PROPERTIES, "code": "DeleteBrake", "system": "msisync"})
    groups = Groups()
    groups.add(braked)
    for said in (braked.remedy, groups.largest_first()[0].remedy):
        assert said.endswith("then msisync lifecycle release person --apply")


def test_a_notification_that_this_app_refused_names_its_row() -> None:
    refused = {"code": "UnknownTable", "message": "no mapped table", "system": "msisync", "source_queue": "changes"}
    found = letter(body=notification(), properties=refused)
    assert (found.entity, found.ids, found.first_seen) == ("person", (("contact", ID),), NOON)
    assert letter(body=notification(table="team"), properties=refused).entity == ""


def test_a_dead_letter_of_the_broker_names_its_records() -> None:
    records = [Record("contact", ID, EARLIER, replays=1), Record("lead", OTHER, EARLIER)]
    given: dict[str, Any] = {"reason": "MaxDeliveryCountExceeded", "delivery_count": 10}
    # What an earlier replay has kept in the properties is not about this.
    found = letter(PERSONS, encode("person", records), properties=PROPERTIES, **given)
    assert (found.code, found.system, found.source_queue) == ("MaxDeliveryCountExceeded", "service bus", "persons")
    assert (found.ids, found.attempts, found.replays) == ((("contact", ID), ("lead", OTHER)), 10, 1)
    assert found.address == "persons/dead/17"


def test_what_the_broker_gave_up_before_it_was_routed() -> None:
    found = letter(CHANGES, notification(), properties={"replay_count": 1}, reason="TTLExpiredException")
    assert (found.entity, found.ids, found.code, found.replays) == (
        "person", (("contact", ID),), "TTLExpiredException", 1,
    )  # fmt: skip


@given(st.binary(), st.dictionaries(st.text(max_size=8) | st.sampled_from(sorted(PROPERTIES)), st.none() | st.text()))
def test_every_message_can_be_read(body: bytes, properties: dict[str, object]) -> None:
    for place in places(QUEUES):
        found = letter(place, body or b"x", properties=properties)
        assert found.code
        assert found.source_queue
        assert found.remedy


def test_an_address_names_its_message_and_nothing_else() -> None:
    for place in places(QUEUES):
        assert place_of(address(place, 5), QUEUES) == (place, 5)
    for wrong in (
        "dead-letters",
        "dead-letters/",
        "nowhere/5",
        "persons/5",
        "dead-letters/-1",
        "dead-letters/x",
        f"dead-letters/{2**63}",
    ):
        assert place_of(wrong, QUEUES) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", True),
        (f"--entity person --id {ID} --code 1003 --source-queue persons --reason FIELD", True),
        ("--entity company", False),
        (f"--id {OTHER}", False),
        ("--code 1004", False),
        ("--reason phone", False),
        ("--source-queue companies", False),
        ("--older-than 59m", True),
        ("--older-than 1h", False),
        ("--newer-than 1h", False),
        ("--newer-than 61m", True),
        ("--replayed 2", True),
        ("--replayed 1", False),
        ("--replayed 1+", True),
        ("--replayed 3+", False),
    ],
)
def test_every_filter_that_is_given_must_fit(options: str, *, expected: bool) -> None:
    parser = ArgumentParser()
    add_filters(parser)
    found = letter(properties={**PROPERTIES, "replay_count": 2})
    assert fits(parser.parse_args(options.split()), found, NOON + timedelta(hours=1)) is expected


def test_the_identity_tells_letters_of_one_address_apart() -> None:
    assert letter().identity == "dead-letters/17@2026-03-04T12:00:00.000Z"


def test_ages_and_numbers_of_replays_as_they_are_typed() -> None:
    assert [age(text) for text in ("90s", "30m", "2h", "3d", "1w")] == [
        timedelta(seconds=90), timedelta(minutes=30), timedelta(hours=2), timedelta(days=3), timedelta(weeks=1),
    ]  # fmt: skip
    assert replays("0") == range(1)
    for wrong in ("", "3", "h", "-1h", "1y", "1.5h"):
        with pytest.raises(Exception, match="no age"):
            age(wrong)
    for wrong in ("", "+", "x", "-1"):
        with pytest.raises(Exception, match="no number of replays"):
            replays(wrong)


def test_groups_are_told_by_entity_queue_and_code() -> None:
    groups = Groups()
    for number in range(3):
        groups.add(letter(number=number))
    newer = Message(9, b"", NOON + timedelta(hours=1), properties={**PROPERTIES, "message": "newer", "replay_count": 1})
    groups.add(read(OURS, newer, QUEUES))
    groups.add(letter(properties={**PROPERTIES, "code": "1007"}))
    largest, other = groups.largest_first()
    assert (largest.count, largest.code, largest.entity, largest.source_queue) == (4, "1003", "person", "persons")
    assert (largest.oldest, largest.newest, largest.reason, largest.replayed_before) == (
        NOON, newer.enqueued, "newer", 1,
    )  # fmt: skip
    assert "--code 1003 --entity person" in largest.remedy
    assert (other.count, other.code) == (1, "1007")


def test_a_command_that_is_recommended_can_be_pasted() -> None:
    groups = Groups()
    groups.add(letter(properties={**PROPERTIES, "code": "HTTP 413"}))
    assert "--code 'HTTP 413' --entity person" in groups.largest_first()[0].remedy


def test_codes_that_are_no_codes_do_not_fill_the_memory() -> None:
    groups = Groups()
    for number in range(MAX_GROUPS + 500):
        groups.add(letter(properties={**PROPERTIES, "code": f"code {number}"}))
    found = groups.largest_first()
    assert len(found) <= MAX_GROUPS + 1
    assert sum(group.count for group in found) == MAX_GROUPS + 500
