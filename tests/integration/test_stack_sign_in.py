"""Each way of signing in to the running stack's Dataverse, with nothing but what endpoints.json tells."""

import asyncio
import json
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msal
import pytest
import pytest_asyncio
import requests

from emulators.dataverse import constants
from local.stack import Stack


@pytest_asyncio.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with Stack(directory=tmp_path_factory.mktemp("sign_in"), empty=True, with_functions=False) as stack:
        yield stack


@pytest.fixture
def told(stack: Stack) -> Any:
    return json.loads(stack.endpoints_file.read_text())


async def who_am_i(told: Any, token: str) -> str:
    tls = ssl.create_default_context(cafile=told["ca_bundle"])
    async with httpx.AsyncClient(proxy=told["https_proxy"], verify=tls, trust_env=False) as client:
        url = f"{told['dataverse']['url']}/api/data/v9.2/WhoAmI"
        answer = await client.get(url, headers={"Authorization": f"Bearer {token}"})
    return str(answer.raise_for_status().json()["UserId"])


async def test_the_certificate_file_signs_in(told: Any) -> None:
    dataverse = told["dataverse"]

    def acquire() -> dict[str, Any]:
        path = Path(dataverse["client_certificate"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        pem = path.read_text()
        with requests.Session() as session:
            session.trust_env = False
            session.verify = told["ca_bundle"]
            session.proxies = {"https": told["https_proxy"]}
            app = msal.ConfidentialClientApplication(
                dataverse["client_id"],
                client_credential={"private_key": pem, "public_certificate": pem},
                authority=dataverse["authority"],
                http_client=session,
            )
            found: dict[str, Any] = app.acquire_token_for_client([f"{dataverse['url']}/.default"])
            return found

    token = await asyncio.to_thread(acquire)
    assert await who_am_i(told, token["access_token"]) == constants.APPLICATION_USER_ID


async def test_the_identity_endpoint_signs_in(told: Any) -> None:
    dataverse = told["dataverse"]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            dataverse["identity_endpoint"],
            params={
                "api-version": "2019-08-01",
                "resource": dataverse["url"],
                "client_id": dataverse["managed_identity_client_id"],
            },
            headers={"X-IDENTITY-HEADER": dataverse["identity_header"]},
        )
    token = answer.raise_for_status().json()["access_token"]
    assert await who_am_i(told, token) == constants.MANAGED_IDENTITY_USER_ID
