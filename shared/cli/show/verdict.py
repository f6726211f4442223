"""Where a record stands and why, in one sentence with a code. Pure: facts in, verdict out."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.entities import COMPANY, OPPORTUNITY, OPPORTUNITY_ROLE, PERSON, SALES_PERSON
from ...model.outcome import Parent
from ...model.record import timestamp
from ..finding import Finding, Severity, attention, failed, ok
from ..remedies import DISCARD
from .facts import SALES_PERSON_EMAIL, Letter, Role, Search, Subject, Wait
from .queued import AGAIN, perhaps_queued, queued, unseen_of
from .stuck import SKIPPED, STEPS, blind_spots, dead_lettered, not_coming, resync, without

#: So far up it is looked why a parent is missing: an opportunity, its company, the company's sales person.
_LEVELS = 3
#: Rows that one command line names.
_NAMED = 5
#: What has become of persons whose rows are deleted, by the policy.
_REMOVED = {
    "delete": "; a person whose row is deleted is deleted in Marketo too",
    "unlink": "; a person whose row is deleted stays in Marketo without its key",
}
#: Fields that hold links, by which a person may differ while it waits to be linked.
_LINKS = frozenset(link.field for link in PERSON.links)


def judge(subject: Subject, around: Search, *, levels: int = _LEVELS) -> Finding:
    """The verdict on a record. A parent that it waits for is judged as well, so many `levels` up: the root is named."""
    if subject.exists is None:
        return _unknown(subject, around, "Dynamics")
    if not subject.exists:
        hidden = next((letter for letter in subject.letters if letter.code == "RowHidden"), None)
        return dead_lettered(subject, hidden) if hidden else _gone(subject, around)
    if subject.kept_out:
        kept = "; Marketo keeps the record that it has, and it is no longer updated" if subject.in_marketo else ""
        return ok(f"{subject} is excluded from the sync: {subject.kept_out}{kept}", code="Filtered")
    if replaced := _replaced(subject, around):
        return replaced
    return _there(subject, around) or _under_way(subject, around, levels) or _stuck(subject, around)


def _replaced(subject: Subject, around: Search) -> Finding | None:
    """Another row goes on in its place, and nothing is to be done for it any more."""
    if not (subject.qualified or subject.winner) or subject.in_marketo is None or subject.waiting or subject.letters:
        return None
    if not subject.in_marketo:
        what = "was qualified" if subject.qualified else "was merged"
        into = f" into {subject.winner}" if subject.winner else ""
        text = f"{subject} {what}{into}: nothing is created in Marketo for it any more"
        return ok(text, code="Qualified" if subject.qualified else "Merged")
    is_kept = around.policy_of(subject) == "keep" if subject.entity is COMPANY else around.lifecycle.merged != "merge"
    if not subject.qualified and is_kept:
        keeps = "Marketo keeps the record that it has, and it is no longer updated"
        return ok(f"{subject} was merged into {subject.winner}; {keeps}", code="Merged")
    return None


def _gone(subject: Subject, around: Search) -> Finding:
    if around.others and not subject.in_marketo:
        return _no_person(around.others[0], subject.letters)
    if subject.flagged:
        return ok(f"{subject} is deleted in Dynamics, and flagged as deleted in Marketo", code="Flagged")
    policy = around.policy_of(subject)
    if subject.in_marketo and policy == "keep":
        keeps = "Marketo keeps its record, as [lifecycle] of sync.toml says"
        return ok(f"{subject} is not in Dynamics (any more); {keeps}", code="Kept")
    if subject.in_marketo:
        return _under_way(subject, around, 0) or _still_there(subject, around)
    if subject.waiting or subject.letters:
        where = (subject.waiting or subject.letters)[0].queue
        hidden = "if the row should be there, check that the sync user may read it"
        return failed(
            f"{subject} is not in Dynamics (any more), nor in Marketo; {where} still has a message about it",
            f"{hidden}; else {DISCARD} --id {subject.id} --apply" if subject.letters else hidden,
            code="GoneInDynamics",
        )
    return failed(
        f"neither Dynamics nor Marketo has {subject}{_REMOVED.get(policy, '')}",
        "check the id or address, and that the sync user may read the row",
        code="NotFound",
    )


def _no_person(row: Subject, letters: Sequence[Letter]) -> Finding:
    """The id is that of another table's row."""
    if letters:
        return dead_lettered(row, letters[-1])
    known = "" if row.in_marketo is None else f", which {'is' if row.in_marketo else 'is not'} in Marketo"
    return failed(
        f"it is not a lead or contact, but {row}{known}",
        f"what happened to it: msisync history {row.id}; to send it again: {resync(row)}",
        code="NotFound",
    )


