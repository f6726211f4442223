"""Whether what a dead letter tells of was synced since: what of a history says so, and what does not."""

from datetime import datetime, timedelta

import pytest

from shared.azure.receiver import Message
from shared.cli.dead_letters.letter import DeadLetter, read
from shared.cli.dead_letters.synced import synced_since
from shared.cli.peek import Place
from shared.model.record import Record, encode
from shared.sync.history import Event, What
from tests.support.letters import OURS, refused
from tests.support.queues import QUEUES
from tests.support.values import NOON, guid

LATER = NOON + timedelta(minutes=1)


def letter(**facts: object) -> DeadLetter:
    return read(OURS, refused(1, **facts), QUEUES)  # type: ignore[arg-type]


def event(what: str, at: datetime = LATER, number: int = 1, table: str = "contact", entity: str = "") -> Event:
    return Event(at, table, guid(number), what, {}, entity)


@pytest.mark.parametrize("what", [What.CREATED, What.UPDATED, What.UNCHANGED, What.COVERED, What.DELETED, What.MERGED])
def test_what_settles_it(what: What) -> None:
    assert synced_since(letter(), [event(what)]) == LATER


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event(What.UPDATED, NOON)],
        [event(What.UPDATED, NOON - timedelta(days=1))],
        [event(What.DEAD_LETTERED)],
        [event(What.SKIPPED)],
        [event(What.REPLAY)],
        [event(What.PARKED)],
        [event(What.WRITTEN_BACK)],
        [event("of a newer version")],
        [event(What.UPDATED, number=2)],
        [event(What.UPDATED, entity="opportunity_role")],
        [event(What.UPDATED, table="opportunity")],
    ],
)
def test_what_does_not(events: list[Event]) -> None:
    assert synced_since(letter(), events) is None


def role_letter(**facts: bool) -> DeadLetter:
    record = Record("opportunity", guid(1), NOON, **facts)  # type: ignore[arg-type]
    return letter(entity="opportunity_role", body=encode("opportunity_role", [record]))


def test_the_roles_of_an_opportunity_are_another_entity() -> None:
    roles = role_letter(additive=True)
    assert synced_since(roles, [event(What.UPDATED, table="opportunity")]) is None
    assert synced_since(roles, [event(What.UPDATED, table="opportunity", entity="opportunity_role")]) == LATER


@pytest.mark.parametrize("facts", [{}, {"compared_only": True}])
def test_that_a_role_was_sent_does_not_say_that_an_old_one_is_gone(facts: dict[str, bool]) -> None:
    sent = event(What.UPDATED, table="opportunity", entity="opportunity_role")
    assert synced_since(role_letter(**facts), [sent]) is None


def test_a_role_whose_body_nobody_understands_may_have_left_an_old_one() -> None:
    sent = event(What.UPDATED, table="opportunity", entity="opportunity_role")
    assert synced_since(letter(entity="opportunity_role", body=b"{"), [sent]) is None


def test_a_write_back_is_settled_by_a_write_back() -> None:
    of_write_back = letter(write_back=True)
    assert synced_since(of_write_back, [event(What.UPDATED)]) is None
    assert synced_since(of_write_back, [event(What.WRITTEN_BACK)]) == LATER


def test_of_several_rows_each_must_be_synced() -> None:
    records = [Record("contact", guid(number), NOON) for number in (1, 2)]
    message = Message(1, encode("person", records), NOON)
    both = read(Place(QUEUES.person, dead=True), message, QUEUES)
    assert synced_since(both, [event(What.UPDATED)]) is None
    assert synced_since(both, [event(What.UPDATED), event(What.UPDATED, LATER + timedelta(1), 2)]) == LATER + timedelta(
        1
    )


def test_who_names_no_row_is_never_settled() -> None:
    nobody = read(Place(QUEUES.person, dead=True), Message(1, b"{", NOON), QUEUES)
    assert synced_since(nobody, [event(What.UPDATED)]) is None
