"""Each emulator as a program of its own: what it says when it is ready, and what an unmodified client does with it."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage

from emulators.dataverse import constants as dataverse
from emulators.dataverse.harness import VendorTransport
from emulators.marketo import identity as marketo
from emulators.processes import PARENT_VARIABLE

WAIT = 10.0
README = Path(__file__).parents[3] / "emulators" / "README.md"
Start = Callable[..., tuple["subprocess.Popen[str]", dict[str, Any]]]


def command(emulator: str, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - fixed commands
        [sys.executable, "-m", f"emulators.{emulator}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
    )


@pytest.fixture
def start() -> Iterator[Start]:
    """Start an emulator and give its process and what its READY line says."""
    started: list[subprocess.Popen[str]] = []

    def begin(emulator: str, *options: str) -> tuple["subprocess.Popen[str]", dict[str, Any]]:
        process = command(emulator, *options)
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("READY "), process.communicate()
        return process, json.loads(line.removeprefix("READY "))

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def refused(emulator: str, *options: str) -> tuple[int, str]:
    """Exit code and complaint of an emulator that does not start."""
    process = command(emulator, *options)
    _, complaint = process.communicate(timeout=WAIT)
    return process.returncode, complaint


def test_the_unmodified_sdk_uses_the_queues_that_the_command_line_names(start: Start) -> None:
    process, ready = start("servicebus", "--port", "0", "--queue", "orders", "--queue", "stock:sessions")
    with ServiceBusClient.from_connection_string(ready["connection_string"]) as client:
        with client.get_queue_sender("orders") as sender, client.get_queue_receiver("orders") as receiver:
            sender.send_messages([ServiceBusMessage("one"), ServiceBusMessage("two")])
            messages = receiver.receive_messages(2, max_wait_time=WAIT)
            assert [str(message) for message in messages] == ["one", "two"]
            for message in messages:
                receiver.complete_message(message)
            assert receiver.peek_messages(sequence_number=1) == []
        with client.get_queue_sender("stock") as sender:
            sender.send_messages(ServiceBusMessage("three", session_id="S"))
        with client.get_queue_receiver("stock", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT) as receiver:
            assert [str(message) for message in receiver.receive_messages(1)] == ["three"]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=WAIT)
    assert process.returncode == 0
    assert "queues: orders, stock (sessions)" in said
    assert ready["connection_string"] in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "name a queue with --queue NAME"),
        (["--queue", "a", "--queue", "A"], "two queues have the same name"),
        (["--queue", "a:sesions"], "expected NAME or NAME:sessions"),
        (["--queues", "/nowhere/queues.json"], "/nowhere/queues.json"),
        (["--queue", "a", "--policy", "P:key"], "is not NAME:KEY:CLAIM"),
        (["--queue", "a", "--cert", "server.pem"], "--cert and --key go together"),
    ],
)
def test_a_wrong_command_line_is_explained(options: list[str], complaint: str) -> None:
    code, said = refused("servicebus", "--port", "0", *options)
    assert code == 2
    assert complaint in said
    assert "Traceback" not in said


def test_the_example_for_pytest_in_the_readme_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?def test_.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "test_example.py").write_text(example)
    ran = subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(README.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_a_port_that_is_taken_is_named(start: Start) -> None:
    _, ready = start("servicebus", "--port", "0", "--queue", "q")
    code, said = refused("servicebus", "--port", str(ready["port"]), "--queue", "q")
    assert code == 1
    assert f"port {ready['port']}: " in said
    assert "Traceback" not in said


def test_marketo_answers_clients_that_trust_the_authority_it_has_made(start: Start) -> None:
    process, ready = start("marketo", "--daily", "1")
    trust = ssl.create_default_context(cafile=ready["ca_bundle"])
    with httpx.Client(base_url=f"https://127.0.0.1:{ready['port']}", verify=trust, trust_env=False) as client:
        form = {"grant_type": "client_credentials"}
        identity = {**form, "client_id": marketo.CLIENT_ID, "client_secret": marketo.CLIENT_SECRET}
        token = client.post("/identity/oauth/token", data=identity).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        stored = client.post("/rest/v1/leads.json", json={"input": [{"email": "anna@example.com"}]}).json()
        assert [each["status"] for each in stored["result"]] == ["created"]
        assert client.get("/rest/v1/stats/usage.json").json()["errors"][0]["code"] == "607"
    process.terminate()
    process.communicate(timeout=WAIT)
    assert process.returncode == 0
    assert not Path(ready["ca_bundle"]).exists()


async def test_dataverse_answers_clients_that_trust_the_authority_it_has_made(start: Start) -> None:
    _, ready = start("dataverse")
    trust = ssl.create_default_context(cafile=ready["ca_bundle"])
    async with httpx.AsyncClient(transport=VendorTransport(ready["port"], trust)) as client:
        form = {
            "grant_type": "client_credentials", "client_id": dataverse.CLIENT_ID,
            "client_secret": dataverse.CLIENT_SECRET, "scope": f"{dataverse.ORGANIZATION_URL}/.default",
        }  # fmt: skip
        login = f"https://{dataverse.LOGIN_HOST}/{dataverse.TENANT_ID}/oauth2/v2.0/token"
        token = (await client.post(login, data=form)).json()["access_token"]
        answer = await client.get(
            f"{dataverse.API_URL}accounts?$select=name&$top=1", headers={"Authorization": f"Bearer {token}"}
        )
        assert len(answer.json()["value"]) == 1
