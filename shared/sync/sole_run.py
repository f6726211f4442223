"""One run at a time over all instances: a lease that its holder renews; who is cut off loses it in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..azure.shared_state import State
from ..model.errors import MsiSyncError, StorageUnavailableError
from . import lease

log = logging.getLogger(__name__)

LASTS_SECONDS = 60.0
#: Several tries fit into the time that it lasts.
RENEW_SECONDS = 15.0


class LeaseLostError(MsiSyncError):
    """Another run may have begun: this one has been stopped."""


class SoleRun:
    """The lease as one holder sees it."""

    def __init__(
        self, state: State, *, instance_id: str, clock: Callable[[], float], kind: str, name: str = "lease"
    ) -> None:
        """`kind`, `name`: the row of the shared state that stands for the right to run."""
        self._row = lease.Lease(state, name, instance_id=instance_id, lasts=LASTS_SECONDS, clock=clock, kind=kind)
        self._kind = kind
        self._here = False
        self._lost = False

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Whether the run may go on; while it does, nobody else runs, in this process neither.

        Raises LeaseLostError when the lease is lost: the run is cut off wherever it is.
        """
        if self._here or await self._row.take() > 0:
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
            with suppress(StorageUnavailableError):  # then it ends automatically
                await self._row.give_back()

    async def _keep(self, run: asyncio.Task[Any] | None) -> None:
        while self._row.left > 0:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(StorageUnavailableError):  # the next try may reach storage
                if await self._row.take() > 0:
                    break
        log.error("lease_lost of=%s", self._kind)
        if run:
            self._lost = True
            run.cancel()
