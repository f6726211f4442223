"""Signing in to Dynamics: MSAL as a small fake, the tenant's discovery against a mock transport."""

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from msal.exceptions import MsalError

from shared.config.settings import DataverseSettings
from shared.dataverse import identity
from shared.dataverse.auth import DataverseAuth
from shared.dataverse.identity import Acquire
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MsiSyncError, SignInError

URL = "https://contoso.crm4.dynamics.com"
TENANT = "11112222-0000-4000-8000-000000000003"
CHALLENGE = f"Bearer authorization_uri=https://login.microsoftonline.com/{TENANT}/oauth2/authorize, resource_id={URL}/"
SECRETS = ("dv-s3cret-0001", "dv-pa55word-0002")

REFUSED = DataverseAuth.refusal_seconds

Answer = dict[str, Any] | Exception


def granted(token: str, expires_in: int = 3600) -> dict[str, Any]:
    return {"access_token": token, "expires_in": expires_in}


def denied(error: str, *numbers: int) -> dict[str, Any]:
    return {"error": error, "error_codes": list(numbers), "error_description": f"AADSTS: {SECRETS[1]}"}


class Msal:
    """What MSAL offers a confidential client: prepared answers, and a log of what was asked."""

    def __init__(self, *answers: Answer, silent: Answer | None = None, url: str = URL) -> None:
        self.scopes = [f"{url}/.default"]
        self.answers = list(answers)
        self.silent = silent
        self.asked: list[str] = []
        self.signed_in = False

    def get_accounts(self, username: str) -> list[dict[str, str]]:
        return [{"username": username}] if self.signed_in else []

    def acquire_token_silent(self, scopes: list[str], _account: Any, *, force_refresh: bool) -> dict[str, Any] | None:
        assert scopes == self.scopes
        assert force_refresh
        self.asked.append("refresh")
        return self._given(self.silent) if self.silent else None

    def acquire_token_by_username_password(self, username: str, password: str, scopes: list[str]) -> dict[str, Any]:
        assert (username, password, scopes) == ("sync@contoso.com", SECRETS[1], self.scopes)
        self.asked.append("password")
        answer = self._given(self.answers.pop(0))
        self.signed_in = "access_token" in answer
        return answer

    def remove_tokens_for_client(self) -> None:
        self.asked.append("forget")

    def acquire_token_for_client(self, scopes: list[str]) -> dict[str, Any]:
        assert scopes == self.scopes
        self.asked.append("client")
        return self._given(self.answers.pop(0))

    def _given(self, answer: Answer) -> dict[str, Any]:
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    def __init__(self, msal: Msal, reply: httpx.Response | Exception | None = None, **given: str) -> None:
        self.msal = msal
        self.reply = reply or httpx.Response(401, headers={"WWW-Authenticate": CHALLENGE})
        self.requests: list[httpx.Request] = []
        self.authorities: list[str] = []
        self.now = 0.0
        settings = DataverseSettings.model_validate(
            {
                "DATAVERSE_URL": URL, "DATAVERSE_CLIENT_ID": "app", "DATAVERSE_CLIENT_SECRET": SECRETS[0],
                "DATAVERSE_USERNAME": "sync@contoso.com", "DATAVERSE_PASSWORD": SECRETS[1],
            } | given
        )  # fmt: skip
        http = httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(self._app))
        self.auth = DataverseAuth(settings, http, clock=lambda: self.now, connect=self._connect)

    def _app(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def _connect(self, settings: DataverseSettings, authority: str) -> Acquire:
        self.authorities.append(authority)
        ways = {"password": identity.by_password, "client_secret": identity.by_application}
        return ways[settings.auth](self.msal, settings)


async def test_user_and_password_give_a_token_that_is_used_until_two_minutes_before_its_end() -> None:
    world = World(Msal(granted("a")))
    for moment in (0.0, 1000.0, 3479.0):
        world.now = moment
        assert await world.auth.token() == "a"
    assert world.msal.asked == ["password"]


async def test_a_token_is_renewed_by_the_refresh_token_and_not_by_the_password() -> None:
    world = World(Msal(granted("a"), silent=granted("b")))
    await world.auth.token()
    world.now = 3480.0
    assert await world.auth.token() == "b"
    assert world.msal.asked == ["password", "refresh"]


async def test_a_token_that_dataverse_refused_is_not_taken_from_the_cache_again() -> None:
    world = World(Msal(granted("a"), silent=granted("b")))
    world.auth.refuse(await world.auth.token())
    assert await world.auth.token() == "b"
    assert world.msal.asked == ["password", "refresh"]


async def test_a_renewed_token_that_is_refused_as_well_is_not_renewed_for_each_of_its_callers() -> None:
    world = World(Msal(granted("a"), granted("b"), granted("c")), DATAVERSE_AUTH="client_secret")
    for _ in range(50):
        world.auth.refuse(await world.auth.token())
    assert await world.auth.token() == "b"
    world.now = DataverseAuth.renewal_seconds
    world.auth.refuse("b")
    assert await world.auth.token() == "c"


async def test_who_asked_while_entra_failed_to_answer_hears_of_it_without_asking_again() -> None:
    world = World(Msal(granted("a")))

    all_ask = threading.Event()

    def wait_in_vain(_settings: DataverseSettings, _authority: str) -> Acquire:
        assert all_ask.wait(30)
        world.now += 40.0
        raise DataverseError("SignInUnreachable", "Entra: ReadTimeout", kind=Kind.TRANSIENT)

    connect, world.auth.connect = world.auth.connect, wait_in_vain
    asking = asyncio.gather(*(world.auth.token() for _ in range(200)), return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    all_ask.set()
    assert {type(answer) for answer in await asking} == {DataverseError}
    assert world.now == 40.0
    world.auth.connect = connect
    assert await world.auth.token() == "a"


async def test_refusing_an_older_token_does_not_cost_the_present_one() -> None:
    world = World(Msal(granted("a")))
    await world.auth.token()
    world.auth.refuse("older")
    assert await world.auth.token() == "a"
    assert world.msal.asked == ["password"]


async def test_when_the_renewal_is_refused_the_password_is_asked_once() -> None:
    world = World(Msal(granted("a"), granted("c"), silent=denied("invalid_grant", 700082)))
    await world.auth.token()
    world.now = 3600.0
    assert await world.auth.token() == "c"
    assert world.msal.asked == ["password", "refresh", "password"]


async def test_the_client_secret_sign_in_needs_no_user() -> None:
    world = World(Msal(granted("a"), granted("b")), DATAVERSE_AUTH="client_secret")
    assert await world.auth.token() == "a"
    world.auth.refuse("a")
    assert await world.auth.token() == "b"
    assert world.msal.asked == ["forget", "client", "forget", "client"]


async def test_many_who_ask_at_once_share_one_sign_in() -> None:
    world = World(Msal(granted("a")))
    assert await asyncio.gather(*(world.auth.token() for _ in range(20))) == ["a"] * 20
    assert world.msal.asked == ["password"]
    assert len(world.requests) == 1


async def test_a_refused_sign_in_is_not_repeated_within_five_minutes() -> None:
    world = World(Msal(denied("invalid_grant", 50126), denied("invalid_grant", 50126), granted("a")))
    for moment in (0.0, 1.0, REFUSED - 1, REFUSED, REFUSED + 1):
        world.now = moment
        with pytest.raises(SignInError):
            await world.auth.token()
    assert world.msal.asked == ["password"] * 2
    assert REFUSED >= 300
    world.now = 3 * REFUSED
    assert await world.auth.token() == "a"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (50126, "user@domain"), (50034, "tenant"), (50053, "unlock"), (50055, "expired"), (50076, "client_secret"),
        (53003, "Conditional Access"), (65001, "consent"), (700016, "DATAVERSE_CLIENT_ID"),
        (7000215, "the secret's value"), (7000222, "expired"), (500011, "DATAVERSE_URL"),
        (90002, "DATAVERSE_TENANT_ID"), (50105, "enterprise application"), (50196, "wait"),
        (700027, "Certificates & secrets"), (700024, "clock"), (7000229, "enterprise application"),
    ],
)  # fmt: skip
async def test_a_refusal_tells_the_operator_what_to_do(number: int, told: str) -> None:
    with pytest.raises(SignInError) as refused:
        await World(Msal(denied("invalid_grant", number))).auth.token()
    assert refused.value.code == f"AADSTS{number}"
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (denied("invalid_grant", 99999, 50076), "AADSTS50076", "MFA"),
        (denied("invalid_grant", 99999), "AADSTS99999", "invalid_grant"),
        (denied("unauthorized_client"), "unauthorized_client", "unauthorized_client"),
    ],
    ids=["several numbers, one of them known", "an unknown number", "a word alone"],
)
async def test_other_refusals_tell_what_is_known_of_them(answer: dict[str, Any], code: str, told: str) -> None:
    with pytest.raises(SignInError, match=told) as refused:
        await World(Msal(answer)).auth.token()
    assert refused.value.code == code


