"""Faults that a test queues: what Marketo, its gateway or the network may do to a call."""

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from emulators.marketo.errors import CallError, HttpError, RecordError

CALL_KINDS = ("status", "code", "reset", "hang", "malformed", "answer")
RECORD_KINDS = ("record", "poison")
KINDS = (*CALL_KINDS, "hold", *RECORD_KINDS)


@dataclass
class Fault:
    """One fault and where it strikes.

    kind: `status` (HTTP status), `code` (response-level error), `reset` (connection closed without an answer),
    `hang` (answer held back for `seconds`), `malformed` (HTTP 200 that is not JSON), `answer` (an answer that is not as
    documented), `hold` (the call stays at the gate named until a test opens it), `record` (a record is skipped with
    `code`), `poison` (a record that makes the whole call fail, with 611 unless `code` says otherwise, or with the HTTP
    `status` if one is given).
    path, verb: the calls it strikes; `path` may hold wildcards, `verb` is the real or the _method one.
    contains: only calls whose body, or records of which a value (that of `field`, if given), contains this text.
    when: the call is not carried out (`before`), it has been (`after`), or it has started (`during`): then the answer
    is lost at once and Marketo carries the call out all the same, for as long as it takes. A `hold` stays before it
    looks anything up, between looking up and storing (`during`), or when all is stored.
    count: how often it strikes, None for ever.
    field, value: the records that a record, poison or answer fault strikes; without `field` every one.
    retry_after: the header of a `status`: a text as it is, a number of seconds, or with `as_date` the date in so many.
    answer: entries of the answer that are replaced (null: left out); each: the same for every entry of `result`;
    results: how many entries `result` is cut or stretched to; body: the text that is sent instead of the answer.
    """

    kind: str
    path: str = "*"
    verb: str = "*"
    when: str | None = None
    count: int | None = 1
    status: int | None = None
    code: str = "611"
    message: str | None = None
    seconds: float = 3600.0
    field: str | None = None
    value: Any = None
    contains: str | None = None
    gate: str = ""
    retry_after: str | float | None = None
    as_date: bool = False
    answer: dict[str, Any] | None = None
    each: dict[str, Any] | None = None
    results: int | None = None
    body: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.when is None:
            self.when = {"answer": "after", "hold": "during"}.get(self.kind, "before")
        if self.when not in {"before", "during", "after"}:
            raise ValueError(f"when is before, during or after, not {self.when!r}")
        if self.kind == "answer" and self.when != "after":
            raise ValueError("an answer is changed after the call was carried out")
        if self.kind == "hold" and not self.gate:
            raise ValueError("hold needs the name of its gate")

    def strikes(self, verb: str, path: str, body: bytes = b"") -> bool:
        """Say whether calls of this verb, path and body are meant."""
        fits = self.kind in RECORD_KINDS or self.contains is None or self.contains.encode() in body
        return fits and fnmatchcase(path, self.path) and fnmatchcase(verb, self.verb)

    def strikes_record(self, record: dict[str, Any]) -> bool:
        """Say whether this record is meant."""
        if self.contains is not None:
            values = record.values() if self.field is None else [record.get(self.field)]
            return any(isinstance(value, str) and self.contains in value for value in values)
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

    def take(self, verb: str, path: str, body: bytes) -> Fault | None:
        """Return the fault that strikes this call as a whole, and count it."""
        return self._first(CALL_KINDS, verb, path, body)

    def take_hold(self, verb: str, path: str, body: bytes) -> Fault | None:
        """Return the fault that holds this call, and count it. Another one may strike the same call."""
        return self._first(("hold",), verb, path, body)

    def check_record(self, verb: str, path: str, record: dict[str, Any]) -> None:
        """Let record faults strike.

        Raises:
            CallError, HttpError: the record is poison for the whole call.
            RecordError: only this record is refused.
        """
        for fault in self._queue:
            if fault.kind in RECORD_KINDS and fault.strikes(verb, path) and fault.strikes_record(record):
                self._struck(fault)
                if fault.kind == "record":
                    raise RecordError(fault.code, fault.message)
                if fault.status is not None:
                    raise HttpError(fault.status, fault.message or "")
                raise CallError(fault.code, fault.message)

    @property
    def any_for_records(self) -> bool:
        """Say whether any fault is about single records."""
        return any(fault.kind in RECORD_KINDS for fault in self._queue)

    def _first(self, kinds: tuple[str, ...], verb: str, path: str, body: bytes) -> Fault | None:
        fault = next((f for f in self._queue if f.kind in kinds and f.strikes(verb, path, body)), None)
        if fault is not None:
            self._struck(fault)
        return fault

    def _struck(self, fault: Fault) -> None:
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self._queue.remove(fault)
