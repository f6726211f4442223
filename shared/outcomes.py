"""What became of a record: one value per record, decided by the engine, carried out by shared/settle.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parent:
    """A row that another record refers to: `entity` and the row that feeds it."""

    entity: str
    table: str
    id: str


@dataclass(frozen=True, slots=True)
class Synced:
    """Marketo stored the record. `status` is created or updated, or known when Marketo already had it."""

    status: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing is to be done for this record, and that is right."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """These parents are not in Marketo yet. The last one is the one to wait for; all of them are requested."""

    parents: tuple[Parent, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in `after` seconds. Only a `counted` try uses up one of the record's attempts."""

    after: float
    code: str
    message: str
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """Comes again in a burst, to meet its parents or to fill a call: in the next cycle, or `soon`, in this turn."""

    reason: str
    soon: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Wrong for good: the record goes to dead-letters with the code and message of `source`."""

    code: str
    message: str
    source: str = "msisync"


Outcome = Synced | Skipped | Deferred | Retry | Later | Failed
