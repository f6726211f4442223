"""Faults that a test queues: what Marketo, its gateway or the network may do to a call (marketo.md 3)."""

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from local.marketo.errors import CallError, RecordError

CALL_KINDS = ("status", "code", "reset", "hang", "malformed")
RECORD_KINDS = ("record", "poison")


@dataclass
class Fault:
    """One fault and where it strikes.

    kind: `status` (HTTP status), `code` (response-level error), `reset` (connection closed without an answer),
    `hang` (answer held back for `seconds`), `malformed` (HTTP 200 that is not JSON), `record` (a record is skipped with
    `code`), `poison` (a record that makes the whole call fail, with 611 unless `code` says otherwise).
    path, verb: the calls it strikes; `path` may hold wildcards, `verb` is the real or the _method one.
    when: whether the call was carried out `before` the fault strikes (`after`) or not (`before`).
    count: how often it strikes, None for ever.
    field, value: the records that a record or poison fault strikes; without `field` every one.
    """

    kind: str
    path: str = "*"
    verb: str = "*"
    when: str = "before"
    count: int | None = 1
    status: int = 503
    code: str = "611"
    message: str | None = None
    seconds: float = 3600.0
    field: str | None = None
    value: Any = None

    def __post_init__(self) -> None:
        if self.kind not in CALL_KINDS + RECORD_KINDS:
            raise ValueError(f"kind is one of {', '.join(CALL_KINDS + RECORD_KINDS)}, not {self.kind!r}")
        if self.when not in {"before", "after"}:
            raise ValueError(f"when is before or after, not {self.when!r}")

    def strikes(self, verb: str, path: str) -> bool:
        """Say whether calls of this verb and path are meant."""
        return fnmatchcase(path, self.path) and fnmatchcase(verb, self.verb)

    def strikes_record(self, record: dict[str, Any]) -> bool:
        """Say whether this record is meant."""
        return self.field is None or record.get(self.field) == self.value


class Faults:
    """The queue of faults, oldest first."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, entries: list[dict[str, Any]]) -> None:
        """Queue faults; raises ValueError or TypeError for one that makes no sense."""
        self._queue += [Fault(**entry) for entry in entries]

    def clear(self) -> None:
        """Drop all faults."""
        self._queue.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Return the faults that may still strike."""
        return [asdict(fault) for fault in self._queue]

    def take(self, verb: str, path: str) -> Fault | None:
        """Return the fault that strikes this call as a whole, and count it."""
        fault = next((f for f in self._queue if f.kind in CALL_KINDS and f.strikes(verb, path)), None)
        if fault is not None:
            self._struck(fault)
        return fault

    def check_record(self, verb: str, path: str, record: dict[str, Any]) -> None:
        """Let record faults strike.

        Raises:
            CallError: the record is poison for the whole call.
            RecordError: only this record is refused.
        """
        for fault in self._queue:
            if fault.kind in RECORD_KINDS and fault.strikes(verb, path) and fault.strikes_record(record):
                self._struck(fault)
                raise (CallError if fault.kind == "poison" else RecordError)(fault.code, fault.message)

    @property
    def any_for_records(self) -> bool:
        """Say whether any fault is about single records."""
        return any(fault.kind in RECORD_KINDS for fault in self._queue)

    def _struck(self, fault: Fault) -> None:
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self._queue.remove(fault)