def _still_there(subject: Subject, around: Search) -> Finding:
    """Its row is gone, and what sync.toml says of that has not been done."""
    if subject.letters:
        return dead_lettered(subject, subject.letters[-1])
    policy = f"[lifecycle] of sync.toml says {around.policy_of(subject)}"
    return failed(
        f"{subject} is not in Dynamics (any more), but Marketo has its record as if it were, though {policy}",
        f"msisync heard nothing of the deletion: do it by hand in Marketo; {STEPS}",
        code="GoneInDynamics",
    )


def _there(subject: Subject, around: Search) -> Finding | None:
    """What Marketo's records say by themselves, whatever is on its way."""
    if subject.in_marketo and subject.in_marketo > 1:
        return failed(
            f"Marketo has {subject.in_marketo} records with the key of {subject}, and refuses to update any of them",
            f"merge them in Marketo, then {resync(subject)}",
            code="DuplicateInMarketo",
        )
    if subject.in_marketo and subject.differences is None:
        return _unknown(subject, around, "the mapping", "Dynamics", "Marketo")
    if not subject.in_marketo or any(not each.role for each in subject.differences or ()):
        return None
    missing = [each.role for each in subject.differences or () if each.role]
    if missing and subject.waiting:
        return None
    synced = _synced(subject)
    return _without_roles(subject, missing, around) if missing and synced.severity is Severity.OK else synced


def _without_roles(subject: Subject, missing: Sequence[Role], around: Search) -> Finding:
    """The person is synced, and roles of it are not: why, for the gravest of them, and what brings them."""
    sentence = f"{subject} is in Marketo as it is in Dynamics"
    held = [(role, why) for role in missing if (why := _missing_role(role, around))]
    grave = [each for each in held if each[1].severity is Severity.FAILED]
    never = [role for role in missing if role not in [role for role, _ in held]]
    if grave or not never:
        role, why = (grave or held)[0]
        text = f"{sentence}, but not its role in {_deal(role, around)}: {why.text} [{why.code}]"
        return (failed if grave else attention)(text, why.remedy, code="RoleMissing")
    deal = _deal(never[0], around)
    what = f"its role in {deal}" if deal.in_marketo else f"{deal}"
    more = f" (the same of {len(never) - 1} more)" if len(never) > 1 else ""
    return attention(f"{sentence}, but {what} was not sent yet{more}", _send_roles(never), code="RoleMissing")


def _send_roles(roles: Sequence[Role]) -> str:
    """What brings them: the row of a role brings its opportunity too, and an opportunity its own customer's role."""
    ties = list(dict.fromkeys(role.rows[0][1] for role in roles if role.rows))
    deals = list(dict.fromkeys(role.opportunity for role in roles if not role.rows))
    named = {OPPORTUNITY_ROLE: ties[:_NAMED], OPPORTUNITY: deals[:_NAMED]}
    return "; ".join(f"msisync resync {entity.name} {' '.join(ids)}" for entity, ids in named.items() if ids)


def _deal(role: Role, around: Search) -> Subject:
    return around.deals.get(role.opportunity) or Subject(OPPORTUNITY.name, role.opportunity, role.name)


def _missing_role(role: Role, around: Search) -> Finding | None:
    """Why a role is not in Marketo: its opportunity's reason, else its own. None: nothing was ever sent of it."""
    deal = _deal(role, around)
    subjects = [deal] if not deal.in_marketo else [around.ties[id_] for _, id_ in role.rows if id_ in around.ties]
    for each in subjects:
        if found := _under_way(each, around, _LEVELS):
            return found
        if each.letters:
            return dead_lettered(each, each.letters[-1])
    return next((found for each in subjects if (found := perhaps_queued(each, around))), None)


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
        return without(subject, mapped)
    more = "; another change of it is on its way" if subject.waiting or subject.parked else ""
    old = f"; a dead letter of it is left, {subject.letters[-1].address}" if subject.letters else ""
    remedy = f"{DISCARD} --id {subject.id} --apply" if old and not more else ""
    return ok(f"{subject} is in Marketo as it is in Dynamics{more}{old}", remedy, code="Synced")


def _under_way(subject: Subject, around: Search, levels: int) -> Finding | None:
    """What waits for the record and will move on automatically."""
    if found := queued(subject, around):
        return found
    waits = [parked for parked in subject.parked if not parked.linked_later]
    if waits:
        return _waiting_for_parent(subject, waits[0], around, levels)
    if subject.parked and {each.field for each in subject.differences or ()} <= _LINKS:
        return _linked_later(subject, subject.parked[0], around, levels)
    return None


