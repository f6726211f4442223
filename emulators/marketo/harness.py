"""An instance in this process with a client at hand, for tests."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from emulators.marketo.control import Control
from emulators.marketo.identity import CLIENT_ID, CLIENT_SECRET
from emulators.marketo.instance import Instance
from emulators.marketo.server import HOST, Gateway, listen


@dataclass(frozen=True)
class Marketo:
    """A running instance with an authorised REST client and a client of its control API."""

    instance: Instance
    rest: httpx.AsyncClient
    control: httpx.AsyncClient

    async def authorise(self) -> None:
        """Fetch the token and send it with every further REST call."""
        self.rest.headers["Authorization"] = f"Bearer {(await self.token())['access_token']}"

    async def token(self) -> dict[str, Any]:
        """Ask the identity service."""
        form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return _content(await self.rest.post("/identity/oauth/token", data=form))

    async def sync(self, path: str, records: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """Create or update (or, with a path that ends in /delete, delete) records."""
        return _content(await self.rest.post(f"/rest/v1/{path}.json", json={**options, "input": records}))

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Query."""
        return _content(await self.rest.get(f"/rest/v1/{path}.json", params=params))

    async def fault(self, kind: str, **details: Any) -> None:
        """Queue a fault."""
        (await self.control.post("/faults", json={"kind": kind, **details})).raise_for_status()

    async def switch(self, **switches: Any) -> None:
        """Change switches."""
        (await self.control.post("/switches", json=switches)).raise_for_status()


@asynccontextmanager
async def running(instance: Instance) -> AsyncIterator[Marketo]:
    """Serve the instance on free ports without TLS, calls taking no time, and authorise a client."""
    instance.switch({"write_latency_ms": 0, "write_latency_ms_per_record": 0, "read_latency_ms": 0})
    # Loading the trusted certificates for nothing would cost more than most tests.
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    gateway, port = await listen(Gateway(instance).application(), 0)
    control, control_port = await listen(Control(instance).application(), 0)
    try:
        async with (
            httpx.AsyncClient(base_url=f"http://{HOST}:{port}", trust_env=False, verify=no_tls) as rest,
            httpx.AsyncClient(base_url=f"http://{HOST}:{control_port}", trust_env=False, verify=no_tls) as controls,
        ):
            marketo = Marketo(instance, rest, controls)
            await marketo.authorise()
            yield marketo
    finally:
        await gateway.cleanup()
        await control.cleanup()


def _content(response: httpx.Response) -> dict[str, Any]:
    content = response.json()
    assert isinstance(content, dict)  # noqa: S101 (narrows the type; Marketo answers with objects only)
    return content
