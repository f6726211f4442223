"""What Marketo's answers to the calls of shared/sync/upserts.py mean for their records."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..marketo.answers import Result
from ..marketo.client import Write
from ..model.codes import Kind, marketo_record
from ..model.entities import Entity
from ..model.errors import MarketoError, MsiSyncError, VendorError
from ..model.outcome import RECHECK_SECONDS, RETRY_SECONDS, Failed, Outcome, Retry, Skipped, Synced, of_error, of_skip
from .batch import INVALID_VALUE, Candidate
from .marketo_cache import Known

log = logging.getLogger(__name__)

#: The code of a field that is not there (any more).
GONE_FIELD = "1006"
#: The code of a person that is not there, in a call that creates none.
NO_PERSON = "1004"
#: The codes of a record that is not there, and what becomes of one of which only some fields were to be sent.
NOT_THERE = frozenset({NO_PERSON, "1013"})
NOT_IN_MARKETO = Skipped("NotInMarketo")
#: The code of company fields on a person that is linked to a company.
COMPANY_UPDATE = "1021"


def outcome_of(entity: Entity, candidate: Candidate, result: Result, known: Known) -> Outcome:
    """What Marketo's result for one record means, and what it teaches."""
    kind = marketo_record(result.code) if result.code else Kind.OK
    if kind is Kind.OK:
        known.add(entity.name, candidate.key, result.id)
        adopted = candidate.write is Write.BY_ID
        return Synced(
            "adopted" if adopted else result.status, candidate.unlinked, tuple(candidate.left_out),
            marketo_id=result.id, request_id=result.request_id,
            found_by=candidate.found_by if adopted else "", continues=candidate.continues if adopted else None,
        )  # fmt: skip
    if candidate.is_part and result.code in NOT_THERE:
        return NOT_IN_MARKETO
    if kind is Kind.MISSING_PARENT or _may_miss_a_parent(entity, result):
        forget_parents(known, [candidate])
        return Retry(RECHECK_SECONDS, result.code, result.message, counted=True, request_id=result.request_id)
    return of_skip(result.code, result.message, result.request_id)


def forget_parents(known: Known, candidates: Iterable[Candidate]) -> None:
    """Marketo does not have them, so the next try asks for them."""
    for candidate in candidates:
        for parent in candidate.parents.values():
            if parent:
                known.forget(parent.entity, parent.id)


def at_work(error: MsiSyncError) -> bool:
    """Whether Marketo may still be at work on the call."""
    return isinstance(error, MarketoError) and error.at_work


def _may_miss_a_parent(entity: Entity, result: Result) -> bool:
    """Whether a role is refused for a parent that is not there, which may be said as of a value (marketo.md 3.4).

    What names another field than the links is about that field's value.
    """
    links = {link.field for link in entity.links}
    return not entity.key and result.code == INVALID_VALUE and result.refused_fields <= links


def of_culprit(candidate: Candidate, error: VendorError, *, works: bool) -> Outcome:
    """A record that spoils a call while others are stored gets one more chance, unless its fault is certain.

    What may be the configuration's fault is tried as often as any other as long as no other record was stored.
    """
    first_try = all(record.attempt == 0 for record in candidate.records)
    if error.kind is Kind.CONFIGURATION:
        log.error("marketo_configuration %s", error)
        outcome: Outcome = Retry(RETRY_SECONDS[Kind.TRANSIENT], error.code, error.message, counted=True)
        again = not works or (first_try and error.code == GONE_FIELD)  # Marketo's fields have been read anew
    else:
        outcome = of_error(error)
        again = first_try or error.kind is Kind.MISSING_PARENT
    if again or isinstance(outcome, Failed):
        return outcome
    return Failed(error.code, f"{error.message}; it spoils every call that it is in", "marketo", error.request_id)
