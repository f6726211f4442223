"""App Service's identity endpoint: its answer, and its refusals. MSAL uses it in test_sign_in_dataverse.py."""

import time

import httpx
import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import Running

PARAMS = {"api-version": "2019-08-01", "resource": constants.ORGANIZATION_URL}
HEADERS = {"X-IDENTITY-HEADER": constants.IDENTITY_HEADER}


async def ask(api: Running, headers: dict[str, str], params: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{api.control_url}{constants.IDENTITY_PATH}", headers=headers, params=params)


async def test_the_answer_has_the_shape_of_app_service(api: Running) -> None:
    answer = (await ask(api, HEADERS, PARAMS)).json()
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
async def test_refusals_are_told(api: Running, headers: dict[str, str], params: dict[str, str], status: int) -> None:
    answer = await ask(api, headers, params)
    assert answer.status_code == status
    assert answer.json()["statusCode"] == status
    assert answer.json()["message"]
