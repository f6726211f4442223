"""The check of the app itself: whether its functions run, which every other check cannot tell."""

from __future__ import annotations

from datetime import UTC, datetime

from ...config.version import deployed
from ...model.clock import AHEAD
from ...model.errors import StorageUnavailableError
from ...sync.heartbeat import KIND, LATE_LEAST, TIMER, Beat, beat_of, interval, silence
from ..finding import Finding, attention, failed, ok
from ..status.facts import APP_SILENT, age
from ..status.look import rows_of
from .runner import Check, Subject

GROUP = "App"


async def _alive(subject: Subject) -> Finding:
    """The minute timer's note in the shared table, against its schedule."""
    try:
        rows = await rows_of(subject.context, KIND)
    except StorageUnavailableError as error:
        return attention(f"its notes cannot be read ({error.cause})", "see the check storage")
    schedule = subject.context.environment.get("RELEASE_SCHEDULE", "")
    beat = beat_of(rows.get(TIMER, {}))
    return finding(beat, schedule, datetime.fromtimestamp(subject.clock(), UTC))


def finding(beat: Beat | None, schedule: str, now: datetime) -> Finding:
    """What a note says at this moment."""
    if beat is None:
        if interval(schedule) is None:
            return ok(f"nothing can be told: {TIMER} runs seldom (RELEASE_SCHEDULE)")
        return attention(
            f"{TIMER} has never run here",
            f"deploy and start it, then ask again in a minute; else {APP_SILENT}",
        )
    if beat.at > now + AHEAD:
        return attention(
            f"{TIMER} has run in the future, {beat.at:%Y-%m-%d %H:%M} UTC",
            "set the clock of the app's machine, or of this one, right; see docs/troubleshooting.md#clocks",
        )
    silent = silence(beat, schedule, now)
    if silent:
        return failed(f"{TIMER} has not run for {age(silent)}; version {beat.version or '?'}", APP_SILENT)
    here = deployed()
    version = f"version {beat.version or '?'}" + ("" if beat.version == here else f", this msisync is {here}")
    when = "now" if now - beat.at < LATE_LEAST else f"{age(now - beat.at)} ago"
    return ok(f"{TIMER} has run {when}; {version}")


CHECKS = (Check("app", GROUP, "Runs", _alive, needs=("settings",), after=("storage",)),)
