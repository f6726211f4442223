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

from shared.dependants import Dependants
from shared.entities import ENTITIES, SALES_PERSON, TABLES, Entity
from shared.marketo.client import MAX_FILTER_VALUES, MarketoClient
from shared.outcomes import Outcome, Synced
from shared.records import Record
from shared.routing import chunked

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
    """The children of these records that Marketo has, by pages; roles, which have no key, all. One call per 300.

    Raises as DataverseClient and MarketoClient do.
    """
    async for page in dependants.of([replace(record, filter_changed=True) for record in records]):
        by_entity: dict[str, list[Record]] = {}
        for record in page:
            by_entity.setdefault(TABLES[record.table][0].name, []).append(record)
        for name, found in by_entity.items():
            entity = ENTITIES[name]
            for part in chunked(found, MAX_FILTER_VALUES):
                there = await marketo.find(entity, sorted({r.id for r in part})) if entity.key else {r.id for r in part}
                # As if released: that their parent was not there a moment ago does not count.
                yield [replace(record, released=True) for record in part if record.id in there]
