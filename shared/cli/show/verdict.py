"""Where a record stands and why, in one sentence with a code. Pure: facts in, verdict out."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.entities import PERSON
from ...model.outcome import COMPANY_FIELD, LeftOut
from ...model.record import timestamp
from ..finding import Finding, Severity, attention, failed, ok
from ..remedies import remedy
from .facts import Letter, Search, Subject, Unseen, Wait, Waiting

_SAVE = "save the row in Dynamics, which sends it again"
_DOCTOR = "run msisync doctor to check the steps, then save the row in Dynamics, which sends it again"
_AGAIN = "run this command again in a moment"
#: What to do about a parent that is nothing to sync, by the reason.
_SKIPPED = {
    "RowGone": "choose another one in the row, or restore it in Dynamics",
    "Deleted": "choose another one in the row, or restore it in Dynamics",
    "UserWithoutMail": "give the user an e-mail address in Dynamics",
    "MailHidden": "let the sync user read internalemailaddress by a column security profile in Dynamics",
    "ApplicationUser": "assign the row to a person, or see [owner] in sync.toml",
}
#: What has become of persons whose rows are deleted, by the policy.
_REMOVED = {
    "delete": "; a person whose row is deleted is deleted in Marketo too",
    "unlink": "; a person whose row is deleted stays in Marketo without its key",
}
#: Fields that hold links, by which a person may differ while it waits to be linked.
_LINKS = frozenset(link.field for link in PERSON.links)


def judge(subject: Subject, around: Search, *, explain: bool = True) -> Finding:
    """The verdict on a record. `explain`: a parent that it waits for is judged as well, one level up."""
    if subject.exists is None:
        return _unknown(subject, around, "Dynamics")
    if not subject.exists:
        hidden = next((letter for letter in subject.letters if letter.code == "RowHidden"), None)
        return _dead_lettered(subject, hidden) if hidden else _gone(subject, around)
    if subject.kept_out:
        kept = "; Marketo keeps the record that it has, and it is no longer updated" if subject.in_marketo else ""
        return ok(f"{subject} is excluded from the sync: {subject.kept_out}{kept}", code="Filtered")
    if replaced := _replaced(subject, around):
        return replaced
    return _there(subject, around) or _under_way(subject, around, explain) or _stuck(subject, around)


def _replaced(subject: Subject, around: Search) -> Finding | None:
    """Another row goes on in its place, and nothing is to be done for it any more."""
    if not (subject.qualified or subject.winner) or subject.in_marketo is None or subject.waiting or subject.letters:
        return None
    if not subject.in_marketo:
        what = "was qualified" if subject.qualified else "was merged"
        into = f" into {subject.winner}" if subject.winner else ""
        text = f"{subject} {what}{into}: nothing is created in Marketo for it any more"
        return ok(text, code="Qualified" if subject.qualified else "Merged")
    if not subject.qualified and around.lifecycle.merged != "merge":
        keeps = "Marketo keeps the record that it has, and it is no longer updated"
        return ok(f"{subject} was merged into {subject.winner}; {keeps}", code="Merged")
    return None


def _gone(subject: Subject, around: Search) -> Finding:
    if subject.flagged:
        return ok(f"{subject} is deleted in Dynamics, and flagged as deleted in Marketo", code="Flagged")
    policy = around.policy_of(subject)
    if subject.in_marketo and policy == "keep":
        keeps = "Marketo keeps its record, as [lifecycle] of sync.toml says"
        return ok(f"{subject} is not in Dynamics (any more); {keeps}", code="Kept")
    if subject.in_marketo:
        return _under_way(subject, around, explain=False) or _still_there(subject, around)
    if subject.waiting or subject.letters:
        where = (subject.waiting or subject.letters)[0].queue
        return failed(
            f"{subject} is not in Dynamics (any more), nor in Marketo; {where} still has a message about it",
            "if the row should be there, check that the sync user may read it",
            code="GoneInDynamics",
        )
    return failed(
        f"neither Dynamics nor Marketo has {subject}{_REMOVED.get(policy, '')}",
        "check the id or address, and that the sync user may read the row",
        code="NotFound",
    )


def _still_there(subject: Subject, around: Search) -> Finding:
    """Its row is gone, and what sync.toml says of that has not been done."""
    if subject.letters:
        return _dead_lettered(subject, subject.letters[-1])
    policy = f"[lifecycle] of sync.toml says {around.policy_of(subject)}"
    return failed(
        f"{subject} is not in Dynamics (any more), but Marketo has its record as if it were, though {policy}",
        "msisync heard nothing of the deletion: check the steps (msisync doctor), and do it by hand in Marketo",
        code="GoneInDynamics",
    )


def _there(subject: Subject, around: Search) -> Finding | None:
    """What Marketo's records say by themselves, whatever is on its way."""
    if subject.in_marketo and subject.in_marketo > 1:
        return failed(
            f"Marketo has {subject.in_marketo} records with the key of {subject}, and refuses to update any of them",
            "merge them in Marketo",
            code="DuplicateInMarketo",
        )
    if subject.in_marketo and subject.differences is None:
        return _unknown(subject, around, "the mapping", "Dynamics", "Marketo")
    return _synced(subject) if subject.in_marketo and not subject.differences else None


