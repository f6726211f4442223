"""What a run is, in which order its tables go, and which commands it takes in which state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.azure.shared_state import dumped, parsed
from shared.sync.runs.model import FINAL, Run, RunKind, RunRefusedError, RunState, Scope, new_run
from tests.support.values import NOON

LATER = NOON + timedelta(hours=1)


def a_run(*tables: str, **scope: object) -> Run:
    return new_run(RunKind.INITIAL_SYNC, Scope(tables or ("contact",), **scope), NOON, unique="abcdef")  # type: ignore[arg-type]


def test_parents_come_first() -> None:
    run = a_run("connection", "contact", "opportunity", "systemuser", "account", "lead")
    assert run.in_order == ["systemuser", "account", "contact", "lead", "opportunity", "connection"]


def test_ids_sort_by_the_time_of_the_start() -> None:
    later = new_run(RunKind.INITIAL_SYNC, Scope(("lead",)), LATER, unique="0000")
    assert a_run().id < later.id


@pytest.mark.parametrize("tables", [(), ("contact", "contact"), ("contact", "invoice")])
def test_a_scope_without_sense_is_refused(tables: tuple[str, ...]) -> None:
    with pytest.raises(RunRefusedError):
        new_run(RunKind.INITIAL_SYNC, Scope(tables), NOON, unique="abcd")


@pytest.mark.parametrize("state", [RunState.PAUSED, *sorted(FINAL)])
def test_the_same_command_twice_changes_nothing(state: RunState) -> None:
    once = a_run().to(state, NOON)
    assert once.to(state, LATER) == once


def test_a_paused_run_goes_on_or_ends() -> None:
    paused = a_run().to(RunState.PAUSED, NOON)
    assert paused.to(RunState.RUNNING, LATER).state is RunState.RUNNING
    cancelled = paused.to(RunState.CANCELLED, LATER, "it was the wrong filter")
    assert (cancelled.ended_at, cancelled.reason) == (LATER, "it was the wrong filter")


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize("wanted", [RunState.RUNNING, RunState.PAUSED])
def test_what_is_over_stays_over(state: RunState, wanted: RunState) -> None:
    with pytest.raises(RunRefusedError, match=state):
        a_run().to(state, NOON).to(wanted, LATER)


def test_a_run_survives_its_row() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    run = a_run("contact", "lead", filter="statecode eq 0", changed_since=since, fields=("title",))
    run = run.table("lead", since="2026-02-03T04:05:06Z", link="/api?cookie", pages=3, rows=700, all_read=True)
    failed = replace(run.to(RunState.FAILED, NOON, "a reason"), etag="W/1")
    for each in (run, failed):
        row = dumped(each)
        assert parsed(Run, row) == each
        assert "etag" not in row, "storage has it"
