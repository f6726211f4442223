"""What a page of the console is, and what an action on it: values that app.py serves, without any HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..context import Context
from ..status.facts import Status
from .jobs import Jobs, Work
from .latest import Latest, Looks
from .security import Form, Operator

#: The field of a form that holds the title of the plan that its sender has agreed to.
AGREED = "agreed"


@dataclass(frozen=True, slots=True)
class Visit:
    """A request: what was asked (the query of an address, or the fields of a form), by whom, and what answers it."""

    asked: Form
    operator: Operator
    context: Context
    status: Latest[Status]
    looks: Looks
    jobs: Jobs

    @property
    def agrees(self) -> bool:
        """Whether its sender agrees to a plan, which is made once more now."""
        return AGREED in self.asked

    def word(self, name: str) -> str:
        """What was asked under a name, without spaces around it; empty when nothing was."""
        return str(self.asked.get(name, "")).strip()


@dataclass(frozen=True, slots=True)
class View:
    """A template of templates/, and what it shows."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Download:
    """A file for the browser to save, made while it is sent: its name, its media type and its text, part by part."""

    name: str
    media_type: str
    parts: AsyncIterator[str]


Show = Callable[[Visit], Awaitable[View | Download]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an action would do, for the page that asks before it is done.

    `title` names it with the exact count ("Replay 12 dead letters"): it is the heading, the button and the entry of the
    journal. `do` does that as a job, with what the plan has found. `keep`: the fields that the form sends on, such as
    the selection. `nothing`: why there is nothing to do; with `is_looking`, because what it is about is still being
    read: its page asks again until it is known. `back`: the page that is gone back to, if it is not the action's.
    """

    title: str
    do: Work | None = None
    details: Sequence[str] = ()
    keep: Sequence[tuple[str, str]] = ()
    is_grave: bool = False
    nothing: str = ""
    back: str = ""
    is_looking: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What operators may do. GET `path` shows `plan` and asks; POST `path` plans again and does that, as a job.

    `back`: the page that the action belongs to.
    """

    path: str
    back: str
    plan: Callable[[Visit], Awaitable[Plan]]


@dataclass(frozen=True, slots=True)
class Lead:
    """A link of the console that does what a remedy names as a command."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page in the navigation. `badge`: a number beside its title. `lead`: its link for a remedy, if it has one.

    `files`: addresses at which a browser gets a file; links to them have the attribute `download`.
    """

    path: str
    title: str
    show: Show
    actions: Sequence[Action] = ()
    files: Sequence[tuple[str, Show]] = ()
    badge: Callable[[Status], int] = lambda _: 0
    lead: Callable[[str], Lead | None] = lambda _: None


def leads(lead: Lead, *commands: str) -> Callable[[str], Lead | None]:
    """For `Page.lead`: this link stands for these commands."""
    return lambda remedy: lead if any(command in remedy for command in commands) else None
