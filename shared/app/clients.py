"""The two vendors' clients, as the app and the commands use them."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from functools import lru_cache

import httpx

from ..config.settings import DataverseSettings, MarketoSettings
from ..config.sync_toml import SyncConfig
from ..dataverse.auth import DataverseAuth
from ..dataverse.client import DataverseClient
from ..marketo.auth import MarketoAuth
from ..marketo.client import MarketoClient
from ..marketo.limiter import Pacer
from ..marketo.quota import Budget
from ..model.entities import ENTITIES
from ..transport.client import Guard

CONNECT_SECONDS = 10.0


def dataverse_client(given: DataverseSettings, guard: Guard | None = None) -> DataverseClient:
    """A client of the environment, not yet connected."""
    http = _http(given.url, DataverseClient.timeout_seconds)
    auth = DataverseAuth(given, http, clock=time.monotonic)
    return DataverseClient(http, auth, clock=time.monotonic, sleep=asyncio.sleep, guard=guard)


def marketo_client(
    given: MarketoSettings, rules: SyncConfig, budget: Budget | None = None, guard: Guard | None = None
) -> MarketoClient:
    """A client of the Marketo instance, not yet connected, that stays within the budget."""
    http = _http(given.url, MarketoClient.timeout_seconds)
    clock, sleep = time.monotonic, asyncio.sleep
    auth = MarketoAuth(http, given.client_id, given.client_secret, clock=clock, sleep=sleep)
    pacer = Pacer(given.calls_per_20_seconds, given.concurrency, clock=clock, sleep=sleep, budget=budget)
    keys = {name: fields[0] for name in ENTITIES if (fields := rules.key_fields(name))}
    partition = rules.person.partition
    return MarketoClient(
        http, auth, pacer, clock=clock, sleep=sleep, keys=keys, partition=partition, guard=guard, budget=budget
    )


def _http(url: str, seconds: float) -> httpx.AsyncClient:
    trusted = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS), verify=trusted)


@lru_cache(maxsize=1)
def _trusted(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Whom httpx trusts with these variables. Left alone, it reads the list of them for each client and each proxy."""
    return httpx.create_ssl_context()
