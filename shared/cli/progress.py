"""How far a command has come: a bar for people who wait, and what is said when somebody stops the command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich import console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .output import Console


@dataclass(slots=True)
class Steps:
    """`count` of `total` are done; a total of None: nobody knows how many there are. `what`: `sent again`."""

    what: str
    total: int | None = None
    count: int = 0

    def __str__(self) -> str:
        return f"{self.count:,} of {self.total:,} {self.what}" if self.total else f"{self.count:,} {self.what}"


def steps(on: console.Console, what: str, total: int | None = None) -> Steps:
    """Counts what a command does step by step: the command raises `count`."""
    counted = Steps(what, total)
    if isinstance(on, Console):
        on.steps.append(counted)
    return counted


def progress_bar(on: console.Console) -> Progress:
    """How much is done, and how long the rest will take; gone when all is.

    The field `done` of a task says what its steps are, for those who stop the command; else its description does. With
    an empty one the task is not told: `steps` are counted beside it.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=on, transient=True)
    if isinstance(on, Console):
        on.steps.append(bar)
    return bar


def so_far(on: Console) -> Iterator[Steps]:
    """What has been done by now, in the order in which it was begun."""
    for each in on.steps:
        if isinstance(each, Steps):
            yield each
        elif isinstance(each, Progress):
            for task in each.tasks:
                if what := task.fields.get("done", task.description):
                    total = None if task.total is None else int(task.total)
                    yield Steps(str(what), total, int(task.completed))
