"""The whole stack as processes: its files, its parts stopped, killed and started again, and that it leaves nothing."""

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from azure.data.tables.aio import TableServiceClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from emulators.processes import Child, ChildError
from local.control import StackError, send_command
from local.endpoints import inherited_environment
from local.registration import register
from local.stack import Stack
from tests.support.processes import until_dead
from tests.support.values import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

APP = """
import json
import os

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("settings")
def settings(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(dict(os.environ)))
"""


def with_descendants(pids: list[int]) -> list[int]:
    """The processes and all others in their groups (each part leads a group)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            group = int(entry.read_text().rsplit(")", 1)[1].split()[2])
            found += [int(entry.parent.name)] if group in pids else []
    return found


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "function_app.py").write_text(APP)
    (folder / "host.json").write_text('{"version": "2.0"}')
    return folder


@pytest_asyncio.fixture(scope="module")
async def lines() -> AsyncIterator[list[str]]:
    """What the stack has reported."""
    yield []


@pytest_asyncio.fixture(scope="module")
async def stack(app: Path, tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> AsyncIterator[Stack]:
    async with Stack(
        directory=tmp_path_factory.mktemp("stack"),
        empty=True,
        app_directory=app,
        functions_environment={"MARKETO_CONCURRENCY": "7"},
        queues={"persons": {"lock_seconds": 7}, "extra": {"sessions": True}},
        report=lines.append,
    ) as stack:
        yield stack


def endpoints(stack: Stack) -> Any:
    """What a client reads."""
    return json.loads(stack.endpoints_file.read_text())


async def settings_seen_by(url: str) -> dict[str, str]:
    """The environment of the app that answers at a Functions host."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/api/settings")
    environment: dict[str, str] = answer.raise_for_status().json()
    return environment


