"""Records that Marketo had lost: it says "created" of a row that is old, so somebody may have deleted its record there.

What refers to such a record has lost its link, and nobody says so: Marketo's documents leave open what becomes of a
link to a record that it does not have (marketo.md 3.4). The answer to the record's own upsert is a sign that costs
nothing. It is also there when an old row comes to Marketo for the first time, so only what Marketo has already is
linked again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.entities import ENTITIES, SALES_PERSON, TABLES, Entity
from ..model.outcome import Outcome, Synced
from ..model.record import Record
from .dependants import Dependants

log = logging.getLogger(__name__)

#: A row that is younger comes to Marketo for the first time.
OLD = timedelta(minutes=10)
#: Records of one invocation whose children are looked for: more are a first load, not a deletion by hand.
MOST = 50

Outcomes = list[tuple[Record, Outcome]]


def marked(entity: Entity, outcomes: Outcomes, created: Mapping[tuple[str, str], datetime], now: datetime) -> Outcomes:
    """The outcomes, with a mark on records that Marketo may have lost. `created`: when their rows were made, if known.

    Not of sales persons, whom Marketo does not delete while they are in use (marketo.md 4.1).
    """
    if entity is SALES_PERSON or not entity.is_parent:
        return outcomes
    lost = {
        record.key
        for record, outcome in outcomes
        if _is_creation(outcome) and not record.forced and now - created.get(record.key, now) > OLD
    }
    if len(lost) > MOST:
        log.info("created_anew entity=%s records=%d: a first load, nothing is linked again", entity.name, len(lost))
        return outcomes
    return [
        (record, replace(outcome, anew=record.key in lost)) if isinstance(outcome, Synced) else (record, outcome)
        for record, outcome in outcomes
    ]


def _is_creation(outcome: Outcome) -> bool:
    """Whether Marketo says that it did not have the record before."""
    return isinstance(outcome, Synced) and outcome.status == "created"


async def children_in_marketo(
    dependants: Dependants, marketo: MarketoClient, records: Sequence[Record]
) -> AsyncIterator[list[Record]]:
    """The children of these records that Marketo has, each once; roles, which have no key, all. One call per 300.

    Leads and contacts are asked for together, and a row that two columns lead to only once. Raises as DataverseClient
    and MarketoClient do.
    """
    seen: set[tuple[str, str]] = set()
    waiting: dict[str, list[Record]] = {}
    async for page in dependants.of([replace(record, filter_changed=True) for record in records]):
        for record in page:
            if record.key not in seen:
                seen.add(record.key)
                waiting.setdefault(TABLES[record.table][0].name, []).append(record)
        for name, found in waiting.items():
            while len(found) >= MAX_FILTER_VALUES:
                part, found[:] = found[:MAX_FILTER_VALUES], found[MAX_FILTER_VALUES:]
                yield await _there(marketo, name, part)
    for name, found in waiting.items():
        if found:
            yield await _there(marketo, name, found)


async def _there(marketo: MarketoClient, entity_name: str, records: list[Record]) -> list[Record]:
    """Those that Marketo has, as if released: that their parent was not there a moment ago does not count."""
    entity = ENTITIES[entity_name]
    there = await marketo.find(entity, sorted({r.id for r in records})) if entity.key else {r.id for r in records}
    return [replace(record, released=True) for record in records if record.id in there]