@pytest.mark.parametrize("answer", [denied("temporarily_unavailable", 90033), MsalError("HTTP 500")])
async def test_an_entra_that_is_unwell_is_asked_again_the_next_time(answer: Answer) -> None:
    world = World(Msal(answer, granted("a")))
    with pytest.raises(DataverseError) as unwell:
        await world.auth.token()
    assert unwell.value.kind is Kind.TRANSIENT
    assert await world.auth.token() == "a"


@pytest.mark.parametrize(
    ("given", "authority"),
    [
        ({}, f"https://login.microsoftonline.com/{TENANT}"),
        ({"DATAVERSE_TENANT_ID": "contoso.com"}, "https://login.microsoftonline.com/contoso.com"),
        ({"DATAVERSE_AUTHORITY": "https://login.example.com/t"}, "https://login.example.com/t"),
        (
            {"DATAVERSE_TENANT_ID": "contoso.us", "DATAVERSE_URL": "https://contoso.crm.microsoftdynamics.us"},
            "https://login.microsoftonline.us/contoso.us",
        ),
    ],
    ids=["discovered", "tenant", "authority", "cloud"],
)
async def test_the_tenant_is_set_or_named_by_dataverse(given: dict[str, Any], authority: str) -> None:
    world = World(Msal(granted("a"), url=given.get("DATAVERSE_URL", URL)), **given)
    await world.auth.token()
    assert world.authorities == [authority]
    assert len(world.requests) == (0 if given else 1)
    assert all("Authorization" not in request.headers for request in world.requests)


