"""App Service's identity endpoint: through MSAL, and its refusals."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msal
import pytest
import requests

from emulators.dataverse import constants
from emulators.dataverse.harness import Running, running

PARAMS = {"api-version": "2019-08-01", "resource": constants.ORGANIZATION_URL}
HEADERS = {"X-IDENTITY-HEADER": constants.IDENTITY_HEADER}


@pytest.fixture
async def started() -> AsyncIterator[Running]:
    async with running(empty=True) as simulator:
        yield simulator


async def ask(started: Running, headers: dict[str, str], params: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{started.control_url}{constants.IDENTITY_PATH}", headers=headers, params=params)


@pytest.mark.parametrize("client_id", [None, constants.MANAGED_IDENTITY_CLIENT_ID])
async def test_msal_gets_a_token_of_the_identitys_own_user(
    started: Running, client_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{started.control_url}{constants.IDENTITY_PATH}")
    monkeypatch.setenv("IDENTITY_HEADER", constants.IDENTITY_HEADER)

    def acquire() -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            identity = (
                msal.SystemAssignedManagedIdentity()
                if client_id is None
                else msal.UserAssignedManagedIdentity(client_id=client_id)
            )
            client = msal.ManagedIdentityClient(identity, http_client=session)
            found: dict[str, Any] = client.acquire_token_for_client(resource=constants.ORGANIZATION_URL)
            return found

    token = await asyncio.to_thread(acquire)
    assert 3500 < token["expires_in"] <= 3600
    who = await started.call("GET", "WhoAmI", token=token["access_token"])
    assert who.json()["UserId"] == constants.MANAGED_IDENTITY_USER_ID


async def test_the_answer_has_the_shape_of_app_service(started: Running) -> None:
    answer = (await ask(started, HEADERS, PARAMS)).json()
    assert answer.keys() == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    assert isinstance(answer["expires_on"], str)
    assert abs(int(answer["expires_on"]) - time.time() - 3600) < 60
    assert (answer["token_type"], answer["resource"]) == ("Bearer", constants.ORGANIZATION_URL)
    assert answer["client_id"] == constants.MANAGED_IDENTITY_CLIENT_ID


@pytest.mark.parametrize(
    ("headers", "params", "status"),
    [
        ({}, PARAMS, 401),
        ({"X-IDENTITY-HEADER": "guessed"}, PARAMS, 401),
        (HEADERS, {"resource": constants.ORGANIZATION_URL}, 400),
        (HEADERS, {**PARAMS, "api-version": "2017-09-01"}, 400),
        (HEADERS, {"api-version": "2019-08-01"}, 400),
        (HEADERS, {**PARAMS, "resource": "https://other.crm4.dynamics.com"}, 400),
        (HEADERS, {**PARAMS, "resource": f"{constants.ORGANIZATION_URL}/.default"}, 400),
        (HEADERS, {**PARAMS, "client_id": constants.CLIENT_ID}, 400),
        (HEADERS, {**PARAMS, "mi_res_id": "/subscriptions/1"}, 400),
    ],
)
async def test_refusals_are_told(
    started: Running, headers: dict[str, str], params: dict[str, str], status: int
) -> None:
    answer = await ask(started, headers, params)
    assert answer.status_code == status
    assert answer.json()["statusCode"] == status
    assert answer.json()["message"]


async def test_an_identity_without_an_application_user_is_no_member(started: Running) -> None:
    token = (await ask(started, HEADERS, PARAMS)).json()["access_token"]
    del started.environment.store.rows["systemuser"][constants.MANAGED_IDENTITY_USER_ID]
    answer = await started.call("GET", "WhoAmI", token=token)
    assert (answer.status, answer.code) == (403, "0x80072560")
