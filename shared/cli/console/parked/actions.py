"""Sending parked records on: those of some parents, or one, as `msisync resync --all-parked` does with all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ....azure.parked_rows import Parked
from ....model.entities import TABLES
from ....model.ids_and_times import as_guid
from ...context import not_told, renew
from ...finding import Finding, attention, counted, ok
from ...resync import released
from ..jobs import Job
from ..page import Action, Plan, Visit
from .census import Census, Waits, latest
from .filters import PATH, Filter, filter_of

#: Parents that are named before they are released.
NAMED = 8
_COUNTING = "The parked records are being counted …"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is meant: all that waits for these parents, or, of one of them, one row (`table`, `id`).

    `until`: what was parked later is not meant.
    """

    parents: list[Waits]
    filter: Filter
    until: datetime
    table: str = ""
    id: str = ""

    @property
    def count(self) -> int:
        """How many records."""
        return len(self.parents) if self.id else sum(waits.count for waits in self.parents)

    @property
    def keep(self) -> list[tuple[str, str]]:
        """What a form sends on to mean the same."""
        return [*self.filter.words.items(), *([("table", self.table), ("id", self.id)] if self.id else [])]

    def means(self, child: Parked) -> bool:
        """Whether this record is meant."""
        since = child.record.parked_since
        return child.record.key == (self.table, self.id) if self.id else since is None or since <= self.until


def _chosen(visit: Visit, census: Census) -> Chosen:
    filter_ = filter_of(visit.asked)
    table, id_ = visit.word("table"), as_guid(visit.word("id"))
    one = (table, id_) if table in TABLES and id_ else ("", "")
    parents = filter_.of(census.parents)
    if visit.word("id") and (not one[1] or len(parents) != 1):
        parents = []
    return Chosen(parents, filter_, census.newest, *one)


async def _plan(visit: Visit) -> Plan:
    census = await latest(visit).now()
    if census is None:
        return Plan("Release parked records", nothing=_COUNTING, is_looking=True)
    meant = _chosen(visit, census)
    nothing = "" if meant.count else meant.filter.wrong or "Nothing waits there any more."
    return Plan(
        f"Release {counted(meant.count, 'parked record')}",
        partial(_release, visit, meant),
        list(_details(meant)),
        meant.keep,
        nothing=nothing,
        back=meant.filter.address(),
    )


def _details(meant: Chosen) -> Iterator[str]:
    if meant.id:
        yield f"{meant.table} {meant.id}"
    else:
        for waits in meant.parents[:NAMED]:
            yield f"{waits.count:,} of {waits.table or waits.entity} {waits.id}"
        if (more := len(meant.parents) - NAMED) > 0:
            yield f"and those of {counted(more, 'other parent')}"
    yield "They are read again and sent, whether or not they have changed."
    yield "Those whose parent is still missing are parked again."


async def _release(visit: Visit, meant: Chosen, job: Job) -> Finding:
    job.advance(0, meant.count)
    by_entity: dict[str, set[str]] = {}
    for waits in meant.parents:
        by_entity.setdefault(waits.entity, set()).add(waits.id)
    why_not = await renew(visit.context, "rows", "schema")
    try:
        for entity, ids in by_entity.items():
            async for page in released(visit.context, entity, ids, meant.means):
                job.advance(job.done + len(page))
                for child in page:
                    table, id_ = child.record.key
                    job.say(f"{table} {id_}: sent", link=f"/records?q={id_}")
            _gone(meant, entity)
    finally:
        latest(visit).outdate()
    text = f"{job.done:,} of {counted(meant.count, 'parked record')} sent on"
    if why_not:
        return attention(f"{text}. {not_told(why_not)}", "")
    return ok(text) if job.done == meant.count else attention(f"{text}; the others had gone, or were parked anew", "")


def _gone(meant: Chosen, entity: str) -> None:
    """The page is not to show what is not there, until they are counted again."""
    for waits in meant.parents:
        if waits.entity == entity and not meant.id:
            waits.is_gone = True


RELEASE = Action(f"{PATH}/release", PATH, _plan)
