"""One run at a time over all instances: a row of the state that its holder renews; who is cut off loses it in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.errors import MsiSyncError
from shared.records import timestamp
from shared.write_back.plan import KIND

if TYPE_CHECKING:
    from shared.state import State

log = logging.getLogger(__name__)

ROW = "lease"
LASTS = timedelta(seconds=60)
#: Several tries fit into the time that it lasts.
RENEW_SECONDS = 15.0


class LeaseLostError(MsiSyncError):
    """Another run may have begun: this one has been stopped."""


class Lease:
    """The lease as one holder sees it."""

    def __init__(self, state: State, *, me: str, now: Callable[[], datetime]) -> None:
        self._state = state
        self._me = me
        self._now = now
        self._here = False
        self._lost = False

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Whether the run may go on; while it does, nobody else runs, in this process neither.

        Raises LeaseLostError when the lease is lost: the run is cut off wherever it is.
        """
        if self._here or not await self._take():
            yield False
            return
        self._here, self._lost = True, False
        run = asyncio.current_task()
        keeper = asyncio.create_task(self._keep(run))
        try:
            yield True
        except asyncio.CancelledError:
            # The Functions worker takes errors for an invocation's end, but not this.
            if not self._lost or run is None or run.uncancel():
                raise
            raise LeaseLostError("LeaseLost", "storage was away too long; the next run goes on where it was") from None
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            self._here = False
            await self._give_back()

    async def _take(self) -> bool:
        taken = False

        def take(value: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal taken
            now = self._now()
            taken = value.get("owner") in (None, self._me) or str(value.get("until")) <= timestamp(now)
            return {"owner": self._me, "until": timestamp(now + LASTS)} if taken else None

        await self._state.change(KIND, ROW, take)
        return taken

    async def _keep(self, run: asyncio.Task[Any] | None) -> None:
        from azure.core.exceptions import AzureError  # noqa: PLC0415  (cold start)

        lost = self._now() + LASTS
        while self._now() < lost:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(AzureError, OSError):  # the next try may reach storage
                if not await self._take():
                    break
                lost = self._now() + LASTS
        log.error("write_back_lease_lost")
        if run:
            self._lost = True
            run.cancel()

    async def _give_back(self) -> None:
        from azure.core.exceptions import AzureError  # noqa: PLC0415  (cold start)

        def give_back(value: dict[str, Any]) -> dict[str, Any] | None:
            return {"owner": None, "until": ""} if value.get("owner") == self._me else None

        with suppress(AzureError, OSError):  # then it ends by itself
            await self._state.change(KIND, ROW, give_back)
