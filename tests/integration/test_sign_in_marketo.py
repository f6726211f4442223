"""Signing in to the Marketo simulator over TLS: one token for all, dying tokens, wrong secrets, refused tokens."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

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
from shared.model.errors import MarketoError, SignInError


@dataclass
class Site:
    """The simulator, a client of it, and the clock of both."""

    instance: Instance
    http: httpx.AsyncClient
    clock: list[float]
    slept: list[float] = field(default_factory=list)

    def auth(self, secret: str = CLIENT_SECRET) -> MarketoAuth:
        return MarketoAuth(self.http, CLIENT_ID, SecretStr(secret), clock=lambda: self.clock[0], sleep=self.sleep)

    def client(self, auth: MarketoAuth) -> MarketoClient:
        pacer = Pacer(100, 10, clock=lambda: self.clock[0], sleep=self.sleep)
        return MarketoClient(self.http, auth, pacer, clock=lambda: self.clock[0], sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
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


async def test_a_dying_token_is_waited_out_and_not_kept(site: Site) -> None:
    """Marketo hands the same token out until it is dead, at last with 0 seconds left."""
    await site.auth().token()
    site.clock[0] += 3599.5
    auth = site.auth()
    old = site.instance.identity._current
    assert await auth.token() != old
    assert site.slept == [1.0]
    assert site.sign_ins == 3


async def test_a_clock_that_always_says_zero_ends_in_an_error_and_not_in_a_loop(site: Site) -> None:
    site.instance.switch({"reported_expires_in": 0})
    with pytest.raises(MarketoError) as dying:
        await site.auth().token()
    assert dying.value.code == "DyingToken"
    assert site.sign_ins <= 5


async def test_calls_with_a_revoked_token_cost_one_renewal(site: Site) -> None:
    """601: the token's own clock said that it was good for an hour."""
    auth = site.auth()
    client = site.client(auth)
    await client.describe(ENTITIES["company"])
    site.instance.identity.revoke()
    described = await asyncio.gather(*(client.describe(ENTITIES["company"]) for _ in range(30)))
    assert all(described)
    assert site.sign_ins == 2


async def test_a_call_with_an_expired_token_renews_it(site: Site) -> None:
    """602: a clock of ours that stands still believes in the token."""
    auth = MarketoAuth(site.http, CLIENT_ID, SecretStr(CLIENT_SECRET), clock=lambda: 0.0, sleep=site.sleep)
    token = await auth.token()
    site.clock[0] += 3601.0
    assert await auth.token() == token
    assert await site.client(auth).describe(ENTITIES["company"])
    assert await auth.token() != token


async def test_secret_and_token_are_in_no_log_or_address(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    urls: list[str] = []

    async def noted(request: httpx.Request) -> None:
        urls.append(str(request.url))

    site.http.event_hooks["request"].append(noted)
    with caplog.at_level(logging.DEBUG):
        auth = site.auth()
        await site.client(auth).describe(ENTITIES["company"])
        with pytest.raises(SignInError) as refused:
            await site.auth("wr0ng-s3cret-0012").token()
    assert len(urls) == 3
    assert any(record.name == "httpx" for record in caplog.records)
    text = "\n".join([*urls, caplog.text, str(refused.value), repr(refused.value), repr(auth)])
    for secret in (CLIENT_SECRET, "wr0ng-s3cret-0012", await auth.token()):
        assert secret not in text
