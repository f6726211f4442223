"""What the simulator has seen, for tests and benchmarks."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any


class Stats:
    """Calls by endpoint, verb and result; records by object and outcome; errors by day."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._records: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[tuple[date, str]] = Counter()
        self.identity_calls = 0
        self._writing: Counter[str] = Counter()
        #: By object: the most upserts that executed at the same time.
        self.peak_writes: dict[str, int] = {}
        #: By object, then by key (the parts of a compound one joined by "|"): when the record was first stored.
        self.first_stored: dict[str, dict[str, float]] = {}

    def call(self, day: date, verb: str, path: str, result: str) -> None:
        """Count one call. `result` is "ok", a Marketo code, or "http" and a status, or what the network did."""
        self._calls[path, verb, result] += 1
        if result != "ok":
            self._errors[day, result] += 1

    def records(self, kind: str, outcomes: Counter[str]) -> None:
        """Count what became of the records of one write; "received" counts them all."""
        for outcome, count in outcomes.items():
            self._records[kind, outcome] += count

    @contextmanager
    def writing(self, kind: str) -> Iterator[None]:
        """Count an upsert as executing."""
        self._writing[kind] += 1
        self.peak_writes[kind] = max(self.peak_writes.get(kind, 0), self._writing[kind])
        try:
            yield
        finally:
            self._writing[kind] -= 1

    def stored(self, kind: str, keys: Iterable[str], at: float) -> None:
        """Note when records were created, in seconds since the epoch."""
        times = self.first_stored.setdefault(kind, {})
        for key in keys:
            times.setdefault(key, at)

    def errors_by_day(self) -> dict[date, dict[str, int]]:
        """Return the errors of each day by code, oldest day first."""
        found: dict[date, dict[str, int]] = {}
        for (day, code), count in sorted(self._errors.items()):
            found.setdefault(day, {})[code] = count
        return found

    def reset(self) -> None:
        """Start counting anew."""
        for counter in (self._calls, self._records, self._errors):
            counter.clear()
        self.identity_calls = 0
        self.peak_writes.clear()
        self.first_stored.clear()

    def as_json(self) -> dict[str, Any]:
        """Return all counters, nested by endpoint, verb and result, and by object and outcome."""
        calls: dict[str, dict[str, dict[str, int]]] = {}
        for (path, verb, result), count in sorted(self._calls.items()):
            calls.setdefault(path, {}).setdefault(verb, {})[result] = count
        records: dict[str, dict[str, int]] = {}
        for (kind, outcome), count in sorted(self._records.items()):
            records.setdefault(kind, {})[outcome] = count
        total = sum(self._calls.values())
        return {
            "calls": calls,
            "calls_total": total,
            "identity_calls": self.identity_calls,
            "records": records,
            "peak_writes": self.peak_writes,
        }