def _waiting_for_parent(subject: Subject, parked: Wait, around: Search, levels: int) -> Finding:
    named = _named(parked.parent, around)
    sentence = f"{subject} waits since {timestamp(parked.since)} for its {parked.parent.noun}, {named}"
    is_known = named.exists is not None or named.in_marketo is not None or parked.cause
    if not levels or not is_known:
        return attention(sentence, AGAIN, code="WaitingForParent")
    when = f" at {timestamp(parked.next_check)}" if parked.next_check else ""
    if named.in_marketo:
        found = f"{sentence}, which is in Marketo by now: the app finds that out at its next look{when}"
        return attention(found, AGAIN, code="WaitingForParent")
    if named.kept_out:
        found = (
            f"{sentence}, which is excluded from the sync ({named.kept_out}): the app does without it at its next look"
        )
        return attention(f"{found}{when}", AGAIN, code="WaitingForParent")
    why = _missing(named, parked, around, levels - 1)
    grade = attention if why.severity is Severity.ATTENTION else failed
    return grade(f"{sentence}, which is not in Marketo: {why.text} [{why.code}]", why.remedy, code="WaitingForParent")


def _linked_later(subject: Subject, parked: Wait, around: Search, levels: int) -> Finding:
    """It is in Marketo as far as it can be."""
    named = _named(parked.parent, around)
    sentence = f"{subject} is in Marketo, but without the link to its {parked.parent.noun}, {named}"
    if not levels or named.in_marketo:
        return attention(f"{sentence}, which is being sent", AGAIN, code="LinkedLater")
    why = _missing(named, parked, around, levels - 1)
    grade = attention if why.severity is Severity.ATTENTION else failed
    return grade(
        f"{sentence}, which is not there yet: {why.text} [{why.code}]",
        f"{why.remedy}; once it is in Marketo, the link follows automatically",
        code="LinkedLater",
    )


def _named(parent: Parent, around: Search) -> Subject:
    """What is known of a parent: of one of the persons that are asked for, too."""
    return (
        around.parents.get(parent)
        or around.subjects.get(parent.id)
        or around.deals.get(parent.id)
        or Subject(parent.table, parent.id)
    )


def _missing(named: Subject, parked: Wait, around: Search, levels: int) -> Finding:
    """Why a parent is not in Marketo, and what to do: its dead letter, else what was noted when its sync ended."""
    cause = parked.cause
    if cause is None or (named.letters and named.exists):
        if named.exists is False and not named.letters:
            return failed(f"{named} is not in Dynamics (any more)", SKIPPED["RowGone"], code="NotFound")
        return judge(named, around, levels=levels)
    return not_coming(named, cause)


def _stuck(subject: Subject, around: Search) -> Finding:
    """Nothing that was seen will move the record by itself."""
    if subject.letters:
        return dead_lettered(subject, subject.letters[-1])
    if subject.in_marketo is None:
        return _unknown(subject, around, "Marketo")
    if found := perhaps_queued(subject, around):
        return found
    blind = blind_spots(around, unseen_of(subject, around))
    if subject.in_marketo:
        names = [each.field for each in subject.differences or ()]
        known = {each.field.lower() for each in subject.left_out}
        if names and known.issuperset(name.lower() for name in names):
            return without(subject, subject.left_out)
        return failed(
            f"{subject} is in Marketo, but {', '.join(names)} {'is' if len(names) == 1 else 'are'} not as in "
            f"Dynamics, and {blind or 'nothing waits for it'}",
            f"{resync(_culprit(subject, names, around))}; {STEPS}",
            code="Differs",
        )
    return failed(
        f"{subject} is not in Marketo, and {blind or 'nothing waits for it: its change was never posted'}",
        f"{resync(subject)}; {STEPS}",
        code="NotInMarketo",
    )


def _culprit(subject: Subject, names: Sequence[str], around: Search) -> Subject:
    """Whose resync ends the difference: an address of the sales person is not the person's to send."""
    if list(names) == [SALES_PERSON_EMAIL]:
        person = next((person for person in around.persons if person.subject is subject), None)
        parents = [each.parent for each in person.relations if each.parent] if person else []
        return next((_named(parent, around) for parent in parents if parent.entity == SALES_PERSON.name), subject)
    return subject


def _unknown(subject: Subject, around: Search, *systems: str) -> Finding:
    """Where the record stands depends on what did not answer; what was seen all the same counts."""
    if subject.exists is None and (found := _under_way(subject, around, _LEVELS)):
        return found
    if subject.letters:
        return dead_lettered(subject, subject.letters[-1])
    why = "; ".join(f"{name}: {around.troubles[name]}" for name in systems if name in around.troubles)
    return failed(
        f"nobody can say where {subject} stands, because something could not be asked: {why or systems[0]}",
        "run msisync doctor",
        code="Unknown",
    )
