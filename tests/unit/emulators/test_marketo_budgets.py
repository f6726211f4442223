"""The Marketo simulator's count of calls, without HTTP."""

from collections.abc import Callable

import pytest

from emulators.marketo.limits import Limits

ANEW: dict[str, Callable[[Limits], None]] = {"reset": Limits.reset, "set": lambda limits: limits.use_today(0)}


@pytest.mark.parametrize("how", ANEW)
def test_a_call_that_does_not_count_may_end_after_counting_started_anew(how: str) -> None:
    limits = Limits(lambda: 1_780_000_000.0, calls_per_window=100, concurrency=1, daily=10)
    slot = limits.admit()
    ANEW[how](limits)
    limits.release(slot, counted=False)
    assert limits.used_today() == 0
    limits.admit()
    assert limits.used_today() == 1
