"""What became of a record: one value per record, decided by the engine, carried out by shared/sync/settlement.py.

What a vendor's code means for a record follows from its kind (shared/model/codes.py) and is decided here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime

from .codes import Kind, marketo_record
from .errors import MsiSyncError, NotNowError, VendorError

log = logging.getLogger(__name__)

#: Seconds until the next try, by the kind of error; other kinds are final for the record.
RETRY_SECONDS = {
    Kind.THROTTLED: 20.0,
    Kind.DAILY: 900.0,
    Kind.TRANSIENT: 60.0,
    Kind.TOKEN: 60.0,
    Kind.CONFIGURATION: 300.0,
}
#: Reasons of the mapping that say: what the row has is no value of this field. With `refused = "clear"` the one that
#: Marketo has goes then. Not among them: yes or no, for an empty one means no.
NO_VALUE = frozenset({"NotAnAddress", "NotAWebAddress", "NotANumber", "NotADate", "OutOfRange", "TooLong"})
#: A field of the company that a person is linked to: it is the company's to say.
COMPANY_FIELD = "CompanyField"
#: How a person that Marketo had was found: the contact's lead was qualified, or it has the row's e-mail address.
QUALIFIED, SAME_ADDRESS = "qualified", "same_address"
#: Until a record whose parent turned out to be missing after all is looked at again.
RECHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Parent:
    """A row that another record refers to: `entity` and the row that feeds it."""

    entity: str
    table: str
    id: str

    @property
    def noun(self) -> str:
        """The entity in words."""
        return self.entity.replace("_", " ")


@dataclass(frozen=True, slots=True)
class WillNotCome:
    """Why a parent will not be in Marketo until somebody acts: its dead letter, or what it is skipped for (`skipped`).
    `since`: when that was found out.
    """

    code: str
    message: str
    since: datetime
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One field of one record that was not sent, though the row has something for it.

    `field` is Marketo's name of it. `code` says who left it out: a reason of the mapping, such as "NotBoolean", or
    Marketo's own code, such as "1003". `reason` is a sentence for people. `value_class` is what the value looks like,
    such as "text of 12 characters": the value is never kept, so all of this may be logged, stored and shown.
    """

    field: str
    code: str
    reason: str
    value_class: str = ""

    @property
    def by_marketo(self) -> bool:
        """Whether Marketo has refused it, and not the mapping."""
        return self.code.isdigit()

    def __str__(self) -> str:
        return f"{self.field} ({self.code}: {', '.join(filter(None, (self.reason, self.value_class)))})"


