"""`msisync write-back run`: which run it asks for, what it prints, and what its exit code says."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from shared.cli import write_back
from shared.cli.command import Exit, Result
from shared.model.errors import MsiSyncError, StorageUnavailableError
from shared.write_back.results import Run
from tests.support.commands import typed

ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"


class Work:
    """A write-back that remembers what it was asked for."""

    def __init__(self, run: Run) -> None:
        self.asked: list[Any] = []
        self.answer = run
        self.is_alone = True
        self.away = False

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        if self.away:
            raise StorageUnavailableError("ServiceRequestError")
        yield self.is_alone

    async def changes(self) -> Run:
        self.asked.append("changes")
        return self.answer

    async def sweep(self, *, whole: bool) -> Run:
        self.asked.append(("sweep", whole))
        return self.answer

    async def people(self, ids: Sequence[str], mails: Sequence[str]) -> Run:
        self.asked.append((ids, mails))
        return self.answer


def a_run(**facts: Any) -> Run:
    return Run("changes", "2026-03-04T12:00:00.000Z", "2026-03-04T12:00:01.000Z", **facts)


async def run(monkeypatch: pytest.MonkeyPatch, work: Work, *words: str) -> tuple[Result, str]:
    monkeypatch.setattr(write_back, "_write_back", lambda *_: work)
    return await typed(SimpleNamespace(), "write-back", "run", *words)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], "changes"),
        (["--sweep"], ("sweep", True)),
        (["--person", f"{{{ID.upper()}}}", "jane@contoso.example"], ([ID], ["jane@contoso.example"])),
    ],
)
async def test_the_options_choose_the_run(monkeypatch: pytest.MonkeyPatch, words: list[str], asked: Any) -> None:
    work = Work(a_run(complete=True))
    result, _ = await run(monkeypatch, work, *words)
    assert work.asked == [asked]
    assert result.exit == Exit.OK


async def test_every_refused_row_is_listed_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    done = a_run(read=1000, differing=1000, written=988, complete=True)
    for number in range(12):
        done.refuse("contact", f"row {number}", "0x80040265", "a plug-in [says] no")
    result, text = await run(monkeypatch, Work(done))
    assert result.exit == Exit.ATTENTION
    (data,) = result.data["runs"]
    assert (data["written"], data["failed"], len(data["failures"])) == (988, 12, 12)
    assert data["failures"][0] == {
        "table": "contact", "id": "row 0", "code": "0x80040265", "message": "a plug-in [says] no",
    }  # fmt: skip
    assert "contact row 0: 0x80040265 a plug-in [says] no" in text
    assert "and 2 more" in text


@pytest.mark.parametrize(
    ("facts", "code"), [({"error": "603: no"}, Exit.FAILED), ({"unfit": 1}, Exit.ATTENTION), ({}, Exit.OK)]
)
async def test_the_exit_code_tells_it(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], code: Exit) -> None:
    result, text = await run(monkeypatch, Work(a_run(**facts)), "--dry-run")
    assert result.exit == code
    assert "Nothing was written" in text
    assert str(facts.get("error", "")) in text
    assert ("if it lasts, msisync doctor" in text) == ("error" in facts)


async def test_a_second_run_and_a_storage_that_is_away_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(a_run())
    work.is_alone = False
    with pytest.raises(MsiSyncError, match="WriteBackRuns"):
        await run(monkeypatch, work)
    work.away = True
    with pytest.raises(MsiSyncError, match="StorageAway"):
        await run(monkeypatch, work)
    assert not work.asked


@pytest.mark.parametrize("words", [("--sweep", "--person", ID), ("--person", f"{ID},{ID}")])
async def test_everybody_and_somebody_exclude_each_other_and_persons_have_no_commas(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    work = Work(a_run())
    with pytest.raises(SystemExit) as ended:
        await run(monkeypatch, work, *words)
    assert ended.value.code == Exit.USAGE
    assert not work.asked
