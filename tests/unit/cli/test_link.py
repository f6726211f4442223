"""`msisync link`: what it allows and refuses, what it writes, and what it sends afterwards."""

import json
import time
from argparse import Namespace
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.cli import link
from shared.cli.command import Exit, Result
from shared.cli.link import Sides, judge
from shared.cli.parsing import UsageError
from shared.cli.show.facts import Subject
from shared.marketo.answers import Result as Written
from shared.marketo.client import Write
from shared.model.entities import Entity
from shared.model.errors import BrokerUnavailableError, MsiSyncError
from shared.model.record import Record
from shared.sync import lease
from shared.sync.lease import Lease, Leases
from shared.sync.matches import Match
from tests.support.commands import typed
from tests.support.history import Kept
from tests.support.values import guid
from tests.support.vendors import Vendors

KEY = "externalPersonId"
OWN, OTHER = guid(1), guid(2)


def there(table: str, **facts: Any) -> Subject:
    """A row of Dynamics."""
    return Subject(table, OWN, exists=True, **facts)


ANN = there("contact", name="Ann Lee", email="ann@x.com")


@pytest.mark.parametrize(
    ("row", "person", "holders", "code", "says"),
    [
        (ANN, Match(7), (), "NotLinked", "contact {own} (Ann Lee, ann@x.com) is not linked yet"),
        (ANN, Match(7, OWN), (7,), "AlreadyLinked", "is Marketo's person 7"),
        (ANN, None, (), "NoPerson", "no person 7"),
        (ANN, Match(7, OTHER), (), "OtherRow", "another Dynamics id: {other}"),
        (ANN, Match(7), (9,), "OtherPerson", "as person 9"),
        (ANN, Match(7, OWN), (7, 9), "OtherPerson", "as person 9"),
        (Subject("contact", OWN, exists=False), Match(7), (), "NoRow", "Dynamics has no contact {own}"),
        (there("contact", kept_out="new_synctomkto is No"), Match(7), (), "Filtered", "new_synctomkto is No"),
        (there("lead", qualified=True), Match(7), (), "Qualified", "was qualified"),
        (there("contact", winner=f"contact {OTHER}"), Match(7), (), "Merged", "was merged into contact {other}"),
    ],
)
def test_what_may_be_linked(row: Subject, person: Match | None, holders: Sequence[int], code: str, says: str) -> None:
    found = judge(Sides(row, person=person, holders=holders), 7)
    assert found.code == code
    assert says.format(own=OWN, other=OTHER) in found.text


def test_a_refusal_names_the_command_or_the_row_that_is_right() -> None:
    elsewhere = judge(Sides(Subject("contact", OWN, exists=False), "lead"), 7)
    assert elsewhere.remedy == f"it is a lead: msisync link lead {OWN} 7"
    qualified = judge(Sides(there("lead", qualified=True, winner=f"contact {OTHER}")), 7)
    assert qualified.remedy == f"msisync link contact {OTHER} 7"
    assert judge(Sides(there("lead", winner=f"lead {OTHER}")), 7).remedy == f"msisync link lead {OTHER} 7"
    assert f"msisync show person {OTHER}" in judge(Sides(ANN, person=Match(7, OTHER)), 7).remedy
    assert "merge" in judge(Sides(ANN, person=Match(7), holders=(9,)), 7).remedy


