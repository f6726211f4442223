"""What happens in a soak, and when: drawn from a seed, so that a run can be had again. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from local.world.model import Reference, Row, World, lookup

#: How often each kind of event comes, against the others. Edits are the work; the rest is what stands in its way.
WEIGHTS = {
    "edit": 60,
    "move": 16,
    "storm": 3,
    "repeat": 6,
    "kill": 6,
    "marketo": 8,
    "dataverse": 4,
    "storage": 1,
    "broker": 2,
    "clock": 1,
}
MEAN_PAUSE_SECONDS = 0.8
EDITED_AT_ONCE = 12
STORM_EDITS = 60
#: Faults of Marketo (emulators/marketo/faults.py). `after`: the call was carried out, its answer is lost.
MARKETO_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 502, "count": 2},
    {"kind": "status", "status": 503, "when": "after", "verb": "POST", "path": "/rest/v1/*.json"},
    {"kind": "code", "code": "606"},
    {"kind": "code", "code": "615", "count": 3},
    {"kind": "code", "code": "602"},
    {"kind": "code", "code": "611", "count": 2},
    {"kind": "code", "code": "604", "when": "after", "verb": "POST"},
    {"kind": "reset", "count": 2},
    {"kind": "reset", "when": "after", "verb": "POST"},
    {"kind": "malformed", "when": "after", "verb": "POST"},
    {"kind": "hang", "seconds": 1.5, "when": "after", "verb": "POST"},
)
#: Faults of Dataverse (emulators/dataverse/environment.py).
DATAVERSE_FAULTS: tuple[dict[str, Any], ...] = (
    {"match": "/(accounts|contacts|leads|systemusers)", "status": 429, "code": "0x80072322", "retry_after": 1},
    {"match": "/(accounts|contacts|leads|opportunities)", "status": 503, "times": 3},
    {"match": "/(accounts|contacts|leads)", "status": "reset", "times": 3},
)
BROKER_FAULTS = ("drop-connections", "lose-locks", "lose-settlement")
#: What an instance's clock may be off by: a bit, and more than an hour ahead.
CLOCK_STEPS = (-40.0, 90.0, 2 * 3600.0)
#: The columns that edits change, by table: with new texts, so that the last one is known.
EDITED = {
    "systemuser": ("firstname",),
    "account": ("telephone1", "address1_city"),
    "contact": ("jobtitle", "donotphone", "telephone1"),
    "lead": ("jobtitle", "donotphone", "telephone1"),
    "opportunity": ("name",),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event: at which second of the run, of which kind, and which rows or fault it is about."""

    at: float
    kind: str
    rows: tuple[Reference, ...] = ()
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Written:
    """A row after an event, and the columns that the event wrote, by their logical names."""

    row: Row
    columns: tuple[str, ...]


@dataclass
class Plan:
    """The events of a run; `world` is what the organisation is like when all of them have happened."""

    seed: int
    world: World
    events: list[Event] = field(default_factory=list)
    contents: list[dict[Reference, Written]] = field(default_factory=list)


def plan(seed: int, world: World, *, seconds: float, functions: Sequence[str]) -> Plan:
    """Draw the events of so many seconds. `functions` are those whose process may be killed.

    `contents[n]` are the rows as they are after the n-th event, those that it changes.
    """
    chance = random.Random(seed)  # noqa: S311  (events, the same in every run of a seed)
    found = Plan(seed, world)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    at = 0.0
    while (at := at + chance.expovariate(1 / MEAN_PAUSE_SECONDS)) < seconds:
        [kind] = chance.choices(kinds, weights)
        event, content = _event(chance, world, at, kind, functions)
        found.events.append(event)
        found.contents.append(content)
    return found


def _event(
    chance: random.Random, world: World, at: float, kind: str, functions: Sequence[str]
) -> tuple[Event, dict[Reference, Written]]:
    faults: dict[str, Sequence[Any]] = {
        "kill": functions,
        "marketo": MARKETO_FAULTS,
        "dataverse": DATAVERSE_FAULTS,
        "broker": BROKER_FAULTS,
        "clock": CLOCK_STEPS,
        "storage": (round(chance.uniform(1.0, 4.0), 1),),
    }
    if kind in faults:
        return Event(at, kind, detail=chance.choice(faults[kind])), {}
    chosen = {_one(chance, world) for _ in range(1 if kind == "storm" else chance.randint(1, EDITED_AT_ONCE))}
    written: dict[Reference, Written] = {}
    for reference in sorted(chosen):
        if kind == "move":
            columns = _move(chance, world, reference)
        else:
            columns = () if kind == "repeat" else _edit(chance, world, reference, at)
        if columns or kind == "repeat":
            written[reference] = Written(dict(world.rows[reference[0]][reference[1]]), columns)
    return Event(at, kind, tuple(written), STORM_EDITS if kind == "storm" else 1), written


def _one(chance: random.Random, world: World) -> Reference:
    table = chance.choices(list(EDITED), (1, 3, 10, 10, 4))[0]
    return table, chance.choice(list(world.rows[table]))


def _edit(chance: random.Random, world: World, reference: Reference, at: float) -> tuple[str, ...]:
    table, id_ = reference
    column = chance.choice(EDITED[table])
    row = world.rows[table][id_]
    row[column] = not row.get(column) if column.startswith("donot") else f"{column} at {at:.2f}"
    return (column,)


def _move(chance: random.Random, world: World, reference: Reference) -> tuple[str, ...]:
    """Give a row to another owner, or a person or deal to another account. Gives the column; none: it cannot move."""
    table, id_ = reference
    row = world.rows[table].get(id_, {})
    if table == "systemuser":
        return ()
    if table == "account" or chance.random() < 0.5:
        owner = chance.choice(list(world.rows["systemuser"]))
        row.update(lookup("ownerid", "systemuser", owner))
        row.update({**lookup("owninguser", "systemuser", owner), **lookup("owningteam", "team", None)})
        return ("ownerid",)
    column = {"contact": "parentcustomerid", "lead": "parentaccountid", "opportunity": "customerid"}[table]
    # A person without a company may get one; one who has a company cannot leave it in Marketo, only move.
    row.update(lookup(column, "account", chance.choice(list(world.rows["account"]))))
    return (column,)
