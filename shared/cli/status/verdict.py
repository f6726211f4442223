"""What `msisync status` says first: whether all is well, or what needs attention most. Pure: facts in, verdict out."""

from __future__ import annotations

from ...sync.heartbeat import TIMER
from ..finding import Finding, age, attention, counted, failed, ok
from ..runs import group_of
from .facts import Status

_DOCTOR = "msisync doctor"


def judge(status: Status) -> Finding:
    """The verdict: one sentence, how grave it is (as the exit code says), and in `remedy` what helps.

    `code` is AllIsWell, NeverRun, NeedsAttention or NotLookedAt. Of several things the cause is named, not its effects.
    """
    if status.unseen:
        return _not_looked_at(status)
    found = status.attentions
    if found:
        many = f"{len(found)} things need attention, first" if len(found) > 1 else "1 thing needs attention"
        return attention(f"{many}: {found[0].text}", found[0].remedy, code="NeedsAttention")
    if status.beats is not None and TIMER not in status.beats:
        return ok(f"{_flow(status).capitalize()}; the app has not run here yet", _DOCTOR, code="NeverRun")
    remedy = f"msisync {group_of(status.runs[0])} status" if status.runs else ""
    return ok(f"All is well: {_flow(status)}", remedy, code="AllIsWell")


def _not_looked_at(status: Status) -> Finding:
    """Worse than what needs attention: nobody knows."""
    why = next(iter(status.unseen.values()))
    names = [name for name, reason in status.unseen.items() if reason == why]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    found = len(status.attentions)
    also = f"; besides, {counted(found, 'thing')} {'needs' if found == 1 else 'need'} attention" if found else ""
    return failed(f"{names[0]}{more} could not be looked at: {why}{also}", _DOCTOR, code="NotLookedAt")


def _flow(status: Status) -> str:
    """What is on its way, and what has gone through."""
    waiting = sum(queue.waiting or 0 for queue in status.queues if queue is not status.dead_letters)
    oldest = min((queue.oldest for queue in status.queues if queue.oldest), default=None)
    since = f", the oldest change for {age(status.at - oldest)}" if waiting and oldest else ""
    parked = sum(entity.parked.count for entity in status.entities.values())
    synced = sum(entity.last_hour.get("synced", 0) for entity in status.entities.values())
    said = [
        f"{counted(waiting, 'message')} {'waits' if waiting == 1 else 'wait'}{since}" if waiting else "nothing waits",
        *([f"{counted(parked, 'record')} {'is' if parked == 1 else 'are'} parked"] if parked else []),
        f"{counted(synced, 'record')} synced in the last hour",
        *([f"{counted(len(status.runs), 'long run')} in progress"] if status.runs else []),
    ]
    return "; ".join(said)
