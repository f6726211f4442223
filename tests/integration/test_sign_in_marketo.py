"""Signing in to the Marketo simulator over TLS: many callers at once share a token, a refusal, a renewal."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import trustme
from pydantic import SecretStr

from emulators.marketo.identity import CLIENT_ID, CLIENT_SECRET
from emulators.marketo.instance import Instance
from emulators.marketo.server import Gateway, listen
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.model.entities import ENTITIES
from shared.model.errors import SignInError


@dataclass
class Site:
    """The simulator, a client of it, and the clock of both."""

    instance: Instance
    http: httpx.AsyncClient
    clock: list[float]

    def auth(self, secret: str = CLIENT_SECRET) -> MarketoAuth:
        return MarketoAuth(self.http, CLIENT_ID, SecretStr(secret), clock=lambda: self.clock[0], sleep=self.sleep)

    def client(self, auth: MarketoAuth) -> MarketoClient:
        pacer = Pacer(100, 10, clock=lambda: self.clock[0], sleep=self.sleep)
        return MarketoClient(self.http, auth, pacer, clock=lambda: self.clock[0], sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.clock[0] += seconds
        await asyncio.sleep(0)

    @property
    def sign_ins(self) -> int:
        return self.instance.stats.identity_calls


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    clock = [1_800_000_000.0]
    instance = Instance(now=lambda: clock[0])
    authority = trustme.CA()
    served, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(trusted)
    gateway, port = await listen(Gateway(instance).application(), 0, served)
    try:
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trusted, trust_env=False) as http:
            yield Site(instance, http, clock)
    finally:
        await gateway.cleanup()


async def test_200_callers_cost_one_sign_in_and_one_more_after_its_end(site: Site) -> None:
    auth = site.auth()
    for lifetime in range(1, 4):
        tokens = await asyncio.gather(*(auth.token() for _ in range(200)))
        assert len(set(tokens)) == 1
        assert site.sign_ins == lifetime
        site.clock[0] += 3600.0


async def test_200_callers_with_a_wrong_secret_cost_one_refusal_a_minute(site: Site) -> None:
    auth = site.auth("wrong")
    for minute in range(1, 3):
        answers = await asyncio.gather(*(auth.token() for _ in range(200)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {SignInError}
        assert site.sign_ins == minute
        site.clock[0] += MarketoAuth.refusal_seconds


async def test_calls_with_a_revoked_token_cost_one_renewal(site: Site) -> None:
    """601: the token's own clock said that it was good for an hour."""
    auth = site.auth()
    client = site.client(auth)
    await client.describe(ENTITIES["company"])
    site.instance.identity.revoke()
    described = await asyncio.gather(*(client.describe(ENTITIES["company"]) for _ in range(30)))
    assert all(described)
    assert site.sign_ins == 2
