"""Tests that run in a time that passes only when everybody waits."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from local.virtual import Time


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let a test run in virtual time: that of the fixture `time`, which the test's folder must have.

    The test gets it as its argument `time`. It must not do real input or output.
    """

    @wraps(test)
    def run(time: Time, **fixtures: Any) -> None:
        time.run(test(time=time, **fixtures))

    return run