@dataclass(frozen=True, slots=True)
class Synced:
    """Marketo stored the record. `status` is created or updated, or known when Marketo already had it.

    `without`: parents that are not in Marketo; it was sent without the links to them, and is sent again when they are.
    `left_out`: fields that it was sent without, though the row has something for them.
    `anew`: Marketo may have lost it before, and with it the links to it (shared/sync/recreated.py).
    For the history: `marketo_id`, 0 where Marketo gave none, `request_id` of the call; of an adopted person, how it was
    `found_by` and the row that it `continues`: the lead before Qualify, or the deleted row whose person it was.
    """

    status: str
    without: tuple[Parent, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    anew: bool = False
    marketo_id: int = field(default=0, compare=False, repr=False)
    request_id: str = field(default="", compare=False, repr=False)
    found_by: str = field(default="", compare=False, repr=False)
    continues: Parent | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing is to be done for this record, and that is right."""

    reason: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The row is gone, and Marketo's record was dealt with as sync.toml says: it was deleted, flagged or unlinked.

    `reason` is the one for which it would have been skipped otherwise: Deleted, or RowGone.
    For the history: Marketo's id of the record, of the person that it was merged `into`, and of the call.
    """

    action: str
    reason: str
    marketo_id: str = field(default="", compare=False, repr=False)
    into_marketo_id: int = field(default=0, compare=False, repr=False)
    request_id: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Merged(Skipped):
    """The row was merged into the `winner`, which is synced in its place. `action`: what became of Marketo's record.

    The others as in Removed.
    """

    winner: Parent
    action: str = "kept"
    marketo_id: str = field(default="", compare=False, repr=False)
    into_marketo_id: int = field(default=0, compare=False, repr=False)
    request_id: str = field(default="", compare=False, repr=False)


#: The sync filter keeps the row out of Marketo, or has it left there as it is.
FILTERED = Skipped("Filtered")


@dataclass(frozen=True, slots=True)
class Deferred:
    """These parents are not in Marketo yet. The last one is the one to wait for; all of them are requested."""

    parents: tuple[Parent, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in `after` seconds. Only a `counted` try uses up one of the record's attempts.

    `request_id`: of the vendor's answer, for the history.
    """

    after: float
    code: str
    message: str
    counted: bool = False
    request_id: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Later:
    """Comes again in a burst, to meet its parents or to fill a call: in the next cycle, or `soon`, in this turn.

    With `after`, it comes in so many seconds, in a burst or not.
    """

    reason: str
    soon: bool = False
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """Wrong for good: the record goes to dead-letters with the code and message of `source`.

    `request_id`: of the vendor's answer, for the history.
    """

    code: str
    message: str
    source: str = "msisync"
    request_id: str = field(default="", compare=False, repr=False)


Outcome = Synced | Removed | Skipped | Deferred | Retry | Later | Failed


def of_error(error: MsiSyncError, *, at_least: float = 0.0) -> Outcome:
    """What an error that concerned a whole call means for each of its records; `at_least`: the shortest wait."""
    if isinstance(error, NotNowError):
        return Retry(error.after, error.code, error.message)
    if not isinstance(error, VendorError):  # credentials or configuration: an operator must act, nothing is lost
        log.error("cannot_sync %s", error)
        return Retry(RETRY_SECONDS[Kind.CONFIGURATION], error.code, error.message)
    request = error.request_id
    if error.kind is Kind.MISSING_PARENT or (error.kind is Kind.SPLIT and error.code == "611"):
        return Retry(RECHECK_SECONDS, error.code, error.message, counted=True, request_id=request)
    if error.kind is Kind.UNKNOWN:
        after = max(RETRY_SECONDS[Kind.TRANSIENT], at_least)
        return Retry(after, error.code, error.message, counted=True, request_id=request)
    if error.kind in RETRY_SECONDS:
        level = logging.ERROR if error.kind is Kind.CONFIGURATION else logging.WARNING
        log.log(level, "vendor_error system=%s %s request=%s", error.system, error, error.request_id)
        after = max(RETRY_SECONDS[error.kind], error.retry_after or 0, at_least)
        return Retry(after, error.code, error.message, request_id=request)
    return Failed(error.code, error.message, error.system, request)


def of_skip(code: str, message: str, request_id: str = "") -> Outcome:
    """What the reason for which Marketo skipped one record means for it."""
    match marketo_record(code):
        case Kind.MISSING_PARENT:
            return Retry(RECHECK_SECONDS, code, message, counted=True, request_id=request_id)
        case Kind.TRANSIENT | Kind.SPLIT | Kind.UNKNOWN:
            return Retry(RETRY_SECONDS[Kind.TRANSIENT], code, message, counted=True, request_id=request_id)
        case kind if kind is Kind.CONFIGURATION or code == "1006":  # a field that cannot be left out is not there
            log.error("marketo_configuration %s: %s", code, message)
            return Retry(RETRY_SECONDS[Kind.TRANSIENT], code, message, counted=True, request_id=request_id)
        case _:
            return Failed(code, message, "marketo", request_id)


def of_company(name: str) -> LeftOut:
    """A field of the company that a person is linked to in Marketo, which takes it through the company alone."""
    reason = "a field of the company that the person is linked to in Marketo: map it in [account.fields]"
    return LeftOut(name, "CompanyField", reason, "a value")
