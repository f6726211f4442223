"""What a run looks like from Marketo: which calls came, and when each record was stored. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.world.expectations import Expectations, Expected
from local.world.model import MARKETO_OBJECTS, Reference

Stored = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Calls:
    """REST calls by kind (upsert, find, describe, other) and object, refused ones included; identity apart."""

    by_kind: dict[str, dict[str, int]]
    refused: dict[str, int]
    identity: int
    in_20_seconds: int
    at_once: int

    def of(self, kind: str) -> int:
        """Calls of one kind."""
        return sum(self.by_kind.get(kind, {}).values())

    @property
    def total(self) -> int:
        """Calls of all kinds."""
        return sum(map(self.of, self.by_kind))


def calls_of(stats: Mapping[str, Any]) -> Calls:
    """Sort the simulator's counters of calls: `{path: {verb: {result: count}}}`."""
    by_kind: dict[str, Counter[str]] = {}
    refused: Counter[str] = Counter()
    for path, verbs in stats["calls"].items():
        name = path.removeprefix("/rest/v1/").removesuffix(".json")
        for verb, results in verbs.items():
            entry = by_kind.setdefault(_kind(name, verb), Counter())
            entry[name.partition("/describe")[0]] += sum(results.values())
            refused.update({code: count for code, count in results.items() if code != "ok"})
    return Calls(
        by_kind={kind: dict(counts) for kind, counts in by_kind.items()},
        refused=dict(refused),
        identity=stats["identity_calls"],
        in_20_seconds=stats["max_calls_in_20s"],
        at_once=stats["peak_concurrency"],
    )


def _kind(name: str, verb: str) -> str:
    if "/describe" in name:
        return "describe"
    return {"POST": "upsert", "GET": "find"}.get(verb, "other")


def upserts(stored: Stored, first: float) -> list[tuple[float, str, int]]:
    """Every call that created records: seconds after `first`, entity, records created. All of a call have one time."""
    entities = {name: entity for entity, name in MARKETO_OBJECTS.items()}
    calls = Counter((at, entities[name]) for name, times in stored.items() for at in times.values())
    return sorted((round(at - first, 3), entity, count) for (at, entity), count in calls.items())


def latencies(
    expectations: Expectations, stored: Stored, persons: Mapping[str, str], enqueued: Mapping[Reference, float]
) -> dict[str, list[float]]:
    """Seconds from the first change of a record's rows to its being stored, by entity.

    `persons` are the external keys of leads by their Marketo id. A parent that a child asked for before its own change
    was posted took no time.
    """
    roles = {role_key(key, persons): at for key, at in stored.get("roles", {}).items()}
    found: dict[str, list[float]] = {}
    for entity, records in expectations.records.items():
        times: Mapping[Any, float] = roles if entity == "opportunity_role" else stored.get(MARKETO_OBJECTS[entity], {})
        found[entity] = [
            max(0.0, times[key] - posted_at(record, enqueued))
            for key, record in records.items()
            if key in times and record.sources
        ]
    return found


def posted_at(record: Expected, enqueued: Mapping[Reference, float]) -> float:
    """When the first of the record's rows was posted."""
    return min(enqueued[source] for source in record.sources)


def role_key(stored: str, persons: Mapping[str, str]) -> tuple[str, str, str]:
    """(opportunity, person, role) of a role that Marketo stores as `opportunity|Marketo id of the lead|role`."""
    opportunity, lead, role = stored.split("|", 2)
    return opportunity, persons.get(lead, lead), role
