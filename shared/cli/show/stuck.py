"""What only a person can end: dead letters, values that do not fit; with the command that ends it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.entities import PERSON
from ...model.outcome import COMPANY_FIELD, LeftOut, WillNotCome
from ...model.record import timestamp
from ..finding import Finding, failed
from ..remedies import remedy
from .facts import Letter, Search, Subject, Unseen

#: What to look at when a change never came.
STEPS = "to see why nothing came: msisync doctor --only steps"


#: What to do about a parent that is nothing to sync, by the reason.
SKIPPED = {
    "RowGone": "choose another one in the row, or restore it in Dynamics",
    "Deleted": "choose another one in the row, or restore it in Dynamics",
    "UserWithoutMail": "give the user an e-mail address in Dynamics",
    "MailHidden": "let the sync user read internalemailaddress by a column security profile in Dynamics",
    "ApplicationUser": "assign the row to a person, or see [owner] in sync.toml",
}


def not_coming(parent: Subject, cause: WillNotCome) -> Finding:
    """Why a parent will not be in Marketo, as was noted when its own sync ended."""
    sentence = f"its own sync ended at {timestamp(cause.since)} with {cause.code}, {cause.message}"
    if cause.skipped:
        return failed(sentence, SKIPPED.get(cause.code, resync(parent)), code=cause.code)
    system = "marketo" if cause.code.isdecimal() else "msisync"
    do = remedy(cause.code, system, f"--id {parent.id}", entity=parent.entity.name)
    return failed(sentence, do, code=cause.code)


def resync(subject: Subject) -> str:
    """The command that sends a record once more."""
    return f"msisync resync {subject.table or PERSON.name} {subject.id}"


def dead_lettered(subject: Subject, letter: Letter) -> Finding:
    """It is a dead letter."""
    return failed(
        f"{subject} is a dead letter, {letter.address or letter.queue}: {letter.code}, {letter.message}",
        remedy(
            letter.code,
            letter.system,
            f"--id {subject.id}",
            replays=letter.replays,
            entity=subject.entity.name,
            row=f"{subject.table or 'TABLE'} {subject.id}",
        ),
        code="DeadLettered",
    )


def without(subject: Subject, left_out: Sequence[LeftOut]) -> Finding:
    """It is synced, but for fields whose values do not fit."""
    sentence = f"{subject} is in Marketo, but without what Dynamics has for {'; '.join(map(str, left_out))}"
    unfit = [each.field for each in left_out if each.code != COMPANY_FIELD]
    of_company = ", ".join(each.field for each in left_out if each.code == COMPANY_FIELD)
    remedies = [f"map {of_company} in [account.fields] of sync.toml instead"] if of_company else []
    if unfit:
        remedies.insert(
            0,
            f"correct what {', '.join(unfit)} {'is' if len(unfit) == 1 else 'are'} made from in Dynamics and save the "
            'row; to save it as it is changes nothing (what Marketo has meanwhile: refused = "keep" or "clear" in '
            "sync.toml)",
        )
    return failed(sentence, "; ".join(remedies), code="FieldsLeftOut")


def blind_spots(around: Search, hidden: Sequence[Unseen]) -> str:
    """What may wait for the record without having been seen, in words."""
    places = [f"{each.queue} ({each.why})" for each in hidden]
    places += [f"{name} ({why})" for name, why in around.troubles.items() if name in ("Service Bus", "Table Storage")]
    return f"whether something waits for it is not known: {'; '.join(dict.fromkeys(places))}" if places else ""
