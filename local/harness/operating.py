"""A running stack in the hands of those who operate it: app settings, registration, administrators' rights."""

import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from azure.servicebus import parse_connection_string
from rich.console import Console

from local.harness.secrets import TOKENS
from local.harness.system import System, running_system
from local.parts import MarketoLimits
from shared.cli.context import Context
from shared.cli.register.command import REGISTER, UNREGISTER
from shared.cli.register.wanted import NAME
from shared.dataverse.client import API
from shared.sync.heartbeat import TIMER, Heartbeat

ROOT = Path(__file__).parents[2]
#: What httpx, requests and the SDKs read from the process itself.
_NETWORK = (
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
#: Commands run more often in tests than Marketo would let them.
_LIMITS = MarketoLimits(calls_per_20s=10_000, concurrency=100)
_SECRETS = ("DATAVERSE_CLIENT_SECRET", "DATAVERSE_PASSWORD", "MARKETO_CLIENT_SECRET", "WEBHOOK_KEY")


@dataclass(frozen=True)
class Operator:
    """A healthy set-up: its stack, and the app settings that fit it."""

    system: System
    values: Mapping[str, str]

    @property
    def settings_file(self) -> Path:
        """The same settings as a file."""
        return self.system.stack.settings_file

    @asynccontextmanager
    async def context(self, **changes: str) -> AsyncIterator[Context]:
        """What a command works with, some settings changed; an empty one is as good as none."""
        context = Context({**self.values, **changes})
        try:
            yield context
        finally:
            await context.close()

    async def register(self, *options: str) -> None:
        """`msisync register --apply`, with more options."""
        await self._run(REGISTER, *options)

    async def unregister(self) -> None:
        """`msisync unregister --apply`."""
        await self._run(UNREGISTER)

    async def _run(self, command: Any, *options: str) -> None:
        given = command_line(command, "--apply", *options)
        async with self.context() as context:
            await command.run(context, given, Console(quiet=True))

    async def be_alive(self) -> None:
        """The note of the app's minute timer, for as long as tests take: no Functions host runs here."""
        async with self.context() as context:
            later = timedelta(minutes=45)
            heartbeat = Heartbeat(context.state, now=lambda: datetime.now(UTC) + later, clock=time.monotonic)
            await heartbeat.beat(TIMER)

    async def write(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Write one row through the Web API, as an administrator of Dynamics. Gives the id of a new one."""
        async with self.context() as context:
            return await context.dataverse.write(method, f"{API}/{path}", body)

    async def endpoint(self) -> str:
        """The id of the endpoint that `register` has made."""
        rows = await self.system.dataverse("/rows/serviceendpoint")
        return next(str(row["serviceendpointid"]) for row in rows if row["name"] == NAME)

    async def step(self, name: str) -> dict[str, Any]:
        """A step that `register` has made, such as "contact Update"."""
        rows = await self.system.dataverse("/rows/sdkmessageprocessingstep")
        return next(dict(row) for row in rows if row["name"] == f"{NAME}: {name}")

    async def change_queue(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set attributes of a queue, as an administrator of the namespace. Gives what they were."""
        async with self.context() as context:
            queue = await context.bus_administration.get_queue(name)
            before = {attribute: getattr(queue, attribute) for attribute in changes}
            for attribute, value in changes.items():
                setattr(queue, attribute, value)
            await context.bus_administration.update_queue(queue)
        return before

    def secrets_in(self, text: str) -> list[str]:
        """Names of the secrets that occur in a text, and what looks like a token."""
        storage = dict(part.split("=", 1) for part in self.values["AzureWebJobsStorage"].split(";") if part)
        known = {name: self.values[name] for name in _SECRETS} | {"the storage key": storage["AccountKey"]}
        for name in ("ServiceBusConnection", "CHANGES_SEND_CONNECTION"):
            known[f"the key of {name}"] = str(parse_connection_string(self.values[name]).shared_access_key)
        named = [name for name, secret in known.items() if secret in text]
        return named + [found.group() for pattern in TOKENS for found in pattern.finditer(text)]


def command_line(command: Any, *arguments: str) -> Any:
    """The arguments of a command as its own parser reads them."""
    from shared.cli.main import parser  # noqa: PLC0415  (it imports every command)

    return parser((command,)).parse_args([*command.name.split(), *arguments])


@asynccontextmanager
async def operated_system(directory: Path, **options: Any) -> AsyncIterator[Operator]:
    """A stack without Functions hosts, with the sample company, its users in Marketo, and everything registered.

    While it runs, this process finds its way to the simulators. `options` are Stack's.
    """
    async with running_system(directory, with_functions=False, marketo=_LIMITS, **options) as system:
        values = json.loads(system.stack.settings_file.read_text())["Values"]
        values["SYNC_CONFIG"] = str(ROOT / "sync.toml")
        trusted = ssl.create_default_context(cafile=values["SSL_CERT_FILE"])
        with (
            patch.dict(os.environ, {name: values[name] for name in _NETWORK}),
            # aiohttp read what it trusts when it was imported, which in a test run was long ago.
            patch("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusted),
        ):
            await system.dataverse("/sample", {})
            users = [user for user in await system.dataverse("/rows/systemuser") if user.get("internalemailaddress")]
            persons = [
                {"externalSalesPersonId": user["systemuserid"], "email": user["internalemailaddress"]} for user in users
            ]
            await system.marketo("/seed", {"salespersons": persons})
            operator = Operator(system, values)
            await operator.register()
            await operator.be_alive()
            yield operator