def _synced(subject: Subject) -> Finding:
    if subject.lookalikes:
        ids = ", ".join(str(id_) for id_ in subject.lookalikes)
        return failed(
            f"{subject} is synced, but Marketo has the same e-mail without its key as well: record {ids}",
            "merge them in Marketo: activities of the other record do not show in Dynamics",
            code="DuplicateInMarketo",
        )
    mapped = [each for each in subject.left_out if not each.by_marketo]
    if mapped:
        return _without(subject, mapped)
    more = "; another change of it is on its way" if subject.waiting or subject.parked else ""
    return ok(f"{subject} is in Marketo as it is in Dynamics{more}", code="Synced")


def _under_way(subject: Subject, around: Search, explain: bool) -> Finding | None:
    """What waits for the record and will move on automatically."""
    routed = [each for each in subject.waiting if each.routed]
    retrying = next((each for each in routed if _is_retry(each, around)), None)
    if retrying:
        when = f"next at {timestamp(retrying.due)}" if retrying.due else "next at any moment"
        tries = f"{retrying.attempt} counted {'try' if retrying.attempt == 1 else 'tries'}"
        return attention(
            f"{subject} could not be synced yet and is tried again ({tries} so far), {when}",
            "the app's log says why (look for its id); msisync doctor shows whether Marketo and Dynamics are well",
            code="Retrying",
        )
    if routed:
        return attention(f"{subject} waits in {routed[0].queue} for its turn", _AGAIN, code="Queued")
    if subject.waiting:
        queue = subject.waiting[0].queue
        return attention(
            f"a change of {subject} waits in {queue} and has not been read by the app",
            f"{_AGAIN}; if it stays, check that the app runs",
            code="NotSentYet",
        )
    waits = [parked for parked in subject.parked if not parked.linked_later]
    if waits:
        return _waiting_for_parent(subject, waits[0], around, explain)
    if subject.parked and {each.field for each in subject.differences or ()} <= _LINKS:
        return _linked_later(subject, subject.parked[0], around, explain)
    return None


def _is_retry(waiting: Waiting, around: Search) -> bool:
    if waiting.attempt:
        return True
    if waiting.due is None:
        return False
    old = waiting.first_seen is not None and around.now - waiting.first_seen > 3 * around.burst
    return old or waiting.due - around.now > around.burst


def _waiting_for_parent(subject: Subject, parked: Wait, around: Search, explain: bool) -> Finding:
    named = around.parents.get(parked.parent) or Subject(parked.parent.table, parked.parent.id)
    sentence = f"{subject} waits since {timestamp(parked.since)} for its {parked.parent.noun}, {named}"
    if not explain:
        return attention(sentence, _AGAIN, code="WaitingForParent")
    when = f" at {timestamp(parked.next_check)}" if parked.next_check else ""
    if named.in_marketo:
        found = f"{sentence}, which is in Marketo by now: the app finds that out at its next look{when}"
        return attention(found, _AGAIN, code="WaitingForParent")
    if named.kept_out:
        found = (
            f"{sentence}, which is excluded from the sync ({named.kept_out}): the app does without it at its next look"
        )
        return attention(f"{found}{when}", _AGAIN, code="WaitingForParent")
    why = _missing(named, parked, around)
    grade = attention if why.severity is Severity.ATTENTION else failed
    return grade(f"{sentence}, which is not in Marketo: {why.text} [{why.code}]", why.remedy, code="WaitingForParent")