@asynccontextmanager
async def client_of(told: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client that has nothing but endpoints.json, signed in to Dataverse."""
    tls = ssl.create_default_context(cafile=told["ca_bundle"])
    names = ("client_id", "client_secret", "username", "password")
    form = {"grant_type": "password", "scope": f"{told['dataverse']['url']}/.default"}
    async with httpx.AsyncClient(proxy=told["https_proxy"], verify=tls, trust_env=False) as client:
        token = await client.post(
            f"{told['dataverse']['authority']}/oauth2/v2.0/token",
            data={**form, **{name: told["dataverse"][name] for name in names}},
        )
        client.headers["Authorization"] = f"Bearer {token.raise_for_status().json()['access_token']}"
        yield client


async def marketo_token(client: httpx.AsyncClient, told: Any) -> str:
    """Sign in to Marketo."""
    credentials = {key: told["marketo"][key] for key in ("client_id", "client_secret")}
    identity = await client.get(
        f"{told['marketo']['url']}/identity/oauth/token", params={"grant_type": "client_credentials", **credentials}
    )
    return str(identity.raise_for_status().json()["access_token"])


async def test_clients_find_their_way_with_endpoints_json_alone(stack: Stack) -> None:
    told = endpoints(stack)
    assert stat.S_IMODE(stack.endpoints_file.stat().st_mode) == 0o600
    async with client_of(told) as client:
        who = await client.get(f"{told['dataverse']['url']}/api/data/v9.2/WhoAmI")
        assert "UserId" in who.raise_for_status().json()
        assert await marketo_token(client, told)


async def test_the_app_and_local_settings_have_the_same(stack: Stack) -> None:
    assert stat.S_IMODE(stack.settings_file.stat().st_mode) == 0o600
    values = json.loads(stack.settings_file.read_text())["Values"]
    seen = await settings_seen_by(endpoints(stack)["functions"]["url"])
    assert values["MARKETO_CONCURRENCY"] == "7"
    only_for_commands = {"CHANGES_SEND_CONNECTION", "WEBHOOK_URL", "WEBHOOK_KEY"}
    assert {name for name, value in values.items() if seen.get(name) != value} == only_for_commands


async def test_every_part_is_reported_with_its_log(stack: Stack, lines: list[str]) -> None:
    parts = {"service-bus", "dataverse", "marketo", "proxy", "azurite", "functions-a"}
    assert set(stack.parts) >= parts
    assert {line.split()[0] for line in lines if " ready in " in line} >= parts
    assert all(stack.parts[name].log.is_file() for name in parts)


async def test_a_killed_host_starts_again_on_its_own_with_the_same_address_and_keys(stack: Stack) -> None:
    told = endpoints(stack)
    others = {name: part.pid for name, part in stack.parts.items() if name != "functions-a"}
    old = stack.parts["functions-a"].pid
    assert old is not None
    await stack.kill_functions()
    await until_dead(old)
    with pytest.raises(httpx.ConnectError):
        await settings_seen_by(told["functions"]["url"])
    await stack.start_functions()
    assert (await settings_seen_by(told["functions"]["url"]))["FUNCTIONS_ADMIN_KEY"] == told["functions"]["admin_key"]
    assert {name: stack.parts[name].pid for name in others} == others
    assert endpoints(stack) == told


async def test_a_second_instance_runs_beside_the_first(stack: Stack) -> None:
    await stack.start_functions("b")
    urls = json.loads(stack.control_file.read_text())["functions"]
    assert urls["a"] != urls["b"]
    assert await settings_seen_by(urls["a"]) == await settings_seen_by(urls["b"])
    await stack.kill_functions("b")
    await settings_seen_by(urls["a"])


async def test_one_function_of_a_host_is_killed_and_started(stack: Stack) -> None:
    url = endpoints(stack)["functions"]["url"]
    before = stack.parts["functions-a"].pid
    await asyncio.to_thread(send_command, stack.control_file, "kill-functions", "a", "settings")
    with pytest.raises(httpx.HTTPStatusError):
        await settings_seen_by(url)
    await asyncio.to_thread(send_command, stack.control_file, "start-functions", "a", "settings")
    assert await settings_seen_by(url)
    assert stack.parts["functions-a"].pid == before
    with pytest.raises(StackError, match="'nothing' has no process of its own"):
        await stack.kill_functions(function="nothing")


async def test_azurite_keeps_its_data_and_address_over_a_stop(stack: Stack) -> None:
    connection = endpoints(stack)["storage"]["connection_string"]
    async with TableServiceClient.from_connection_string(connection) as service:
        table = await service.create_table("kept")
        await table.create_entity({"PartitionKey": "p", "RowKey": "r"})
        await stack.stop_part("azurite")
        await stack.start_part("azurite")
        assert (await table.get_entity("p", "r"))["RowKey"] == "r"


async def test_a_part_that_dies_is_reported(stack: Stack, lines: list[str]) -> None:
    proxy = stack.parts["proxy"]
    assert proxy.pid is not None
    os.kill(proxy.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while proxy.running or "DIED" not in lines[-1]:  # noqa: ASYNC110 - a report is a line in a list
            await asyncio.sleep(0.02)
    assert lines[-1].startswith("proxy        DIED with exit code -9")
    await stack.start_part("proxy")


async def test_queues_can_be_changed_and_added(stack: Stack) -> None:
    async with ServiceBusClient.from_connection_string(stack.addresses.service_bus) as client:
        async with client.get_queue_sender("extra") as sender:
            await sender.send_messages(ServiceBusMessage("hello", session_id="s"))
        async with client.get_queue_receiver("extra", session_id="s", max_wait_time=10) as receiver:
            assert str((await receiver.receive_messages())[0]) == "hello"


async def test_a_directory_belongs_to_one_stack(stack: Stack) -> None:
    with pytest.raises(StackError, match="another stack is running in"):
        await Stack(directory=stack.directory).start()
    assert stack.endpoints_file.exists()


async def test_a_stack_of_which_one_part_cannot_start_leaves_nothing_running(tmp_path: Path) -> None:
    stack = Stack(directory=tmp_path, with_functions=False, queues={"persons": {"no_such_field": 1}})
    with pytest.raises(ChildError, match=r"service-bus ended at its start[\s\S]*no_such_field"):
        await stack.start()
    assert not any(part.running for part in stack.parts.values())
    assert not (tmp_path / "endpoints.json").exists()


async def test_without_registration_clients_are_told_nothing(tmp_path: Path, lines: list[str]) -> None:
    async def register_without_proxy(stack: Stack) -> None:
        assert not stack.endpoints_file.exists()
        await stack.stop_part("proxy")
        await register(stack.settings_file, lines.append)

    stack = Stack(directory=tmp_path, with_functions=False, before_ready=register_without_proxy)
    with pytest.raises(StackError, match=r"registration failed with exit code 2\. Unreachable: "):
        await stack.start()
    assert not any(part.running for part in stack.parts.values())
    assert not stack.endpoints_file.exists()
    assert not any(line.startswith("registration") for line in lines)


@asynccontextmanager
async def running_up(folder: Path, *options: str) -> AsyncIterator[Child]:
    """`python -m local.stack up` in a process of its own."""
    command = [sys.executable, "-m", "local.stack", "up", *options, "--directory", str(folder / "state")]

    def is_ready(log: str) -> bool:
        return "The stack is up." in log

    child = Child("up", command, log=folder / "up.log", directory=ROOT, is_ready=is_ready)
    await child.start()
    try:
        yield child
    finally:
        await child.kill()


@pytest_asyncio.fixture
async def up(tmp_path: Path) -> AsyncIterator[Child]:
    """An empty organization."""
    async with running_up(tmp_path, "--empty") as child:
        yield child


async def test_the_sample_company_is_registered_healthy_and_synced(tmp_path: Path) -> None:
    async with running_up(tmp_path) as up:
        settings = tmp_path / "state" / "local.settings.json"
        doctor = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shared.cli.main", "doctor", "--json", "--settings", str(settings)),
            cwd=ROOT,
            env=inherited_environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        found = json.loads((await doctor.communicate())[0])
        assert [check for check in found["checks"] if check["status"] != "ok"] == []
        assert doctor.returncode == 0
        (said,) = (line for line in up.log.read_text().splitlines() if line.startswith("registration"))
        assert re.fullmatch(r"registration ready in \d+\.\d s \(20 steps\)", said)

        told = json.loads((tmp_path / "state" / "endpoints.json").read_text())
        async with client_of(told) as client, asyncio.timeout(60):
            written = await client.post(f"{told['dataverse']['url']}/api/data/v9.2/leads", json={"lastname": "Byron"})
            lead = written.raise_for_status().headers["OData-EntityId"].rpartition("(")[2].rstrip(")")
            client.headers["Authorization"] = f"Bearer {await marketo_token(client, told)}"
            query = {"filterType": "externalPersonId", "filterValues": lead, "fields": "lastName"}
            arrived: list[Any] = []
            while not arrived:
                answer = await client.get(f"{told['marketo']['url']}/rest/v1/leads.json", params=query)
                arrived = answer.raise_for_status().json()["result"]
                await asyncio.sleep(0.2)
            assert [record["lastName"] for record in arrived] == ["Byron"]


async def test_an_empty_organization_registers_nothing(up: Child, tmp_path: Path) -> None:
    control = json.loads((tmp_path / "state" / "control.json").read_text())["dataverse"]
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{control}/rows/serviceendpoint")).json() == []
    assert "registration" not in up.log.read_text()


async def end(up: Child, state: Path, number: signal.Signals) -> None:
    """Send the signal, and wait until `up` and all that it has started is gone."""
    parts = json.loads((state / "control.json").read_text())["parts"]
    pids = with_descendants([part["pid"] for part in parts.values()])
    assert len(pids) >= len(parts) >= 6
    assert up.pid is not None
    os.kill(up.pid, number)
    await until_dead(up.pid, *pids)


def assert_cleaned_up(up: Child, state: Path) -> None:
    """The settings hold secrets."""
    assert "Everything is stopped." in up.log_tail()
    assert not (state / "endpoints.json").exists()
    assert not (state / "local.settings.json").exists()


async def test_up_that_is_terminated_stops_everything_and_removes_its_files(up: Child, tmp_path: Path) -> None:
    await end(up, tmp_path / "state", signal.SIGTERM)
    assert_cleaned_up(up, tmp_path / "state")


async def test_nothing_outlives_up_that_is_killed(up: Child, tmp_path: Path) -> None:
    await end(up, tmp_path / "state", signal.SIGKILL)


async def test_a_person_drives_up_from_the_command_line_and_ends_it(up: Child, tmp_path: Path) -> None:
    async def command(*words: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.stack", *words, "--directory", str(tmp_path / "state")),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        return process.returncode, errors.decode()

    assert await command("start-functions", "--name", "b") == (0, "")
    assert await command("kill-functions") == (0, "")
    assert await command("start-functions") == (0, "")
    code, errors = await command("stop", "nothing")
    assert code == 1
    assert errors.startswith("there is no part 'nothing'")
    events = [line.split()[:2] for line in up.log.read_text().splitlines() if line.startswith("functions-")]
    assert events == [
        ["functions-a", "ready"], ["functions-b", "ready"], ["functions-a", "killed"], ["functions-a", "ready"],
    ]  # fmt: skip
    await end(up, tmp_path / "state", signal.SIGINT)
    assert_cleaned_up(up, tmp_path / "state")


def test_driving_a_stack_that_does_not_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no stack is running in"):
        send_command(tmp_path / "control.json", "start", "azurite")
