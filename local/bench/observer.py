"""Looks at a running stack from outside: the simulators' control APIs, the host's counters, the queues."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from emulators.servicebus.administration import QueueCounts, administration
from local.bench.machine import cpu_by_session
from local.queues import NAMES
from local.stack import Stack
from local.world.model import World

_LONGEST_ANSWER = aiohttp.ClientTimeout(total=300)


class Observer:
    """One client for every control API of a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        addresses = stack.addresses
        self._marketo = f"http://127.0.0.1:{addresses.ports.marketo_control}"
        self._dataverse = f"http://127.0.0.1:{addresses.ports.dataverse_control}"
        self._host = f"http://127.0.0.1:{addresses.ports.functions}/admin/local"
        self._http = aiohttp.ClientSession(timeout=_LONGEST_ANSWER, raise_for_status=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def seed(self, world: World) -> None:
        """Put a world's rows into Dataverse, without notifications."""
        await self._ask("POST", f"{self._dataverse}/seed", json=world.seed_body())

    async def seed_marketo(self, records: dict[str, list[dict[str, Any]]]) -> None:
        """Put records into Marketo, as somebody else has made them."""
        await self._ask("POST", f"{self._marketo}/seed", json=records)

    async def marketo(self) -> dict[str, Any]:
        """Marketo's counters: calls, records, limits used, how many records are stored."""
        found: dict[str, Any] = await self._ask("GET", f"{self._marketo}/stats")
        return found

    async def stored(self) -> dict[str, dict[str, float]]:
        """When each Marketo record was first stored, by object and key."""
        found: dict[str, dict[str, float]] = await self._ask("GET", f"{self._marketo}/stored")
        return found

    async def person_keys(self) -> dict[str, str]:
        """The external key of each lead by its Marketo id."""
        leads: Any = await self._ask("GET", f"{self._marketo}/records/leads")
        return {str(lead["id"]): str(lead.get("externalPersonId")) for lead in leads}

    async def dataverse(self) -> dict[str, Any]:
        """Dataverse's counters."""
        found: dict[str, Any] = await self._ask("GET", f"{self._dataverse}/stats")
        return found

    async def host(self) -> dict[str, Any]:
        """The Functions host's counters since the last reset: invocations, processor time and memory."""
        found: dict[str, Any] = await self._ask("GET", f"{self._host}/stats", headers=self._key())
        return found

    async def reset(self) -> None:
        """Count from zero everywhere."""
        await self._ask("POST", f"{self._host}/stats/reset", headers=self._key())
        await self._ask("POST", f"{self._dataverse}/stats/reset")
        await self.reset_marketo()

    async def reset_marketo(self) -> None:
        """Count Marketo's calls from zero."""
        await self._ask("POST", f"{self._marketo}/stats/reset")

    async def start_sampling(self) -> None:
        """Have the worker count whose code its processor time goes to."""
        await self._ask("POST", f"{self._host}/profile/start", headers=self._key())

    async def stop_sampling(self) -> dict[str, int]:
        """End that, and return the samples by class of code; `own` is the app's."""
        samples: dict[str, int] = (await self._ask("POST", f"{self._host}/profile/stop", headers=self._key()))[
            "samples"
        ]
        return samples

    async def queues(self) -> dict[str, QueueCounts]:
        """What is in each queue, by its name in endpoints.json."""
        async with administration(self._stack.addresses.service_bus) as broker:
            found = await broker.counts()
        return {name: found[queue] for name, (_, queue) in NAMES.items()}

    def cpu(self) -> dict[str, float]:
        """Processor seconds of each part of the stack so far, its children included."""
        pids = {name: part.pid for name, part in self._stack.parts.items() if part.pid is not None}
        used = cpu_by_session(pids.values())
        return {name: used[pid] for name, pid in pids.items() if pid in used}

    def _key(self) -> Mapping[str, str]:
        return {"x-functions-key": self._stack.addresses.admin_key}

    async def _ask(self, method: str, url: str, **options: Any) -> Any:
        async with self._http.request(method, url, **options) as response:
            text = await response.read()
            return await response.json(content_type=None) if text else None
