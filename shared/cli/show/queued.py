"""Why what waits for a record in a queue does not move yet: a pause, an outage, an app that does not run. Pure."""

from __future__ import annotations

from ...model.record import timestamp
from ...sync.circuit_breaker import DATAVERSE
from ..finding import Finding, attention, counted
from ..remedies import APP_SILENT
from .facts import Search, Subject, Unseen, Waiting

AGAIN = "run this command again in a moment"


def queued(subject: Subject, around: Search) -> Finding | None:
    """What was seen in the queues for a record, and why it is still there; None where nothing was."""
    routed = [each for each in subject.waiting if each.routed]
    if not subject.waiting:
        return None
    where = f"waits in {(routed or subject.waiting)[0].queue}"
    if held := _held(subject, around, where):
        return held
    retrying = next((each for each in routed if _is_retry(each, around)), None)
    if retrying:
        when = f"next at {timestamp(retrying.due)}" if retrying.due else "next at any moment"
        tries = f"{retrying.attempt} counted {'try' if retrying.attempt == 1 else 'tries'}"
        return attention(
            f"{subject} could not be synced yet and is tried again ({tries} so far), {when}",
            "see the last errors in msisync status, and whether Marketo and Dynamics are well: msisync doctor",
            code="Retrying",
        )
    if routed:
        return attention(f"{subject} {where} for its turn", AGAIN, code="Queued")
    return attention(
        f"a change of {subject} {where} and has not been read by the app",
        f"{AGAIN}; if it stays, see whether the app runs: msisync status",
        code="NotSentYet",
    )


def _held(subject: Subject, around: Search, where: str) -> Finding | None:
    """What keeps all of its kind: the causes that the app has noted, each with its own end."""
    if around.silent:
        return attention(f"{subject} {where}, and {around.silent}", APP_SILENT, code="AppSilent")
    for name in (DATAVERSE, subject.entity.name):
        if outage := around.outages.get(name):
            text = f"{subject} {where}: no calls for {name} since {timestamp(outage.since)} ({outage.reason})"
            when = f"tried again automatically at {timestamp(outage.until)}"
            return attention(f"{text}; {when}", "wait for that; if it lasts, msisync doctor", code="Outage")
    if closed := around.closed:
        text = f"{subject} {where}: Marketo is not called ({closed.reason}), until {timestamp(closed.opens)}"
        return attention(text, "it goes on automatically then; or raise MARKETO_DAILY_SHARE", code="Outage")
    return None


def _is_retry(waiting: Waiting, around: Search) -> bool:
    if waiting.attempt:
        return True
    if waiting.due is None:
        return False
    old = waiting.first_seen is not None and around.at - waiting.first_seen > 3 * around.burst
    return old or waiting.due - around.at > around.burst


def unseen_of(subject: Subject, around: Search) -> list[Unseen]:
    """The queues that may hold something of a record, and could not be looked through."""
    own = ("", subject.entity.name)
    return [each for each in around.unseen if each.entity in own and not each.is_empty]


def perhaps_queued(subject: Subject, around: Search) -> Finding | None:
    """What a queue may hold for a record that was seen nowhere; None where every queue could be looked through."""
    hidden = [each for each in unseen_of(subject, around) if each.moves]
    paused = next((each for each in hidden if each.resume), None)
    if paused:
        text = f"{paused.queue} is paused, and {subject} may be among its {_messages(paused)}"
        return attention(text, paused.resume, code="Paused")
    known = next((each for each in hidden if each.active is not None), None)
    if known is None:
        return None
    text = f"{subject} may be among the {_messages(known)} of {known.queue}: {known.why}"
    return attention(text, AGAIN, code="Queued")


def _messages(unseen: Unseen) -> str:
    return "messages" if unseen.active is None else counted(unseen.active + (unseen.scheduled or 0), "message")
