"""How long a vendor asks to wait: HTTP's Retry-After, in every form that RFC 9110 allows (10.2.3 and 5.6.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from ..model.ids_and_times import http_date

#: A vendor that asks for a longer wait is still asked again: one header must not stop the sync for a day.
LONGEST_SECONDS = 900.0

_SECONDS = re.compile(r"[0-9]{1,400}(?:\.[0-9]{0,9})?", re.ASCII)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """The seconds that an answer asks to wait, at most LONGEST_SECONDS; None when it has no readable Retry-After.

    `headers` by lower-case name. A date counts from the answer's own Date, so this machine's clock may be wrong; `now`
    is for answers without one. A date in the past means no wait.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_SECONDS)
    until = http_date(text)
    if until is None:
        return None
    answered = http_date(headers.get("date", "")) or now or datetime.now(UTC)
    return min(max(0.0, (until - answered).total_seconds()), LONGEST_SECONDS)
