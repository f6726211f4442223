"""A vendor that is away or not, instances of the app that call it, and the state that they share."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any

from shared.model.codes import Kind
from shared.model.errors import MarketoError, StorageUnavailableError, VendorError
from shared.sync.circuit_breaker import KIND, Circuits
from tests.support.clocks import WallClock

MINUTE = 60.0


class Storage:
    """The shared state in memory, as shared/azure/shared_state.py gives it; it may be away."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.writes = 0
        self.away = False

    def _reach(self, kind: str) -> None:
        assert kind == KIND
        if self.away:
            raise StorageUnavailableError("ServiceRequestError")

    async def all(self, kind: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self._reach(kind)
        for name, value in list(self.rows.items()):
            await asyncio.sleep(0)
            yield name, json.loads(value)

    async def change(
        self, kind: str, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        self._reach(kind)
        await asyncio.sleep(0)  # so that others come in between
        while True:
            before = self.rows.get(name)
            after = change(json.loads(before) if before else {})
            await asyncio.sleep(0)
            if self.rows.get(name) != before:
                continue  # another instance was faster
            if after is not None:
                self.writes += 1
                self.rows[name] = json.dumps(after)
            return dict(after or {})

    async def remove(self, kind: str, name: str) -> None:
        self._reach(kind)
        self.rows.pop(name, None)


class World:
    """A vendor that is away or not, and instances of the app that call it."""

    def __init__(self, instances: int = 1) -> None:
        self.clock = WallClock()
        self.storage = Storage()
        self.error: VendorError | None = gateway()
        state: Any = self.storage
        self.instances = [Circuits(state, seconds=MINUTE, now=self.clock) for _ in range(instances)]
        self.calls: list[tuple[datetime, int]] = []

    async def call(self, circuits: Circuits, system: str = "marketo") -> None:
        async with circuits.call(system) as tries:
            self.calls.append((self.clock.now, min(tries, 3)))
            await asyncio.sleep(0)
            if self.error:
                raise self.error

    async def work(
        self, instance: int = 0, entity: str = "person", *, system: str = "marketo", count: int = 1000
    ) -> int:
        """One invocation that makes a call for the records that it may work on. Gives how many went through."""
        circuits = self.instances[instance]
        done, waiting = 0, list(range(count))
        async with circuits.turn(entity) as turn:
            while waiting:
                group, waiting = await circuits.admit(turn, waiting, 300)
                if not group:
                    break
                try:
                    await self.call(circuits, system)
                    done += len(group)
                except VendorError:
                    continue
                finally:
                    await circuits.probed(turn)
        return done


def gateway(kind: Kind = Kind.TRANSIENT, **facts: Any) -> MarketoError:
    return MarketoError("502", "bad gateway", kind=kind, **facts)
