"""One circuit as a value: closed (None), open, or due for a probe. Pure: shared/sync/circuit_breaker.py keeps them.

closed ──(a call fails as others would)──▸ open ──(its time is over)──▸ due ──▸ one probe
   ▴                                        ▴                                     │
   └──────(the vendor answers)──────────────┼─────────────────────────────────────┤
                                            └──(it fails: twice as long)──────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..azure.shared_state import parsed
from ..marketo.batching import MAX_PER_CALL
from ..marketo.usage import QUOTA_SPENT
from ..model.clock import AHEAD
from ..model.codes import Kind
from ..model.errors import DataverseError, MarketoError, VendorError
from ..model.record import Stamp, timestamp
from ..transport.retry_after import LONGEST_SECONDS

#: The longest time to the next probe, in times of the first one.
LONGEST = 5
#: Records that come again at the same moment when a circuit may close: they fill a call. The next ones come a second
#: later for each call that has failed, up to so many: the longer the vendor has been away, the fewer meet each probe.
TOGETHER = MAX_PER_CALL
SLOWEST = 4
#: The longest time over which they are spread.
SPREAD_SECONDS = 900
#: An open circuit that nobody has tried again for so long is a host's that is gone.
FORGOTTEN = timedelta(hours=1)
#: When the day's quota is used up and nobody knows for how long.
DAILY_SECONDS = 900.0
#: Marketo's own refusal lasts until its day ends, at most so many seconds.
LONGEST_DAILY = 25 * 3600.0

#: Errors after which other calls would fail as well.
OUTAGES = {
    "marketo": frozenset({Kind.TRANSIENT, Kind.TOKEN, Kind.CONFIGURATION, Kind.DAILY}),
    "dataverse": frozenset({Kind.TRANSIENT, Kind.TOKEN}),
}
#: Those of them that a single record may cause.
OF_RECORDS = frozenset({Kind.TRANSIENT, Kind.CONFIGURATION})
#: Errors that only a vendor in good health gives.
ANSWERS = {
    "marketo": frozenset({Kind.PERMANENT, Kind.MISSING_PARENT, Kind.FIELD, Kind.AMBIGUOUS, Kind.GONE, Kind.OK}),
    "dataverse": frozenset({Kind.PERMANENT, Kind.GONE, Kind.CONFIGURATION}),
}


@dataclass(frozen=True, slots=True)
class Outage:
    """An open circuit: since when, until which moment nobody calls, why (for people), and how many probes (and the
    first call) have failed, the last one with this code.
    """

    since: Stamp
    until: Stamp
    reason: str
    failures: int = 1
    code: str = ""

    @classmethod
    def after(cls, before: Outage | None, error: VendorError, now: datetime, first: float) -> Outage:
        """After a call, or a probe of the circuit as it was `before`, has failed. `first`: seconds of the first one."""
        failures = before.failures + 1 if before else 1
        seconds = first * min(1 << min(failures - 1, 10), LONGEST)
        if error.kind is Kind.DAILY:
            seconds = error.retry_after or DAILY_SECONDS
        elif error.retry_after:  # the vendor knows better when a probe makes sense
            seconds = max(seconds, error.retry_after)
        until = now + timedelta(seconds=seconds)
        return cls(before.since if before else now, until, f"{error.system} {error}", failures, error.code)

    @property
    def probe(self) -> int:
        """Records of a probe: half as many after each that has failed, for a few of them may be the cause."""
        return max(1, MAX_PER_CALL >> (self.failures - 1))

    def is_open(self, now: datetime) -> bool:
        """Whether nobody may call; otherwise a probe is due."""
        return self.until > now

    def wait(self, place: int, now: datetime) -> float:
        """Seconds that a record waits which is so far back among those that wait for the end."""
        calls = place // TOGETHER * min(self.failures, SLOWEST)
        return (self.until - now).total_seconds() + min(calls, SPREAD_SECONDS)

    def is_from_the_future(self, now: datetime, first: float) -> bool:
        """Whether a clock that is far ahead has written it: nobody else would have it begin, or last, that late."""
        longest = LONGEST_DAILY if self.code == QUOTA_SPENT else max(first * LONGEST, LONGEST_SECONDS)
        return self.since > now + AHEAD or self.until > now + AHEAD + timedelta(seconds=longest)

    def refusal(self, system: str, now: datetime) -> VendorError:
        """What somebody gets who wants to call."""
        kind = DataverseError if system == "dataverse" else MarketoError
        return kind(
            "CircuitOpen",
            f"not called since {timestamp(self.since)}: {self.reason}",
            kind=Kind.TRANSIENT,
            retry_after=max(0.0, (self.until - now).total_seconds()),
        )


def still_open(rows: Mapping[str, Mapping[str, Any]], now: datetime) -> dict[str, Outage]:
    """The open circuits of the shared state's rows."""
    outages = {name: parsed(Outage, value) for name, value in rows.items()}
    return {name: outage for name, outage in outages.items() if outage and outage.until > now - FORGOTTEN}
