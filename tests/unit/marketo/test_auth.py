"""Marketo's sign-in: when a token is asked for again, and where it may be seen."""

import logging
import traceback
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest

from shared.marketo.answers import Result
from shared.model.codes import Kind
from shared.model.errors import MsiSyncError, SignInError
from tests.support.marketo import PERSON, SECRET, World, ok, refusal, token


async def test_an_identity_that_is_busy_says_for_how_long() -> None:
    error = await World(tokens=[httpx.Response(429, headers={"Retry-After": "70"})]).refused()
    assert (error.code, error.kind, error.retry_after) == ("IdentityUnavailable", Kind.TRANSIENT, 70.0)


async def test_the_token_travels_in_the_header_only_and_the_secret_in_the_form_only() -> None:
    world = World(ok([{}]), ok())
    await world.upsert()
    await world.client.find(PERSON, ["a"])
    assert world.bearers == ["Bearer token-1", "Bearer token-1"]
    (sign_in,) = world.sign_ins
    assert parse_qs(sign_in.content.decode()) == {
        "grant_type": ["client_credentials"], "client_id": ["client-id"], "client_secret": [SECRET],
    }  # fmt: skip
    for request in (*world.requests, sign_in):
        assert "token-1" not in str(request.url)
        assert SECRET not in str(request.url)


@pytest.mark.parametrize("code", ["601", "602"])
async def test_a_refused_token_is_replaced_once_whatever_its_clock_says(code: str) -> None:
    world = World(refusal(code), ok([{"status": "created"}]))
    assert await world.upsert() == [Result("created")]
    assert world.bearers == ["Bearer token-1", "Bearer token-2"]
    assert world.slept == []


@pytest.mark.parametrize("code", ["601", "602"])
async def test_a_second_token_that_is_refused_ends_the_call(code: str) -> None:
    world = World(refusal(code), refusal(code))
    error = await world.refused()
    assert (error.code, error.kind) == (code, Kind.TOKEN)
    assert len(world.sign_ins) == 2


async def test_a_token_is_used_until_shortly_before_its_end_and_then_asked_for_again() -> None:
    world = World(*[ok([{}]) for _ in range(3)], tokens=[token("a", 100), token("b", 100)])
    for moment in (0.0, 80.0, 90.0):
        world.now = moment
        await world.upsert()
    assert world.bearers == ["Bearer a", "Bearer a", "Bearer b"]


async def test_a_token_that_is_dying_is_waited_for_and_never_used() -> None:
    world = World(ok([{}]), tokens=[token("dying", 0), token("dying", 1), token("fresh", 3599)])
    await world.upsert()
    assert world.bearers == ["Bearer fresh"]
    assert len(world.slept) == 2


async def test_an_identity_that_gives_dying_tokens_only_is_given_up() -> None:
    error = await World(tokens=[token("dying", 0)] * 9).refused()
    assert (error.code, error.kind) == ("DyingToken", Kind.TRANSIENT)


@pytest.mark.parametrize("status", [400, 401])
async def test_refused_credentials_tell_the_operator_which_settings_to_compare(status: int) -> None:
    world = World(tokens=[httpx.Response(status, json={"error": "invalid_client"})])
    with pytest.raises(SignInError, match=r"MARKETO_CLIENT_ID.*MARKETO_CLIENT_SECRET") as refused:
        await world.upsert()
    assert refused.value.code == "MarketoSignIn"
    assert world.requests == []


SECRETIVE: list[Callable[[], World]] = [
    lambda: World(tokens=[httpx.Response(401, text=SECRET)]),
    lambda: World(tokens=[httpx.Response(500, text=SECRET)]),
    lambda: World(tokens=[httpx.Response(200, json={"access_token": SECRET})]),
    lambda: World(tokens=[httpx.ConnectError(SECRET)]),
    lambda: World(httpx.ConnectError(SECRET), httpx.ReadError(SECRET), httpx.ReadError(SECRET), tokens=[token(SECRET)]),
    lambda: World(*[httpx.Response(200, text=SECRET)] * 3, tokens=[token(SECRET)]),
    lambda: World(*[refusal("602")] * 2, tokens=[token(SECRET)] * 2),
]


@pytest.mark.parametrize("world", SECRETIVE)
async def test_no_secret_or_token_shows(world: Callable[[], World], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(MsiSyncError) as refused:
        await world().upsert()
    error = refused.value
    for text in (str(error), repr(error), "".join(traceback.format_exception(error)), caplog.text):
        assert SECRET not in text
