"""What a command works with: settings, sync.toml and the clients, each made when a command first asks for it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..app.clients import dataverse_client, marketo_client
from ..azure import sdk, service_bus
from ..azure.errors import storage_within
from ..azure.history_tables import HistoryTables
from ..azure.parked_table import Store
from ..azure.service_bus import Bus
from ..azure.shared_state import State
from ..azure.table import Account
from ..config import settings, sync_toml
from ..config.settings import Settings
from ..config.sync_toml import SyncConfig
from ..dataverse.client import DataverseClient
from ..dataverse.metadata import Metadata
from ..marketo.client import MarketoClient
from ..marketo.quota import Budget
from ..model.errors import ConfigurationError, MsiSyncError, StorageUnavailableError
from ..sync.history_log import History
from ..sync.lease import Leases
from ..sync.reference_state import ReferenceState
from ..sync.runs.store import Runs
from ..sync.schema import Schema

SETTINGS_FILE = "local.settings.json"
#: The environment variable that names another file.
SETTINGS_VARIABLE = "MSISYNC_SETTINGS"
#: The code of the error where there are no settings at all.
NO_SETTINGS = "NoSettings"
#: An operator waits for the answer: the SDKs' own patience is too long.
_FEW_TRIES: dict[str, Any] = {"retry_total": 1}
#: The same for storage, which is asked for a page at most.
OPTIONS_OF_STORAGE: dict[str, Any] = {**_FEW_TRIES, "connection_timeout": 5, "read_timeout": 10}
#: How long storage may take to tell the running app that it is to read anew.
RENEWAL_SECONDS = 10.0
#: What is closed in the end, if it was opened: all side by side, but what needs another one before that.
_CLOSED = (
    ("history", "account"),
    ("dataverse",),
    ("marketo",),
    ("outgoing", "bus"),
    ("bus_administration",),
)


class Context:
    """Settings and clients of one command. Reading an attribute raises ConfigurationError when it cannot be had."""

    def __init__(self, environment: Mapping[str, str] = os.environ, *, missing_file: Path | None = None) -> None:
        self.environment = environment
        self._missing_file = missing_file  # where a settings file was looked for in vain

    @cached_property
    def settings(self) -> Settings:
        """The app settings; every problem of them is in the error. Where there are none at all, that is the problem."""
        try:
            return settings.load(self.environment)
        except ConfigurationError:
            if self._missing_file and not settings.any_given(self.environment):
                raise ConfigurationError(NO_SETTINGS, _no_settings(self._missing_file)) from None
            raise

    @cached_property
    def config(self) -> SyncConfig:
        """sync.toml."""
        return sync_toml.load(self.settings.sync.config)

    @cached_property
    def dataverse(self) -> DataverseClient:
        """A client of Dataverse."""
        return dataverse_client(self.settings.dataverse)

    @cached_property
    def metadata(self) -> Metadata:
        """The tables of Dataverse."""
        return Metadata(self.dataverse)

    @cached_property
    def marketo(self) -> MarketoClient:
        """A client of Marketo. Its calls count as the app's, but the app's share does not bind them."""
        return marketo_client(self.settings.marketo, self.config, self.budget)

    @cached_property
    def schema(self) -> Schema:
        """The tables of sync.toml, as both systems have them."""
        return Schema(self.config, self.metadata, self.marketo, clock=time.monotonic)

    @cached_property
    def leases(self) -> Leases:
        """The right to send records to Marketo, which the app has while it does."""
        longest = self.settings.marketo.longest_call
        return Leases(self.state, instance_id=uuid4().hex, longest_call=longest, clock=time.monotonic)

    @cached_property
    def budget(self) -> Budget:
        """The use of Marketo's day."""
        limits = self.settings.marketo
        return Budget(self.state, limits, instance_id="operator", now=lambda: datetime.now(UTC), operator=True)

    @cached_property
    def account(self) -> Account:
        """The storage account."""
        return Account(self.settings.storage, credential=lambda: self._credential, **OPTIONS_OF_STORAGE)

    @cached_property
    def state(self) -> State:
        """What the app's instances share."""
        return State(self.account.table(self.settings.storage.state_table))

    @cached_property
    def runs(self) -> Runs:
        """The long runs."""
        return Runs(self.state.table, now=lambda: datetime.now(UTC))

    @cached_property
    def bus(self) -> sdk.servicebus_aio.ServiceBusClient:
        """A client of the Service Bus namespace."""
        return service_bus.connect(self.settings.bus, lambda: self._credential, **_FEW_TRIES)

    @cached_property
    def outgoing(self) -> Bus:
        """Sends messages to the queues, as the app does."""
        return Bus(self.settings.bus, self.bus)

    @cached_property
    def bus_administration(self) -> sdk.bus_management_aio.ServiceBusAdministrationClient:
        """A client of the namespace's management; it needs the right to manage."""
        client = sdk.bus_management_aio.ServiceBusAdministrationClient
        if connection := self.settings.bus.connection.get_secret_value():
            return client.from_connection_string(connection)
        return client(self.settings.bus.namespace, self._credential)

    @cached_property
    def parked(self) -> Store:
        """The parked records."""
        return Store(self.account.table(self.settings.storage.parked_table))

    @cached_property
    def history_tables(self) -> HistoryTables:
        """The tables of the history."""
        return HistoryTables(self.account)

    @cached_property
    def history(self) -> History:
        """Keeps what operators do."""
        days = self.settings.storage.history_days
        return History(self.history_tables, days=days, now=lambda: datetime.now(UTC), clock=time.monotonic)

    @cached_property
    def _credential(self):  # type: ignore[no-untyped-def]
        return sdk.identity.DefaultAzureCredential()

    async def close(self) -> None:
        """Close every client that was opened."""
        await asyncio.gather(*map(self._close, _CLOSED))
        await self._close(["_credential"])  # the others sign in with it

    async def _close(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.__dict__:
                await self.__dict__[name].close()


def _no_settings(file: Path) -> str:
    return (
        f"there are no settings: the environment has none of them, and {file} does not exist\n"
        "run msisync where that file is, name another one with --settings FILE or MSISYNC_SETTINGS, or copy "
        "local.settings.example.json to it and fill it in"
    )


async def renew(context: Context, *what: str) -> str:
    """Have every process of the app read `what` ("rows" of users, teams and roles, "schema") anew at its next batch.

    Gives why it could not be told, empty when it was: then what it keeps is at most some minutes old.
    """
    try:
        async with storage_within(RENEWAL_SECONDS):
            for part in what:
                await ReferenceState(context.state).renew(part)
    except StorageUnavailableError as error:
        return error.cause
    except MsiSyncError as error:
        return error.code
    return ""


def not_told(why: str) -> str:
    """The line that says so."""
    return (
        f"Storage does not answer ({why}), so the running app could not be told to read users, roles and schema anew: "
        "it does so within some minutes, Marketo's fields within an hour"
    )
