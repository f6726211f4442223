"""The product's clients of both simulators: signed in, and not slowed down."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from emulators.dataverse import constants
from emulators.dataverse.harness import Running
from emulators.marketo.harness import Marketo
from shared.dataverse.client import DataverseClient
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer


class _SignedIn:
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token()

    def refuse(self, _token: str) -> None:
        raise AssertionError("the token was refused")


def dataverse_of(dynamics: Running) -> DataverseClient:
    http = httpx.AsyncClient(base_url=constants.ORGANIZATION_URL, transport=dynamics.transport())
    auth: Any = _SignedIn(dynamics.access_token)
    return DataverseClient(http, auth, clock=asyncio.get_running_loop().time, sleep=asyncio.sleep)


def marketo_of(marketo: Marketo) -> MarketoClient:
    auth: Any = _SignedIn(lambda: marketo.rest.headers["Authorization"].removeprefix("Bearer "))
    clock = asyncio.get_running_loop().time
    pacer = Pacer(10_000, 10, clock=clock, sleep=asyncio.sleep)
    return MarketoClient(marketo.rest, auth, pacer, clock=clock, sleep=asyncio.sleep)
