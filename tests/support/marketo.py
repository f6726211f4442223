"""Marketo behind a mock transport: prepared replies, and its client with a clock that sleeping moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from shared.marketo.answers import Result
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient, Write
from shared.model.entities import ENTITIES
from shared.model.errors import MarketoError
from tests.support.replies import Replies, Reply, given

SECRET = "mk-s3cret-0003"
PERSON, COMPANY, ROLE = ENTITIES["person"], ENTITIES["company"], ENTITIES["opportunity_role"]
FAR = 10_000.0


def ok(result: list[Any] | None = None, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"requestId": "e42b#1", "success": True, "result": result or []} | more)


def refusal(code: str, message: str = "") -> httpx.Response:
    error = {"code": code, "message": message}
    return httpx.Response(200, json={"requestId": "e42b#2", "success": False, "errors": [error]})


def token(value: str, expires_in: float = 3599) -> httpx.Response:
    return httpx.Response(200, json={"access_token": value, "token_type": "bearer", "expires_in": expires_in})


class World(Replies):
    """A Marketo that gives the prepared replies in turn, a clock that sleeping moves, a pacer that admits everyone."""

    def __init__(self, *replies: Reply, tokens: list[Reply] | None = None, keys: dict[str, str] | None = None) -> None:
        super().__init__(*replies)
        self.tokens = tokens or []
        self.sign_ins: list[httpx.Request] = []
        self.closed: list[float] = []
        self.begun = 0
        self.stopped: MarketoError | None = None
        self.queue_seconds = 0.0
        http = self.http("https://123-abc-456.mktorest.com")
        self.auth = MarketoAuth(http, "client-id", SecretStr(SECRET), clock=self.clock, sleep=self.sleep)
        pacer: Any = self
        self.client = MarketoClient(http, self.auth, pacer, clock=self.clock, sleep=self.sleep, keys=keys or {})

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/identity/oauth/token":
            return super().answer(request)
        self.sign_ins.append(request)
        return given(self.tokens.pop(0) if self.tokens else token(f"token-{len(self.sign_ins)}"))

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        self.now += self.queue_seconds
        yield

    def close_for(self, seconds: float) -> None:
        self.closed.append(seconds)

    async def upsert(self, *bodies: bytes, deadline: float = FAR) -> list[Result]:
        return await self.client.write(COMPANY, bodies or (b"{}",), Write.UPSERT, deadline=deadline, begin=self.begin)

    async def begin(self) -> None:
        self.begun += 1
        if self.stopped:
            raise self.stopped

    async def refused(self, **given: Any) -> MarketoError:
        with pytest.raises(MarketoError) as refused:
            await self.upsert(**given)
        return refused.value

    @property
    def bearers(self) -> list[str]:
        return [request.headers["Authorization"] for request in self.requests]
