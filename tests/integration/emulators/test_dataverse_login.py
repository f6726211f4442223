"""Sign-in through the unmodified MSAL, and the simulator over real TLS under the vendors' host names."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import msal
import pytest

from emulators.dataverse import constants
from emulators.dataverse.environment import Fault
from emulators.dataverse.harness import Running, running
from emulators.functions.harness import until

AUTHORITY = f"https://{constants.LOGIN_HOST}/{constants.TENANT_ID}"
SCOPES = [f"{constants.ORGANIZATION_URL}/.default"]
WHO_AM_I = f"{constants.ORGANIZATION_URL}/api/data/v9.2/WhoAmI"


@pytest.fixture
async def started() -> AsyncIterator[Running]:
    async with running() as simulator:
        yield simulator


class Client:
    """MSAL in a thread, since it is synchronous."""

    def __init__(self, started: Running, ca_file: Path, **options: Any) -> None:
        self._session = started.session(str(ca_file))
        self._options: dict[str, Any] = {
            "client_id": constants.CLIENT_ID, "client_credential": constants.CLIENT_SECRET, "authority": AUTHORITY,
        } | options  # fmt: skip
        self._app: Any = None

    async def __aenter__(self) -> "Client":
        self._app = await asyncio.to_thread(
            lambda: msal.ConfidentialClientApplication(**self._options, http_client=self._session)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._session.close()

    async def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        return await asyncio.to_thread(getattr(self._app, name), *arguments, **named)

    async def by_password(
        self, username: str = constants.USERNAME, password: str = constants.PASSWORD, scopes: list[str] = SCOPES
    ) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("acquire_token_by_username_password", username, password, scopes=scopes)
        return found


async def who_am_i(started: Running, token: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=started.transport()) as client:
        return await client.get(WHO_AM_I, headers={"Authorization": f"Bearer {token}"})


async def test_the_refresh_token_brings_a_new_access_token(started: Running, tmp_path: Path) -> None:
    async with Client(started, tmp_path / "ca.pem") as client:
        first = await client.by_password()
        assert first["id_token_claims"]["preferred_username"] == constants.USERNAME
        accounts = await client.call("get_accounts", constants.USERNAME)
        cached = await client.call("acquire_token_silent", SCOPES, accounts[0])
        assert cached["access_token"] == first["access_token"]
        renewed = await client.call("acquire_token_silent", SCOPES, accounts[0], force_refresh=True)
        assert renewed["access_token"] != first["access_token"]
        assert (await who_am_i(started, renewed["access_token"])).status_code == 200
    assert started.environment.stats.sign_ins == 2


@pytest.mark.parametrize(
    ("wrong", "number", "error"),
    [
        ({"password": "wrong"}, 50126, "invalid_grant"),
        ({"username": "nobody@contoso.onmicrosoft.com"}, 50034, "invalid_grant"),
        ({"scopes": ["https://other.crm4.dynamics.com/.default"]}, 500011, "invalid_resource"),
        ({"scopes": ["https://contoso.crm4.dynamics.com"]}, 70011, "invalid_scope"),
        ({"client_credential": "wrong"}, 7000215, "invalid_client"),
        ({"client_id": "00000000-0000-4000-a000-000000000000"}, 700016, "unauthorized_client"),
        ({"authority": f"https://{constants.LOGIN_HOST}/common"}, 50194, "invalid_request"),
    ],
)
async def test_a_wrong_setting_is_refused_with_its_number(
    started: Running, tmp_path: Path, wrong: dict[str, Any], number: int, error: str
) -> None:
    options = {name: value for name, value in wrong.items() if name.startswith(("client", "authority"))}
    async with Client(started, tmp_path / "ca.pem", **options) as client:
        result = await client.by_password(**{name: wrong[name] for name in wrong if name not in options})
    assert result["error"] == error
    assert result["error_codes"] == [number]
    assert result["error_description"].startswith(f"AADSTS{number}: ")
    assert started.environment.stats.sign_ins == 0


async def test_an_unknown_tenant_has_no_configuration(started: Running, tmp_path: Path) -> None:
    client = Client(started, tmp_path / "ca.pem", authority=f"https://{constants.LOGIN_HOST}/nowhere.example")
    with pytest.raises(ValueError, match="Unable to get authority configuration"):
        await client.__aenter__()
    await client.__aexit__()


@pytest.mark.parametrize(
    ("number", "suberror"), [(50076, "basic_action"), (65001, "consent_required"), (53003, "message_only")]
)
async def test_a_sign_in_can_be_made_to_fail(started: Running, tmp_path: Path, number: int, suberror: str) -> None:
    started.environment.switches.sign_in_errors = {constants.USERNAME: number}
    async with Client(started, tmp_path / "ca.pem") as client:
        result = await client.by_password()
        assert (result["error_codes"], result["suberror"]) == ([number], suberror)
        assert "access_token" in await client.call("acquire_token_for_client", SCOPES)


@pytest.mark.parametrize("offset", [0.0, -900.0, 86_400.0])
async def test_both_hosts_tell_the_time_of_the_simulators_clock(started: Running, offset: float) -> None:
    started.environment.switches.clock_offset = offset
    started.environment.faults.append(Fault(match="Planned", status=503))
    async with httpx.AsyncClient(transport=started.transport()) as client:
        for url in (
            f"{AUTHORITY}/v2.0/.well-known/openid-configuration",
            WHO_AM_I,
            f"{constants.ORGANIZATION_URL}/api/data/v9.2/Planned",
        ):
            told = (await client.get(url)).headers.get_list("Date")
            assert abs(parsedate_to_datetime(*told).timestamp() - time.time() - offset) < 5


async def test_other_hosts_are_not_served(started: Running) -> None:
    async with httpx.AsyncClient(transport=started.transport()) as client:
        response = await client.get(WHO_AM_I, headers={"Host": "fabrikam.crm4.dynamics.com"})
    assert response.status_code == 421


async def test_faults_break_real_connections(started: Running) -> None:
    async with httpx.AsyncClient() as control:
        await control.post(
            f"{started.control_url}/faults",
            json=[
                {"match": "WhoAmI", "status": "reset"},
                {"match": "WhoAmI", "status": 429, "code": "0x80072322", "retry_after": 7},
                {"match": "WhoAmI", "status": "hang"},
            ],
        )
    token = started.access_token()
    with pytest.raises(httpx.TransportError):
        await who_am_i(started, token)
    limited = await who_am_i(started, token)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    hanging = asyncio.create_task(who_am_i(started, token))
    await until(lambda: not any(fault.times for fault in started.environment.faults))
    assert not hanging.done()
    hanging.cancel()
    with suppress(asyncio.CancelledError):
        await hanging
    assert (await who_am_i(started, token)).status_code == 200
