"""What MSAL is given to ask with: known hosts only, within a time; and a machine that has no managed identity."""

import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import msal
import pytest
import requests
from requests.adapters import HTTPAdapter

from shared.config.settings import DataverseSettings
from shared.dataverse import identity
from shared.dataverse.identity import Session, connect
from shared.model.codes import Kind
from shared.model.errors import DataverseError, SignInError

URL = "https://contoso.crm4.dynamics.com"
AUTHORITY = "https://login.microsoftonline.com/11112222-0000-4000-8000-000000000003"
FORM = {"username": "sync@contoso.com", "password": "dv-pa55word-0002"}

Reply = tuple[int, dict[str, str], str] | Exception


class Wire(HTTPAdapter):
    """Answers as it is told instead of sending, and keeps what would have been sent."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__()
        self.replies = list(replies)
        self.sent: list[tuple[str, Any]] = []
        self.proxies: Any = None

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        self.sent.append((str(request.url), options["timeout"]))
        self.proxies = options["proxies"]
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        response.status_code, headers, text = reply
        response.headers.update(headers)
        response._content = text.encode()
        return response


def session_over(wire: Wire) -> Session:
    session = Session(frozenset({"login.microsoftonline.com"}))
    session.trust_env = False
    session.mount("https://", wire)
    session.mount("http://", wire)
    return session


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Wire]:
    """Every session that `connect` makes is on this wire."""

    def wire(*replies: Reply) -> Wire:
        made = Wire(*replies)
        monkeypatch.setattr(Session, "get_adapter", lambda _self, url: made)  # noqa: ARG005  (requests names it)
        return made

    return wire


def settings(**given: str) -> DataverseSettings:
    return DataverseSettings.model_validate(
        {
            "DATAVERSE_URL": URL, "DATAVERSE_CLIENT_ID": "app", "DATAVERSE_CLIENT_SECRET": "dv-s3cret-0001",
            "DATAVERSE_USERNAME": FORM["username"], "DATAVERSE_PASSWORD": FORM["password"],
        } | given
    )  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "https://sts.contoso.com/adfs/services/trust/mex", "https://login.microsoftonline.com.evil.example/token",
        "https://login.microsoftonline.com@evil.example/token", "http://login.microsoftonline.com/token",
    ],
)  # fmt: skip
def test_credentials_are_sent_to_no_other_host_and_never_without_tls(url: str) -> None:
    wire = Wire()
    with pytest.raises(SignInError, match="onmicrosoft") as refused:
        session_over(wire).post(url, data=FORM)
    assert refused.value.code == "ForeignHost"
    assert wire.sent == []


def test_a_redirect_to_another_host_is_not_followed() -> None:
    wire = Wire((307, {"Location": "https://evil.example/token"}, ""))
    with pytest.raises(SignInError, match=r"evil\.example"):
        session_over(wire).post("https://login.microsoftonline.com/token", data=FORM)
    assert [url for url, _ in wire.sent] == ["https://login.microsoftonline.com/token"]


def test_each_request_has_a_time_limit() -> None:
    wire = Wire((200, {}, "{}"))
    session_over(wire).get("https://login.microsoftonline.com/")
    assert wire.sent[0][1] == identity.TIMEOUT


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        ((429, {"Retry-After": "17"}, ""), 17.0), ((503, {}, "<html>"), None), ((504, {"Retry-After": "-"}, ""), None),
        (requests.ConnectionError("dv-pa55word-0002"), None), (requests.ReadTimeout(), None),
        ((500, {}, "<html>"), None), ((200, {}, "<html>captive portal</html>"), None), ((200, {}, "[]"), None),
        ((200, {}, "{}"), None),
    ],
)  # fmt: skip
def test_an_unwell_login_host_is_no_refusal(wired: Callable[..., Wire], reply: Reply, wait: float | None) -> None:
    wired(reply)
    with pytest.raises(DataverseError) as unwell:
        connect(settings(), AUTHORITY)
    assert (unwell.value.kind, unwell.value.retry_after) == (Kind.TRANSIENT, wait)
    assert "pa55word" not in str(unwell.value)


def configuration(host: str = "login.microsoftonline.com") -> Reply:
    endpoints = {name: f"https://{host}/t/{name}" for name in ("authorization_endpoint", "token_endpoint", "issuer")}
    return 200, {}, json.dumps(endpoints)


@pytest.mark.parametrize("reply", [(500, {}, "<html>"), (200, {}, "<html>")])
def test_a_token_endpoint_that_is_unwell_is_no_refusal_either(wired: Callable[..., Wire], reply: Reply) -> None:
    wired(configuration(), reply)
    acquire = connect(settings(DATAVERSE_AUTH="client_secret"), AUTHORITY)
    with pytest.raises(DataverseError) as unwell:
        acquire()
    assert unwell.value.kind is Kind.TRANSIENT


def test_a_tenant_that_does_not_exist_is_a_refusal(wired: Callable[..., Wire]) -> None:
    wired((400, {}, json.dumps({"error": "invalid_tenant"})))
    with pytest.raises(SignInError, match="DATAVERSE_TENANT_ID") as refused:
        connect(settings(), AUTHORITY)
    assert refused.value.code == "UnknownTenant"


def test_a_configuration_that_names_a_foreign_token_endpoint_gets_no_secret(wired: Callable[..., Wire]) -> None:
    wire = wired(configuration("evil.example"))
    acquire = connect(settings(DATAVERSE_AUTH="client_secret"), AUTHORITY)
    with pytest.raises(SignInError, match=r"evil\.example"):
        acquire()
    assert len(wire.sent) == 1


def test_an_authority_of_the_operator_is_asked_itself_and_nobody_about_it(
    wired: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSAL_FORCE_REGION", "westeurope")
    token = json.dumps({"access_token": "a", "expires_in": 3600, "token_type": "Bearer"})
    wire = wired(configuration("login.example.com"), (200, {}, token), (200, {}, token))
    acquire = connect(settings(DATAVERSE_AUTH="client_secret"), "https://login.example.com/t")
    assert acquire()["access_token"] == acquire()["access_token"] == "a"
    assert [url for url, _ in wire.sent] == [
        "https://login.example.com/t/v2.0/.well-known/openid-configuration",
        "https://login.example.com/t/token_endpoint",
        "https://login.example.com/t/token_endpoint",
    ]


def test_a_federated_realm_without_an_address_is_a_refusal(wired: Callable[..., Wire]) -> None:
    wire = wired(configuration(), (200, {}, json.dumps({"account_type": "Federated"})))
    acquire = connect(settings(), AUTHORITY)
    with pytest.raises(SignInError, match="client_secret or certificate"):
        acquire()
    assert len(wire.sent) == 2


NOWHERE = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "MSI_SECRET")


@pytest.fixture
def on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NOWHERE, "IMDS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{free.getsockname()[1]}")


@pytest.mark.usefixtures("on_a_laptop")
def test_a_machine_without_managed_identity_is_told_what_to_use_instead() -> None:
    acquire = connect(settings(DATAVERSE_AUTH="managed_identity", DATAVERSE_CLIENT_ID=""), "")
    with pytest.raises(SignInError, match="DATAVERSE_AUTH=client_secret") as refused:
        acquire()
    assert refused.value.code == "NoManagedIdentity"


@pytest.mark.usefixtures("on_a_laptop")
def test_an_identity_endpoint_that_does_not_answer_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/identity")
    monkeypatch.setenv("IDENTITY_HEADER", "id-s3cret-0008")
    with pytest.raises(DataverseError) as unwell:
        connect(settings(DATAVERSE_AUTH="managed_identity", DATAVERSE_CLIENT_ID=""), "")()
    assert unwell.value.kind is Kind.TRANSIENT


def test_the_identity_endpoint_is_never_asked_through_a_proxy(
    wired: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://169.254.130.2:8081/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "id-s3cret-0008")
    wire = wired((200, {}, json.dumps({"access_token": "tok-s3cret-0009", "expires_on": "4102444800"})))
    with caplog.at_level(logging.DEBUG):
        answer = connect(settings(DATAVERSE_AUTH="managed_identity", DATAVERSE_CLIENT_ID="own"), "")()
    assert answer["access_token"] == "tok-s3cret-0009"
    assert not wire.proxies
    url = wire.sent[0][0]
    assert url.startswith("http://169.254.130.2:8081/msi/token?")
    assert "client_id=own" in url
    assert "s3cret" not in url + caplog.text


def test_msal_still_lets_a_region_be_refused() -> None:
    """MSAL_FORCE_REGION would lead to a host that is on no list."""
    assert msal.ConfidentialClientApplication.DISABLE_MSAL_FORCE_REGION is False
