"""What a message says about a record: on its way, dead, or about somebody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from shared.azure.receiver import Message
from shared.cli.peek import Place
from shared.cli.show import queues as module
from shared.cli.show.facts import Person, Search, Subject
from shared.cli.show.queues import Looking, note, stages
from shared.model.record import Record, encode
from tests.support.queues import QUEUES
from tests.support.values import NOON

ID, OTHER = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", "7a1d9f40-1c52-ef11-a316-000d3a5b7c01"
CHANGES, PERSONS, LETTERS = Place("changes"), Place("persons", "person"), Place("dead-letters")


def notification(id_: str = ID, **more: Any) -> bytes:
    context = {"MessageName": "Update", "PrimaryEntityName": "contact", "PrimaryEntityId": id_, **more}
    return json.dumps({"InputParameters": [], **context}).encode()


def records(*ids: str, **more: Any) -> bytes:
    return encode("person", [Record("contact", id_, NOON, **more) for id_ in ids])


def noted(place: Place, body: bytes, **message: Any) -> Subject:
    subject = Subject("contact", ID)
    note(subject, place, Message(7, body, NOON, **message), QUEUES)
    return subject


def test_a_notification_on_its_way() -> None:
    (waiting,) = noted(CHANGES, notification("{" + ID.upper() + "}")).waiting
    assert (waiting.queue, waiting.routed, waiting.notification, waiting.first_seen) == (
        "changes", False, "Update", NOON,
    )  # fmt: skip
    (again,) = noted(CHANGES, notification(), properties={"first_seen": "2026-03-04T11:00:00.000Z"}).waiting
    assert again.first_seen == NOON.replace(hour=11)


def test_a_record_on_its_way() -> None:
    due = NOON.replace(minute=5)
    (waiting,) = noted(PERSONS, records(OTHER, ID, attempt=3), due=due).waiting
    assert (waiting.queue, waiting.routed, waiting.attempt, waiting.due) == ("persons", True, 3, due)


@pytest.mark.parametrize(
    ("place", "body"),
    [
        (CHANGES, notification(OTHER, OwnerId=ID)), (CHANGES, b"not JSON " + ID.encode()), (PERSONS, records(OTHER)),
        (PERSONS, b"{}"), (Place("persons", dead=True), records(OTHER)), (LETTERS, notification(OTHER, OwnerId=ID)),
    ],
)  # fmt: skip
def test_messages_about_somebody_else(place: Place, body: bytes) -> None:
    subject = noted(place, body)
    assert (subject.waiting, subject.letters) == ([], [])


def test_a_dead_letter_of_ours() -> None:
    properties = {
        "record_id": ID, "code": "1003", "message": "bad e-mail", "system": "marketo", "source_queue": "persons",
        "first_seen": "2026-03-04T11:00:00.000Z", "attempts": 2,
    }  # fmt: skip
    (letter,) = noted(LETTERS, records(ID), properties=properties).letters
    assert (letter.queue, letter.source_queue, letter.code, letter.message, letter.system, letter.attempts) == (
        "dead-letters", "persons", "1003", "bad e-mail", "marketo", 2,
    )  # fmt: skip
    assert letter.first_seen == NOON.replace(hour=11)


def test_what_the_broker_gave_up() -> None:
    reason = {"reason": "MaxDeliveryCountExceeded", "description": "after 10 attempts"}
    (letter,) = noted(Place("changes", dead=True), notification(), delivery_count=10, **reason).letters
    assert (letter.queue, letter.source_queue) == ("changes/$deadletterqueue", "changes")
    assert (letter.code, letter.message, letter.attempts) == ("MaxDeliveryCountExceeded", "after 10 attempts", 10)


def test_places_are_looked_into_in_the_order_in_which_a_change_travels() -> None:
    names = [sorted(map(str, stage)) for stage in stages(QUEUES, {"person", "company"})]
    assert names == [
        ["changes", "changes/$deadletterqueue", "companies/$deadletterqueue", "persons/$deadletterqueue"],
        ["companies", "persons"],
        ["dead-letters"],
    ]


class Broker:
    """Places as `peek` reads them. `opened` and `read` are those that were, in order."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.read: list[str] = []
        self.messages: dict[str, Message] = {}

    async def peek(self, _: Any, place: Place, *, page: int, ready: asyncio.Event) -> AsyncIterator[list[Message]]:
        assert page
        self.opened.append(str(place))
        await ready.wait()
        await asyncio.sleep(0)
        self.read.append(str(place))
        if message := self.messages.get(str(place)):
            yield [message]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(module, "peek", broker.peek)
    return broker


async def test_places_are_opened_while_nobody_knows_who_it_is_and_read_in_order(broker: Broker) -> None:
    context: Any = SimpleNamespace(settings=SimpleNamespace(queues=QUEUES), bus=None)
    search = Search()
    broker.messages["persons"] = Message(7, records(ID), NOON)
    async with asyncio.timeout(10), Looking(context, search, 5000) as looking:
        await asyncio.sleep(0)
        assert set(broker.opened) == {str(place) for stage in stages(QUEUES, {"person"}) for place in stage}
        assert broker.read == []
        search.persons = [Person(Subject("contact", ID))]  # known only now
        await looking.look({"person", "company"})
        order = {name: place for place, name in enumerate(broker.read)}
        assert order["changes"] < order["persons"] < order["dead-letters"]
        assert order["companies/$deadletterqueue"] < order["companies"] < order["dead-letters"]
        assert [waiting.queue for waiting in search.persons[0].subject.waiting] == ["persons"]
        assert search.looked_at["persons"] == 1
        assert search.looked_at["dead-letters"] == 0
        await looking.look({"opportunity"})
        assert broker.read[len(order) :] == ["deals/$deadletterqueue", "deals"]
    assert list(search.looked_at) == broker.opened, "in the same order, whoever answers first"