@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE.replace("login.microsoftonline.com", "login.evil.example"),
        CHALLENGE.replace("login.microsoftonline.com", "login.microsoftonline.com.evil.example"),
        CHALLENGE.replace("login.microsoftonline.com", "login.microsoftonline.com@evil.example"),
        CHALLENGE.replace("https://login", "http://login"),
        CHALLENGE.replace("microsoftonline.com", "microsoftonline.com:8443"),
        CHALLENGE.replace("https://login", "https://user:word@login"),
        CHALLENGE.replace(f"/{TENANT}", ""),
        CHALLENGE.replace(TENANT, "common"),
        CHALLENGE.replace(TENANT, f"{TENANT}/deeper"),
        "Bearer",
        "",
    ],
)
async def test_no_credentials_go_to_a_host_that_is_no_known_login_host(challenge: str) -> None:
    world = World(Msal(granted("a")), httpx.Response(401, headers={"WWW-Authenticate": challenge}))
    with pytest.raises(SignInError, match="DATAVERSE_TENANT_ID") as refused:
        await world.auth.token()
    assert refused.value.code == "NoTenant"
    assert world.msal.asked == world.authorities == []


@pytest.mark.parametrize("host", ["login.microsoftonline.us", "login.windows.net", "login.partner.microsoftonline.cn"])
@pytest.mark.parametrize("form", ['Bearer authorization_uri="https://{}/{}/oauth2/authorize"', CHALLENGE])
async def test_each_form_of_challenge_and_each_login_host_is_understood(host: str, form: str) -> None:
    challenge = form.format(host, TENANT).replace("login.microsoftonline.com", host)
    world = World(Msal(granted("a")), httpx.Response(401, headers={"WWW-Authenticate": challenge}))
    await world.auth.token()
    assert world.authorities == [f"https://{host}/{TENANT}"]


@pytest.mark.parametrize("reply", [httpx.Response(429), httpx.Response(500), httpx.ConnectError("down")], ids=str)
async def test_a_dataverse_that_is_unwell_at_discovery_is_no_wrong_setting(reply: httpx.Response | Exception) -> None:
    world = World(Msal(granted("a")), reply)
    with pytest.raises(DataverseError) as unwell:
        await world.auth.token()
    assert unwell.value.kind is Kind.TRANSIENT
    world.reply = httpx.Response(401, headers={"WWW-Authenticate": CHALLENGE})
    assert await world.auth.token() == "a"


@pytest.mark.parametrize("error", [RuntimeError("WsTrust server returned error in RSTR"), ValueError("no endpoint")])
async def test_a_federation_server_that_refuses_the_password_is_not_asked_again_at_once(error: Exception) -> None:
    """AD FS locks accounts too; MSAL raises its refusals."""
    world = World(Msal(error, granted("a")))
    for moment in (0.0, 1.0, REFUSED - 1):
        world.now = moment
        with pytest.raises(SignInError, match="client_secret") as refused:
            await world.auth.token()
        assert refused.value.code == type(error).__name__
    assert world.msal.asked == ["password"]
    world.now = REFUSED
    assert await world.auth.token() == "a"


async def test_a_remembered_refusal_does_not_grow_with_each_that_hears_of_it() -> None:
    world = World(Msal(denied("invalid_grant", 50126)))
    lengths = []
    for _ in range(20):
        with pytest.raises(SignInError) as refused:
            await world.auth.token()
        lengths.append(len(traceback.extract_tb(refused.tb)))
    assert lengths[-1] == lengths[1]


SECRETIVE: list[Callable[[], World]] = [
    lambda: World(Msal(denied("invalid_grant", 50126))),
    lambda: World(Msal(denied("temporarily_unavailable"))),
    lambda: World(Msal(RuntimeError(f"WS-Trust: {SECRETS[1]}"))),
    lambda: World(Msal(), httpx.ConnectError(SECRETS[0])),
    lambda: World(Msal(), httpx.Response(401, headers={"WWW-Authenticate": SECRETS[0]})),
]


@pytest.mark.parametrize("world", SECRETIVE)
async def test_secrets_do_not_show(world: Callable[[], World], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(MsiSyncError) as refused:
        await world().auth.token()
    error = refused.value
    for text in (str(error), repr(error), "".join(traceback.format_exception(error)), caplog.text):
        assert not any(secret in text for secret in SECRETS)
