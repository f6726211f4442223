"""What the SDKs of Azure raise, in the product's own errors: the only place that catches theirs as such."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from ..model.errors import BrokerUnavailableError, StorageUnavailableError, cause_of
from . import sdk


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raises StorageUnavailableError for what the SDK of Table Storage, or its connection, raises."""
    try:
        yield
    except (sdk.core_errors.AzureError, OSError) as error:
        status = getattr(error, "status_code", None)
        is_signed_out = status is None and isinstance(error, sdk.core_errors.ClientAuthenticationError)
        raise StorageUnavailableError(type(error).__name__, status, is_signed_out=is_signed_out) from error


def storage_within(seconds: float) -> AbstractAsyncContextManager[None]:
    """The same, and raises StorageUnavailableError for work that takes longer than this."""
    return _Within(seconds)


def best_effort(
    seconds: float, log: logging.Logger, event: str, *args: object
) -> AbstractAsyncContextManager[None, bool]:
    """The same for work that nothing depends on: instead of raising, it logs the event, and what follows goes on.

    A row that cannot be read (ValueError) is treated alike.
    """
    return _Within(seconds, lambda error: log.warning(f"{event} error=%s", *args, cause_of(error)))


@contextmanager
def broker_errors() -> Iterator[None]:
    """Raises BrokerUnavailableError for what the SDK of Service Bus, or its connection, raises."""
    try:
        yield
    except (sdk.core_errors.AzureError, OSError) as error:
        raise BrokerUnavailableError(type(error).__name__) from error


class _Within:
    """A timeout whose errors are storage's. No generator: the end of a process would leave it unfinished."""

    def __init__(self, seconds: float, report: Callable[[Exception], None] | None = None) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._report = report

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        try:
            with storage_errors():
                await self._timeout.__aexit__(kind, error, trace)
                if isinstance(error, Exception):
                    raise error
        except (StorageUnavailableError, ValueError) as away:
            if self._report is None:
                raise
            self._report(away)
            return True
        return False
