"""A stack without the app: a newcomer's own rows by dev.py's commands, and signing in as endpoints.json says."""

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from emulators.dataverse import constants
from local.control import StackError
from local.row_commands import on_rows
from local.stack import Stack
from shared.config.settings import DataverseSettings
from shared.dataverse.auth import DataverseAuth
from shared.dataverse.client import DataverseClient


@pytest_asyncio.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The neighbours alone, with the sample company."""
    async with Stack(directory=tmp_path_factory.mktemp("stack"), with_functions=False) as running:
        yield running


@pytest.fixture
def say(stack: Stack) -> Callable[..., list[str]]:
    """Runs a command as it is typed after `dev.py stack`, and gives its lines."""

    def run(line: str) -> list[str]:
        command, table, *words = shlex.split(line)
        return list(on_rows(stack.directory, command, table, words))

    return run


async def test_a_row_is_created_changed_read_and_deleted(stack: Stack, say: Callable[[str], list[str]]) -> None:
    told = await asyncio.to_thread(say, "write contact firstname=Ada lastname=Byron emailaddress1=ada@contoso.example")
    table, id_, *_ = told[0].split()
    assert (table, told[0]) == ("contact", f"contact {id_} is created.")
    assert told[1] == "Now try:"
    shown, history, read = (shlex.split(line) for line in told[2:])
    assert shown[-3:] == ["show", "person", id_]
    assert history[-2:] == ["history", id_]
    assert shown[1:3] == ["--settings", str(stack.settings_file)]
    assert read[2:] == ["stack", "read", "contact", id_, "--directory", str(stack.directory)]

    changed = await asyncio.to_thread(say, f"write contact {id_.upper()} jobtitle=Countess numberofchildren:=3")
    assert changed[0] == f"contact {id_} is changed."
    row = json.loads("".join(await asyncio.to_thread(say, f"read contact {id_}")))
    assert {"firstname": "Ada", "jobtitle": "Countess", "contactid": id_}.items() <= row.items()

    assert await asyncio.to_thread(say, f"delete contact {id_}") == [f"contact {id_} is deleted."]
    with pytest.raises(StackError, match=r"Dynamics refuses it: .*Does Not Exist"):
        await asyncio.to_thread(say, f"write contact {id_} jobtitle=Nobody")


async def test_a_row_may_refer_to_another_one(say: Callable[[str], list[str]]) -> None:
    account = (await asyncio.to_thread(say, "write companies name=Contoso"))[0].split()[1]
    line = f"write contact lastname=Byron parentcustomerid_account=/accounts({account})"
    contact = (await asyncio.to_thread(say, line))[0].split()[1]
    row = json.loads("".join(await asyncio.to_thread(say, f"read contact {contact}")))
    assert row["_parentcustomerid_value"] == account


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("write contact 2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", "write takes at least one column=value"),
        ("write contact firstname", "'firstname' is not a column and its value"),
        ("write contact creditlimit:=many", "'many' of creditlimit is no JSON"),
        ("read contact ann", "read takes the id of one row"),
        ("write contcat lastname=Byron", "Dynamics refuses it: "),
        ("write contact lastnam=Byron", "Dynamics refuses it: .*lastnam"),
    ],
)
async def test_what_is_wrong_is_said(say: Callable[[str], list[str]], line: str, told: str) -> None:
    with pytest.raises(StackError, match=told):
        await asyncio.to_thread(say, line)


def test_without_a_stack_up_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no stack is running in .*: start it with python3 dev\.py up"):
        list(on_rows(tmp_path, "write", "contact", ["lastname=Byron"]))


@pytest.mark.parametrize(
    ("way", "client_id", "user"),
    [
        ("certificate", "client_id", constants.APPLICATION_USER_ID),
        ("managed_identity", "managed_identity_client_id", constants.MANAGED_IDENTITY_USER_ID),
    ],
)
async def test_clients_sign_in_with_what_endpoints_json_tells(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, way: str, client_id: str, user: str
) -> None:
    told = json.loads(stack.endpoints_file.read_text())
    dataverse = told["dataverse"]
    environment = {
        "HTTPS_PROXY": told["https_proxy"], "SSL_CERT_FILE": told["ca_bundle"], "REQUESTS_CA_BUNDLE": told["ca_bundle"],
        "IDENTITY_ENDPOINT": dataverse["identity_endpoint"], "IDENTITY_HEADER": dataverse["identity_header"],
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = DataverseSettings.model_validate(
        {
            "DATAVERSE_URL": dataverse["url"], "DATAVERSE_AUTH": way, "DATAVERSE_CLIENT_ID": dataverse[client_id],
            "DATAVERSE_CLIENT_CERTIFICATE": dataverse["client_certificate"],
        }
    )  # fmt: skip
    async with httpx.AsyncClient(base_url=settings.url) as http:
        auth = DataverseAuth(settings, http, clock=time.monotonic)
        assert await DataverseClient(http, auth, clock=time.monotonic, sleep=asyncio.sleep).user_id() == user