class World(Vendors):
    """Marketo, storage and what the command asks for beside them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.persons: dict[int, dict[str, Any]] = {7: {"id": 7, "email": "Ann@x.com", KEY: None}}
        self.kept = Kept()
        self.state = MemoryState(MemoryTable(seconds=0))
        self.refuses: tuple[str, str] | None = None
        self.dead_letters = 0
        self.broker_away = False
        self.sent: list[Record] = []
        self.writes = 0
        monkeypatch.setattr(link, "_row", self._row)
        monkeypatch.setattr(link, "replay", self._replay)
        monkeypatch.setattr(link, "send", self._send)
        monkeypatch.setattr(lease, "LOOK_SECONDS", 0.0)

    async def _row(self, *_: Any) -> Sides:
        return Sides(ANN)

    async def _replay(self, _context: Any, wanted: Namespace, _progress: Any) -> Any:
        assert (wanted.id, wanted.code, wanted.apply) == (OWN, "AmbiguousPerson", True)
        return SimpleNamespace(data={"went": self.dead_letters})

    async def _send(self, _context: Any, records: Sequence[Record]) -> None:
        if self.broker_away:
            raise BrokerUnavailableError("ServiceBusConnectionError")
        self.sent += records

    async def read(self, _entity: Entity, field: str, values: Sequence[str], *_: Any) -> list[dict[str, Any]]:
        return [person for person in self.persons.values() if str(person[field]) in values]

    async def write(self, _: Entity, bodies: Sequence[bytes], write: Write, *, begin: Any, **_more: Any) -> Any:
        assert write is Write.BY_ID
        await begin()
        self.writes += 1
        (sent,) = map(json.loads, bodies)
        if self.refuses:
            return [Written("skipped", 0, *self.refuses)]
        self.persons[sent["id"]] |= sent
        return [Written("updated", sent["id"])]

    async def run(self, *words: str) -> tuple[Result, str]:
        leases = Leases(self.state, instance_id="operator", longest_call=90.0, clock=time.monotonic)
        return await typed(SimpleNamespace(leases=leases, marketo=self, history=self.kept.history), "link", *words)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_dry_run_changes_nothing(world: World) -> None:
    result, text = await world.run("contact", OWN.upper(), "7")
    assert (result.exit, world.writes, world.sent) == (Exit.ATTENTION, 0, [])
    assert "Ann@x.com" in text
    assert "To link them: msisync " in text
    assert result.data["verdict"]["code"] == "NotLinked"


async def test_the_key_is_written_and_the_row_sent(world: World) -> None:
    result, text = await world.run("contact", OWN, "7", "--apply")
    assert (result.exit, world.persons[7][KEY]) == (Exit.OK, OWN)
    assert [(record.table, record.id, record.forced) for record in world.sent] == [("contact", OWN, True)]
    assert (result.data["verdict"]["code"], result.data["applied"], result.data["sent"]) == ("Linked", True, True)
    assert f"msisync show person {OWN}" in text
    assert await world.kept.texts() == ["linked to a person of Marketo: Marketo id 7"]


async def test_a_dead_letter_is_what_is_sent(world: World) -> None:
    world.dead_letters = 1
    result, text = await world.run("contact", OWN, "7", "--apply")
    assert (world.sent, result.data["dead_letters"]) == ([], 1)
    assert "its dead letter is gone" in text


async def test_a_second_run_writes_nothing_and_sends_it_again(world: World) -> None:
    """The first may have been stopped in between."""
    world.persons[7][KEY] = OWN
    result, _ = await world.run("contact", OWN, "7", "--apply")
    assert (result.exit, world.writes, len(world.sent)) == (Exit.OK, 0, 1)
    result, text = await world.run("contact", OWN, "7")
    assert (result.exit, len(world.sent)) == (Exit.OK, 1)
    assert "is Marketo's person 7" in text


async def test_what_marketo_refuses_is_not_sent(world: World) -> None:
    world.refuses = ("1008", "Access denied")
    result, text = await world.run("contact", OWN, "7", "--apply")
    assert (result.exit, world.sent, result.data["applied"]) == (Exit.FAILED, [], False)
    assert "1008" in text


async def test_nothing_is_written_while_the_app_sends_persons(world: World) -> None:
    app = Lease(world.state, "person", instance_id="app", lasts=60.0, clock=time.monotonic)
    assert await app.take() == 0
    with pytest.raises(MsiSyncError, match="msisync pause person"):
        await world.run("contact", OWN, "7", "--apply")
    assert world.writes == 0
    await app.give_back()
    assert (await world.run("contact", OWN, "7", "--apply"))[0].exit is Exit.OK


async def test_what_the_app_did_before_the_lease_was_ours_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have created a person of the row, or let another row adopt this one, since the first look."""
    take = Lease.take

    async def meanwhile(self: Lease) -> float:
        world.persons[9] = {"id": 9, "email": "ann@x.com", KEY: OWN}
        return await take(self)

    monkeypatch.setattr(Lease, "take", meanwhile)
    result, text = await world.run("contact", OWN, "7", "--apply")
    assert (result.exit, world.writes) == (Exit.FAILED, 0)
    assert "as person 9" in text


async def test_a_broker_that_is_away_leaves_the_link_and_says_what_to_do(world: World) -> None:
    world.broker_away = True
    result, text = await world.run("contact", OWN, "7", "--apply")
    assert (result.exit, world.persons[7][KEY]) == (Exit.FAILED, OWN)
    assert f"msisync resync contact {OWN}" in text


async def test_only_persons_are_linked(world: World) -> None:
    with pytest.raises(UsageError) as stopped:
        await world.run("account", OWN, "7")
    assert "one of: lead, contact" in stopped.value.message
