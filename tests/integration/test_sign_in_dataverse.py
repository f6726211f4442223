"""Signing in to the Dataverse simulator over TLS and by its production names, in each way and with each refusal."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from emulators import proxy
from emulators.dataverse import constants, login
from emulators.dataverse.environment import Fault
from emulators.dataverse.harness import HOSTS, Running, running
from emulators.dataverse.messages import ApiRequest, ApiResponse
from emulators.dataverse.server import Simulator
from shared.config.settings import DataverseSettings
from shared.dataverse.auth import DataverseAuth
from shared.dataverse.client import API, DataverseClient
from shared.dataverse.remedies import REMEDIES
from shared.model.codes import Kind
from shared.model.errors import ConfigurationError, DataverseError, MsiSyncError, SignInError

WAYS = ("password", "client_secret", "certificate", "managed_identity")
USERS = {
    "password": constants.SYNC_USER_ID, "client_secret": constants.APPLICATION_USER_ID,
    "certificate": constants.APPLICATION_USER_ID, "managed_identity": constants.MANAGED_IDENTITY_USER_ID,
}  # fmt: skip


def issued(**dates: Any) -> trustme.LeafCert:
    return trustme.CA().issue_cert(common_name="msisync", key_type=trustme.KeyType.RSA, **dates)


REGISTERED, OTHER = issued(), issued()


def pem_of(made: trustme.LeafCert) -> str:
    return (made.private_key_pem.bytes() + made.cert_chain_pems[0].bytes()).decode()


@dataclass
class Site:
    """The simulator behind its production names, and everything that it was asked."""

    started: Running
    asked: list[str]
    now: float = 0.0
    tokens: list[str] = field(default_factory=list)
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, way: str, **given: str) -> tuple[DataverseClient, DataverseAuth]:
        settings = DataverseSettings.model_validate(
            {
                "DATAVERSE_URL": constants.ORGANIZATION_URL, "DATAVERSE_AUTH": way,
                "DATAVERSE_CLIENT_ID": "" if way == "managed_identity" else constants.CLIENT_ID,
                "DATAVERSE_CLIENT_SECRET": constants.CLIENT_SECRET, "DATAVERSE_USERNAME": constants.USERNAME,
                "DATAVERSE_PASSWORD": constants.PASSWORD, "DATAVERSE_CLIENT_CERTIFICATE": pem_of(REGISTERED),
            } | given
        )  # fmt: skip
        http = (
            httpx.AsyncClient(  # by HTTPS_PROXY, as the app's own; few connections, since each handshake takes its time
                base_url=settings.url, timeout=30, limits=httpx.Limits(max_connections=10)
            )
        )
        self.clients.append(http)
        auth = DataverseAuth(settings, http, clock=lambda: self.now)
        return DataverseClient(http, auth, clock=lambda: self.now, sleep=asyncio.sleep), auth

    @property
    def sign_ins(self) -> int:
        """How many tokens were given out, by Entra or by the identity endpoint."""
        return len(self.tokens)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    asked: list[str] = []
    answer = Simulator._answer

    async def noted(self: Simulator, request: ApiRequest) -> ApiResponse:
        asked.append(request.headers.get("host", "") + request.target)
        return await answer(self, request)

    monkeypatch.setattr(Simulator, "_answer", noted)
    async with running(empty=True, client_certificate=REGISTERED.cert_chain_pems[0].bytes()) as started:
        bundle = tmp_path / "ca.pem"
        started.session(str(bundle)).close()
        way_in = await proxy.serve(0, {f"{host}:443": started.simulator.port for host in HOSTS})
        for name in ("NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{way_in.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{started.control_url}{constants.IDENTITY_PATH}")
        monkeypatch.setenv("IDENTITY_HEADER", constants.IDENTITY_HEADER)
        found = Site(started, asked)
        issue = started.simulator.login.issue_token

        def counted(*who: Any) -> tuple[str, float]:
            token, expires = issue(*who)
            found.tokens.append(token)
            return token, expires

        monkeypatch.setattr(started.simulator.login, "issue_token", counted)
        try:
            yield found
        finally:
            for http in found.clients:
                await http.aclose()
            way_in.close()


async def refusal(site: Site, way: str, **given: str) -> MsiSyncError:
    client, _ = site.client(way, **given)
    with pytest.raises(MsiSyncError) as refused:
        await client.organization_id()
    return refused.value


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_signs_its_own_user_in(site: Site, way: str) -> None:
    client, _ = site.client(way)
    who = await client.get("/api/data/v9.2/WhoAmI")
    assert who["UserId"] == USERS[way]
    assert who["OrganizationId"] == constants.ORGANIZATION_ID


async def test_a_user_assigned_identity_is_chosen_by_its_client_id(site: Site) -> None:
    client, _ = site.client("managed_identity", DATAVERSE_CLIENT_ID=constants.MANAGED_IDENTITY_CLIENT_ID)
    assert await client.organization_id() == constants.ORGANIZATION_ID
    wrong = await refusal(site, "managed_identity", DATAVERSE_CLIENT_ID=constants.CLIENT_ID)
    assert isinstance(wrong, SignInError)
    assert "DATAVERSE_CLIENT_ID" in wrong.message


async def test_a_managed_identity_asks_neither_the_login_host_nor_for_the_tenant(site: Site) -> None:
    client, _ = site.client("managed_identity")
    await client.organization_id()
    assert [line.partition("?")[0] for line in site.asked] == [f"{constants.ORGANIZATION_HOST}/api/data/v9.2/WhoAmI"]


@pytest.mark.parametrize("way", WAYS)
async def test_200_callers_cost_one_sign_in_and_one_more_after_its_end(site: Site, way: str) -> None:
    _, auth = site.client(way)
    for lifetime in range(1, 3):
        tokens = await asyncio.gather(*(auth.token() for _ in range(200)))
        assert len(set(tokens)) == 1
        assert site.sign_ins == lifetime
        site.now += 3600.0


@pytest.mark.parametrize("way", WAYS)
async def test_40_requests_whose_token_was_revoked_cost_one_renewal(site: Site, way: str) -> None:
    site.started.environment.switches.concurrent = 1000
    client, _ = site.client(way)
    await client.organization_id()
    site.started.simulator.login._sessions.clear()
    answers = await asyncio.gather(*(client.get(f"{API}/WhoAmI") for _ in range(40)))
    assert {answer["OrganizationId"] for answer in answers} == {constants.ORGANIZATION_ID}
    assert site.sign_ins == 2


async def test_200_callers_with_a_wrong_password_cost_one_refusal(site: Site) -> None:
    _, auth = site.client("password", DATAVERSE_PASSWORD="wrong")
    answers = await asyncio.gather(*(auth.token() for _ in range(200)), return_exceptions=True)
    assert {str(answer).partition(":")[0] for answer in answers} == {"AADSTS50126"}
    assert site.started.environment.stats.refused_sign_ins == 1


@pytest.mark.parametrize(("way", "number"), [("password", 50076), ("password", 53003), ("certificate", 700024)])
async def test_a_policy_s_refusal_gives_its_sentence_and_is_not_repeated(site: Site, way: str, number: int) -> None:
    """Entra has a word of its own for each of them, beside the number."""
    who = constants.USERNAME if way == "password" else constants.CLIENT_ID
    site.started.environment.switches.sign_in_errors = {who: number}
    client, _ = site.client(way)
    for _ in range(2):
        with pytest.raises(SignInError) as refused:
            await client.organization_id()
        assert refused.value.code == f"AADSTS{number}"
        assert refused.value.message.endswith(REMEDIES[number])
    assert site.started.environment.stats.refused_sign_ins == 1


@pytest.mark.parametrize(
    ("way", "given", "code"),
    [
        ("password", {"DATAVERSE_PASSWORD": "wrong"}, "AADSTS50126"),
        ("password", {"DATAVERSE_USERNAME": "nobody@contoso.onmicrosoft.com"}, "AADSTS50034"),
        ("client_secret", {"DATAVERSE_CLIENT_SECRET": "wrong"}, "AADSTS7000215"),
        ("client_secret", {"DATAVERSE_CLIENT_ID": constants.MANAGED_IDENTITY_CLIENT_ID}, "AADSTS700016"),
        ("certificate", {"DATAVERSE_CLIENT_CERTIFICATE": pem_of(OTHER)}, "AADSTS700027"),
        ("password", {"DATAVERSE_TENANT_ID": "fabrikam.example"}, "UnknownTenant"),
    ],
)
async def test_a_wrong_setting_is_refused_by_entra_itself(site: Site, way: str, given: Any, code: str) -> None:
    refused = await refusal(site, way, **given)
    assert isinstance(refused, SignInError)
    assert refused.code == code


async def test_the_password_of_a_federated_user_goes_nowhere(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    realm = {
        "account_type": "Federated",
        "federation_metadata_url": "https://sts.contoso.com/adfs/services/trust/mex",
        "federation_active_auth_url": "https://sts.contoso.com/adfs/services/trust/2005/usernamemixed",
    }
    monkeypatch.setattr(login, "_realm", lambda _user: realm)
    refused = await refusal(site, "password")
    assert isinstance(refused, SignInError)
    assert refused.code == "ForeignHost"
    assert "sts.contoso.com" in refused.message
    assert "onmicrosoft.com" in refused.message


async def test_an_expired_certificate_is_not_even_shown_to_entra(site: Site) -> None:
    now = datetime.now(UTC)
    ended = issued(not_before=now - timedelta(days=90), not_after=now - timedelta(days=1))
    refused = await refusal(site, "certificate", DATAVERSE_CLIENT_CERTIFICATE=pem_of(ended))
    assert isinstance(refused, ConfigurationError)
    assert refused.code == "ExpiredCertificate"
    assert not any(line.startswith(constants.LOGIN_HOST) for line in site.asked)


@pytest.mark.parametrize("way", WAYS)
async def test_an_account_that_is_no_user_of_the_environment_is_a_matter_for_an_operator(site: Site, way: str) -> None:
    del site.started.environment.store.rows["systemuser"][USERS[way]]
    refused = await refusal(site, way)
    assert isinstance(refused, DataverseError)
    assert (refused.code, refused.kind) == ("0x80072560", Kind.CONFIGURATION)


@pytest.mark.parametrize("status", [503, 500, 429])
async def test_a_login_that_is_unwell_is_no_refusal(site: Site, status: int) -> None:
    site.started.environment.faults.append(Fault(match="/oauth2/v2.0/token", status=status, retry_after=7))
    _, auth = site.client("password")
    with pytest.raises(DataverseError) as unwell:
        await auth.token()
    assert unwell.value.kind is Kind.TRANSIENT


async def test_a_login_whose_connection_breaks_is_asked_again(site: Site) -> None:
    site.started.environment.faults.append(Fault(match="/oauth2/v2.0/token", status="reset"))
    client, auth = site.client("password")
    with pytest.raises(DataverseError) as unwell:
        await auth.token()
    assert unwell.value.kind is Kind.TRANSIENT
    assert await client.organization_id() == constants.ORGANIZATION_ID


BROKEN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "wrong password": {"DATAVERSE_PASSWORD": "wr0ng-pa55word-0010"},
    "wrong secret": {"DATAVERSE_CLIENT_SECRET": "wr0ng-s3cret-0011"},
    "wrong certificate": {"DATAVERSE_CLIENT_CERTIFICATE": pem_of(OTHER)},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("broken", BROKEN)
async def test_nothing_secret_is_in_any_log_error_or_address(
    site: Site, way: str, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, auth = site.client(way, **BROKEN[broken])
    texts: list[str] = []
    with caplog.at_level(logging.DEBUG):
        try:
            await client.organization_id()
            auth.refuse(await auth.token())
            await client.get(f"{API}/WhoAmI")
        except MsiSyncError as error:
            texts = [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert {"msal.token_cache", "urllib3.connectionpool", "httpx"} & {record.name for record in caplog.records}
    keys = [line for made in (REGISTERED, OTHER) for line in made.private_key_pem.bytes().decode().splitlines()[1:-1]]
    secrets = {
        constants.CLIENT_SECRET, constants.PASSWORD, constants.IDENTITY_HEADER, "wr0ng-pa55word-0010",
        "wr0ng-s3cret-0011", *keys, *site.tokens, *site.started.simulator.login._refresh,
    }  # fmt: skip
    text = "\n".join([*texts, caplog.text, *site.asked, repr(client), repr(auth)])
    assert [secret for secret in secrets if secret in text] == []
