"""`msisync reconcile`: what it compares, says, writes and sends, and what its exit code means."""

import io
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from shared.cli import reconcile
from shared.cli.command import Exit, Result
from shared.cli.main import parser
from shared.model.errors import MsiSyncError
from shared.sync.comparison import Difference, Kind, Tally
from tests.support.values import guid


class World:
    """Differences of tables, and what is sent because of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.differences: list[Difference] = []
        self.rows = 5
        self.used = 100
        self.asked: list[tuple[str, str]] = []
        self.sent: list[tuple[str, str, str]] = []
        self.renewed: list[str] = []
        self.tally = Tally()
        self.persons: tuple[int, int] | None = None
        self.gone: list[Difference] = []
        monkeypatch.setattr(reconcile, "ExtraPersons", lambda *_: self)
        monkeypatch.setattr(reconcile, "reconciliation_of", lambda *_, **__: self)
        monkeypatch.setattr(reconcile, "send_to", self._send)
        monkeypatch.setattr(reconcile, "renew", self._renew)

    def has(self, kind: Kind, *fields: str, table: str = "contact", count: int = 1, entity: str = "person") -> None:
        first = len(self.differences) + 1
        persons = (5, 6) if kind is Kind.DUPLICATE else ()
        self.differences += [
            Difference(entity, table, guid(number), kind, fields, persons) for number in range(first, first + count)
        ]

    async def of(self, table: str, query: str, on_progress: Callable[[int], object]) -> AsyncIterator[Difference]:
        self.asked.append((table, query))
        on_progress(1)
        self.tally.compared += 1200
        for found in self.differences:
            if found.table == table:
                self.tally.add(found)
                yield found

    async def between(self, first: int, last: int, on_progress: Callable[[int], object]) -> AsyncIterator[Difference]:
        on_progress(last - first + 1)
        for found in self.gone:
            yield found

    async def count_rows(self, _tables: Sequence[str]) -> int:
        return self.rows

    async def refresh(self) -> Any:
        return SimpleNamespace(used_today=10, everybody=self.used)

    async def _send(self, _context: Any, records: Sequence[tuple[str, Any]]) -> None:
        assert all(record.forced for _, record in records)
        self.sent += [(entity, record.table, record.id) for entity, record in records]

    async def _renew(self, _context: Any, *what: str) -> str:
        self.renewed += what
        return ""

    async def run(self, *words: str) -> tuple[Result, str]:
        itself: Any = self
        config = SimpleNamespace(tables={"contact": None, "account": None, "opportunity": None})
        settings = SimpleNamespace(marketo=SimpleNamespace(daily_calls=1000))
        context: Any = SimpleNamespace(
            config=config, dataverse=itself, metadata=None, marketo=None, budget=itself, settings=settings
        )
        given = parser((reconcile.COMMAND,)).parse_args(["reconcile", *words])
        result = await reconcile.COMMAND.run(context, given, Console(quiet=True))
        shown = io.StringIO()
        result.show(Console(file=shown, highlight=False, width=200))
        return result, shown.getvalue()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_equal_sides_are_well(world: World) -> None:
    result, text = await world.run()
    assert result.exit is Exit.OK
    assert [table for table, _ in world.asked] == ["account", "contact", "opportunity"], "parents first"
    assert "3,600 rows of account, contact, opportunity compared" in text
    assert "Both sides are equal." in text
    assert (world.sent, world.renewed) == ([], [])


async def test_differences_are_counted_named_and_not_sent(world: World) -> None:
    world.has(Kind.DIFFERING, "city", "fax", count=20)
    world.has(Kind.MISSING)
    world.has(Kind.DUPLICATE)
    result, text = await world.run("contact")
    assert result.exit is Exit.ATTENTION
    assert "20 with other values in Marketo" in text
    assert f"contact {guid(1)}: city, fax" in text
    assert "and 8 more; see --csv" in text
    assert "Marketo id 5, Marketo id 6" in text
    assert "contact.city 20" in text
    assert "Nothing was sent" in text
    assert (result.data["counts"]["differing"], result.data["sent"]) == (20, 0)
    assert result.data["fields"][0] == {"table": "contact", "field": "city", "count": 20}
    assert len(result.data["differences"]["differing"]) == 20
    assert not world.sent


async def test_apply_sends_each_row_once_and_no_duplicates(world: World) -> None:
    world.has(Kind.MISSING, table="opportunity", entity="opportunity")
    world.has(Kind.EXTRA, table="opportunity", entity="opportunity_role")
    world.has(Kind.DIFFERING, "city")
    world.differences.append(Difference("person", "contact", guid(3), Kind.LINKED_WRONGLY, ("externalCompanyId",)))
    result, text = await world.run("--apply")
    assert result.exit is Exit.OK
    assert sorted(world.sent) == [
        ("opportunity", "opportunity", guid(1)), ("opportunity_role", "opportunity", guid(2)),
        ("person", "contact", guid(3)),
    ]  # fmt: skip
    assert world.renewed == ["rows", "schema"]
    assert "3 records sent" in text
    world.has(Kind.DUPLICATE)
    world.sent.clear()
    result, text = await world.run("contact", "--apply")
    assert result.exit is Exit.ATTENTION
    assert world.sent == [("person", "contact", guid(3))]
    assert "merge them in Marketo" in text


async def test_many_are_sent_in_parts(world: World) -> None:
    world.has(Kind.MISSING, count=3100)
    result, _ = await world.run("contact", "--apply")
    assert (len(world.sent), result.data["sent"]) == (3100, 3100)
    assert len(result.data["differences"]["missing"]) == 1000


async def test_every_difference_is_a_line_of_csv(world: World, tmp_path: Path) -> None:
    world.has(Kind.DIFFERING, "city", "fax")
    world.has(Kind.DUPLICATE)
    await world.run("contact", "--csv", str(tmp_path / "found.csv"))
    assert (tmp_path / "found.csv").read_text().splitlines() == [
        "entity,table,id,kind,fields,marketo_ids",
        f"person,contact,{guid(1)},differing,city fax,",
        f"person,contact,{guid(2)},duplicate,,5 6",
    ]


async def test_it_is_refused_when_too_few_calls_are_left(world: World) -> None:
    world.rows, world.used = 298 * 100, 950
    with pytest.raises(MsiSyncError, match="need 100 Marketo calls, and 50 of the day are left"):
        await world.run("contact")
    assert not world.asked


async def test_a_query_needs_one_table(world: World) -> None:
    await world.run("contact", "--query", "statecode eq 0")
    assert world.asked == [("contact", "statecode eq 0")]
    with pytest.raises(SystemExit):
        await world.run("--query", "statecode eq 0")
    with pytest.raises(SystemExit):
        await world.run("lead")


async def test_persons_without_a_row_are_reported_and_not_sent(world: World) -> None:
    world.persons = (7, 900)
    world.gone = [Difference("person", "", guid(1), Kind.EXTRA, marketo_ids=(8,))]
    assert (await world.run("contact"))[0].exit is Exit.OK
    result, text = await world.run("contact", "--extra", "--apply")
    assert result.exit is Exit.ATTENTION
    assert f"person {guid(1)}: Marketo id 8" in text
    assert not world.sent


async def test_ids_that_need_too_many_calls_are_not_asked_for_and_the_rest_is_reported(world: World) -> None:
    world.persons = (1, 300_000)
    result, text = await world.run("contact", "--extra")
    assert result.exit is Exit.ATTENTION
    assert "300,000 ids need 1,000 Marketo calls, and 900 of the day are left" in text
    assert "1,200 rows of contact compared" in text
