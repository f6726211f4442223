"""A page of a run: up to 300 rows of one table, and what has become of each. Pure.

A record's state only ever moves up in one order, `RANKS`. So the same news twice, or in another order, changes nothing,
and nothing is counted: the numbers of a run are always those of the states in its pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated
from zlib import compress, decompress

from pydantic import Field

from ...azure.shared_state import adapter_of
from ...model.entities import TABLES
from ...model.outcome import Deferred, Failed, Outcome, Removed, Retry, Skipped, Synced
from ...model.safe_text import redacted
from ..comparison import Difference
from ..routing import chunked
from ..settlement import REPEATED

#: Records of a page: a full call of Marketo.
PAGE = 300
#: Longest text that a page keeps of a code.
MESSAGE_LENGTH = 200
#: Bytes of a new page: a column takes 64 KiB (a limit of Table Storage), and the words of failures are still to come.
MOST_BYTES = 60_000

#: Not in its queue yet; there, or about to be; to be tried again; parked until its parent comes.
UNSENT, OPEN, RETRYING, PARKED = "unsent", "open", "retrying", "parked"
#: States of a record that the run still has to do with.
UNFINISHED = (UNSENT, OPEN, RETRYING, PARKED)
#: What has not become of a record: before its code, and before its reason.
FAILED, SKIPPED = "failed", "skipped"
#: Both sides differ, and nothing is sent: before the kinds of shared/sync/comparison.py.
DIFFERS = "differs"
#: Marketo has it.
UNCHANGED, UPDATED, ADOPTED, CREATED = "unchanged", "updated", "adopted", "created"
IN_MARKETO = (UNCHANGED, UPDATED, ADOPTED, CREATED)
#: The one order of states. A record that came once more is what the run has made of it: "created", not "updated"; and
#: in Marketo, whatever a later try said.
RANKS = {state: rank for rank, state in enumerate((*UNFINISHED, DIFFERS, FAILED, SKIPPED, *IN_MARKETO))}

#: What Marketo, or the sync, says of a record that is there.
_OF_STATUS = {"created": CREATED, "updated": UPDATED, "adopted": ADOPTED}


def state_of(outcome: Outcome) -> str | None:
    """What an outcome makes of a record; None: nothing new, because it comes again in a moment."""
    match outcome:
        case Synced():
            return _OF_STATUS.get(outcome.status, UNCHANGED)
        case Failed():
            return f"{FAILED}:{outcome.code}"
        case Skipped() if outcome == REPEATED:
            return f"{FAILED}:{outcome.reason}"
        case Skipped() | Removed():
            return f"{SKIPPED}:{outcome.reason}"
        case Deferred() | Retry():
            return PARKED if isinstance(outcome, Deferred) else RETRYING
        case _:
            return None


def message_of(outcome: Outcome) -> tuple[str, str] | None:
    """(code, text) of a failure, as the page keeps it for the report."""
    if not isinstance(outcome, Failed):
        return None
    return outcome.code, redacted(outcome.message)[:MESSAGE_LENGTH]


def _rank(state: str) -> tuple[int, str]:
    return RANKS[state.partition(":")[0]], state


@dataclass(frozen=True, slots=True)
class Page:
    """`states` of records by id. When nothing is left to do, those in Marketo are taken out, and only `folded`, the
    number by state, tells of them. `messages`: one text for each code of a failure. `sent_at`: when the records that
    are open were sent last, the `sends`-th time. `found`: how records differ, by id, as a comparison has found.
    """

    run: str
    table: str
    number: int
    states: dict[str, str]
    folded: dict[str, int] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    sent_at: datetime | None = None
    sends: int = 0
    found: dict[str, tuple[Difference, ...]] = field(default_factory=dict)
    etag: Annotated[str, Field(exclude=True)] = field(default="", compare=False)

    @property
    def mark(self) -> str:
        """What its records carry: whose they are."""
        return f"{self.run}/{self.table}/{self.number}"

    @property
    def counts(self) -> Counter[str]:
        """How many of its records are in each state."""
        return Counter(self.states.values()) + Counter(self.folded)

    @property
    def is_closed(self) -> bool:
        """Whether the run has nothing left to do with it."""
        return not any(state in UNFINISHED for state in self.states.values())

    def message(self, state: str) -> str:
        """Marketo's or our own words for a state; empty: there are none."""
        return self.messages.get(state.partition(":")[2], "")

    def ids(self, state: str) -> list[str]:
        """The records in this state."""
        return [id_ for id_, found in self.states.items() if found == state]

    def entity_of(self, id_: str) -> str:
        """Whose queue a record goes to: an opportunity of which only roles differ is sent as a record of its roles."""
        own, found = TABLES[self.table][0].name, {each.entity for each in self.found.get(id_, ())}
        return own if own in found or not found else found.pop()

    def told(self, news: Mapping[str, str], messages: Mapping[str, str] | None = None) -> Page:
        """The page after these states by id; what it does not know is ignored, as it is of records that are done."""
        states = dict(self.states)
        for id_, state in news.items():
            if id_ in states:
                states[id_] = max(states[id_], state, key=_rank)
        kept = {**self.messages, **(messages or {})}
        codes = {state.partition(":")[2] for state in states.values() if state.startswith(FAILED)}
        page = replace(self, states=states, messages={code: text for code, text in kept.items() if code in codes})
        return page._fold() if page.is_closed else page

    def sent(self, now: datetime) -> Page:
        """The page after its records that wait for it have been sent to the queue."""
        page = self.told(dict.fromkeys(self.ids(UNSENT), OPEN))
        return replace(page, sent_at=now, sends=self.sends + 1)

    def _fold(self) -> Page:
        done = {id_: state for id_, state in self.states.items() if state in IN_MARKETO and id_ not in self.found}
        left = {id_: state for id_, state in self.states.items() if id_ not in done}
        return replace(self, states=left, folded=dict(Counter(self.folded) + Counter(done.values())))


def pages_of(run: str, table: str, first: int, ids: Sequence[str]) -> list[Page]:
    """Pages of these rows, none of which is sent yet, numbered from `first` on."""
    parts = chunked(list(dict.fromkeys(ids)), PAGE)
    return [Page(run, table, number, dict.fromkeys(part, UNSENT)) for number, part in enumerate(parts, first)]


def pages_compared(
    run: str, table: str, first: int, states: Mapping[str, str], found: Mapping[str, Sequence[Difference]]
) -> list[Page]:
    """Pages of rows that were compared, numbered from `first` on. Each page fits into one column."""
    pages: list[Page] = []
    parts = chunked(list(states), PAGE)
    while parts:
        ids = parts.pop(0)
        of_part = {id_: tuple(found[id_]) for id_ in ids if id_ in found}
        page = Page(run, table, first + len(pages), {id_: states[id_] for id_ in ids}, found=of_part)
        if len(ids) > 1 and len(as_bytes(page)) > MOST_BYTES:
            parts[:0] = chunked(ids, (len(ids) + 1) // 2)
        else:
            pages.append(page.told({}))
    return pages


def parse_mark(mark: str) -> tuple[str, str, int] | None:
    """(run, table, number) of a record's mark; None for what is none."""
    run, _, rest = mark.partition("/")
    table, _, number = rest.partition("/")
    return (run, table, int(number)) if run and table and number.isdecimal() else None


def as_bytes(page: Page) -> bytes:
    """A page as its row has it."""
    return compress(adapter_of(Page).dump_json(page))


def from_bytes(data: bytes, etag: str = "") -> Page:
    """The page of `as_bytes`."""
    found: Page = adapter_of(Page).validate_json(decompress(data))
    return replace(found, etag=etag)