def _linked_later(subject: Subject, parked: Wait, around: Search, explain: bool) -> Finding:
    """It is in Marketo as far as it can be."""
    named = around.parents.get(parked.parent) or Subject(parked.parent.table, parked.parent.id)
    sentence = f"{subject} is in Marketo, but without the link to its {parked.parent.noun}, {named}"
    if not explain or named.in_marketo:
        return attention(f"{sentence}, which is being sent", _AGAIN, code="LinkedLater")
    why = _missing(named, parked, around)
    grade = attention if why.severity is Severity.ATTENTION else failed
    return grade(
        f"{sentence}, which is not there yet: {why.text} [{why.code}]",
        f"{why.remedy}; once it is in Marketo, the link follows automatically",
        code="LinkedLater",
    )


def _missing(named: Subject, parked: Wait, around: Search) -> Finding:
    """Why a parent is not in Marketo, and what to do: its dead letter, else what was noted when its sync ended."""
    cause = parked.cause
    if cause is None or (named.letters and named.exists):
        return judge(named, around, explain=False)
    sentence = f"its own sync ended at {timestamp(cause.since)} with {cause.code}, {cause.message}"
    if cause.skipped:
        return failed(sentence, _SKIPPED.get(cause.code, _SAVE), code=cause.code)
    system = "marketo" if cause.code.isdecimal() else "msisync"
    return failed(sentence, remedy(cause.code, system, f"--id {named.id}"), code=cause.code)


def _stuck(subject: Subject, around: Search) -> Finding:
    """Nothing that was seen will move the record by itself."""
    if subject.letters:
        return _dead_lettered(subject, subject.letters[-1])
    hidden = [each for each in around.unseen if not each.is_empty]
    counted = next((each for each in hidden if each.moves and each.active is not None), None)
    if subject.in_marketo is not None and counted:
        number = (counted.active or 0) + (counted.scheduled or 0)
        return attention(
            f"{subject} may be among the {number} messages of {counted.queue}: {counted.why}", _AGAIN, code="Queued"
        )
    if subject.in_marketo is None:
        return _unknown(subject, around, "Marketo")
    blind = _blind(around, hidden)
    if subject.in_marketo:
        names = [each.field for each in subject.differences or ()]
        known = {each.field.lower() for each in subject.left_out}
        if names and known.issuperset(name.lower() for name in names):
            return _without(subject, subject.left_out)
        return failed(
            f"{subject} is in Marketo, but {', '.join(names)} {'is' if len(names) == 1 else 'are'} not as in "
            f"Dynamics, and {blind or 'nothing waits for it'}",
            _SAVE,
            code="Differs",
        )
    return failed(
        f"{subject} is not in Marketo, and {blind or 'nothing waits for it: its change was never posted'}",
        _DOCTOR,
        code="NotInMarketo",
    )


def _without(subject: Subject, left_out: Sequence[LeftOut]) -> Finding:
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


def _dead_lettered(subject: Subject, letter: Letter) -> Finding:
    return failed(
        f"{subject} is a dead letter in {letter.queue}: {letter.code}, {letter.message}",
        remedy(letter.code, letter.system, f"--id {subject.id}"),
        code="DeadLettered",
    )


def _unknown(subject: Subject, around: Search, *systems: str) -> Finding:
    """Where the record stands depends on what did not answer; what was seen all the same counts."""
    if subject.exists is None and (found := _under_way(subject, around, explain=True)):
        return found
    if subject.letters:
        return _dead_lettered(subject, subject.letters[-1])
    why = "; ".join(f"{name}: {around.troubles[name]}" for name in systems if name in around.troubles)
    return failed(
        f"nobody can say where {subject} stands, because something could not be asked: {why or systems[0]}",
        "run msisync doctor",
        code="Unknown",
    )


def _blind(around: Search, hidden: Sequence[Unseen]) -> str:
    """What may wait for the record without having been seen, in words."""
    places = [f"{each.queue} ({each.why})" for each in hidden]
    places += [f"{name} ({why})" for name, why in around.troubles.items() if name in ("Service Bus", "Table Storage")]
    return f"whether something waits for it is not known: {'; '.join(dict.fromkeys(places))}" if places else ""
