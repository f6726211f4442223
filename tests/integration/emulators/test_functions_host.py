"""The local Functions host as a process: HTTP, admin calls, what it counts."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from emulators.functions.harness import ADMIN, client_of, host_child, until, write_app
from emulators.processes import Child, complete_lines

APP = """
import asyncio
import contextvars
import json
import os
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()
HERE = Path(__file__).parent


def note(text):
    with (HERE / "notes.txt").open("a") as notes:
        notes.write(text + "\\n")


@app.route(route="echo/{name?}", methods=["POST", "PUT"], auth_level=func.AuthLevel.FUNCTION)
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "header": req.headers.get("X-Custom"),
        "body": req.get_body().decode("latin-1"),
        "function": context.function_name,
        "setting": os.environ.get("FROM_FILE"),
        "directory": os.getcwd(),
    }
    return func.HttpResponse(json.dumps(seen), status_code=202, mimetype="application/json", headers={"X-Answer": "42"})


@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
def plain(req: func.HttpRequest) -> str:
    return "hello"


@app.route(route="secret", auth_level=func.AuthLevel.ADMIN)
async def secret(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("for admins")


@app.route(route="broken", auth_level=func.AuthLevel.ANONYMOUS)
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("a secret detail")


@app.route(route="slow", auth_level=func.AuthLevel.ANONYMOUS)
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    note("slow begins")
    while not (HERE / "gate").exists():
        await asyncio.sleep(0.01)
    note("slow ends")
    return func.HttpResponse("done")


@app.route(route="blocking", auth_level=func.AuthLevel.ANONYMOUS)
def blocking(req: func.HttpRequest) -> func.HttpResponse:
    note("blocking begins")
    while not (HERE / "gate").exists():
        time.sleep(0.01)
    return func.HttpResponse("done")


@app.route(route="spin", auth_level=func.AuthLevel.ANONYMOUS)
async def spin(req: func.HttpRequest) -> func.HttpResponse:
    end = time.process_time() + 0.3
    while time.process_time() < end:
        json.loads("[1, 2, 3]")
    return func.HttpResponse("done")


@app.timer_trigger(arg_name="timer", schedule="%Schedule%")
async def tick(timer: func.TimerRequest) -> None:
    note(f"tick past_due={timer.past_due}")
    if (HERE / "fail").exists():
        raise RuntimeError("told to fail")
"""


def notes(app_dir: Path) -> list[str]:
    return complete_lines(app_dir / "notes.txt")


@pytest.fixture(scope="module")
async def app_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_app(tmp_path_factory.mktemp("functions-host") / "app", APP)
    values = {"FROM_FILE": "yes", "Schedule": "0 0 0 1 1 *"}
    (folder / "local.settings.json").write_text(json.dumps({"Values": values}))
    return folder


@pytest.fixture(scope="module")
async def host(app_dir: Path) -> AsyncIterator[Child]:
    child = host_child(app_dir)
    await child.start()
    yield child
    await child.stop(15)


@pytest.fixture
async def client(host: Child) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(host) as opened:
        yield opened


async def test_a_request_reaches_the_function_as_official_types(client: httpx.AsyncClient, app_dir: Path) -> None:
    response = await client.post(
        "/api/echo/ann?a=1&a=2&empty=", headers={"x-functions-key": "function key", "X-Custom": "c"}, content=b"\xff{}"
    )
    assert response.status_code == 202
    assert response.headers["X-Answer"] == "42"
    assert response.headers["Content-Type"] == "application/json"
    seen = response.json()
    assert seen.pop("url").endswith("/api/echo/ann?a=1&a=2&empty=")
    assert seen == {
        "method": "POST", "params": {"a": "1,2"}, "route": {"name": "ann"}, "header": "c", "body": "ÿ{}",
        "function": "echo", "setting": "yes", "directory": str(app_dir),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/echo", None, 401), ("/api/echo", "function key", 202), ("/api/open", None, 200),
        ("/api/secret", "function key", 401), ("/api/secret", "master", 200), ("/api/nowhere", "master", 404),
    ],
)  # fmt: skip
async def test_keys_and_routes(client: httpx.AsyncClient, path: str, key: str | None, status: int) -> None:
    headers = {"x-functions-key": key} if key else {}
    assert (await client.post(path, headers=headers)).status_code == status


async def test_the_key_may_be_in_the_address(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/echo", params={"code": "function key"})).status_code == 202


async def test_an_exception_is_a_500_that_says_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/broken")
    assert response.status_code == 500
    assert response.text == ""


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    body = bytes(104_857_601)
    response = await client.post("/api/echo", headers={"x-functions-key": "function key"}, content=body, timeout=30)
    assert response.status_code == 413


async def test_functions_run_at_the_same_time(client: httpx.AsyncClient, app_dir: Path) -> None:
    before = len(notes(app_dir))
    paths = ["/api/slow"] * 5 + ["/api/blocking"] * 3
    calls = [asyncio.create_task(client.get(path)) for path in paths]
    begun = sorted(["slow begins"] * 5 + ["blocking begins"] * 3)
    await until(lambda: sorted(notes(app_dir)[before:]) == begun)  # nobody can end before the gate opens
    (app_dir / "gate").touch()
    assert {response.text for response in await asyncio.gather(*calls)} == {"done"}


@pytest.mark.parametrize("path", ["/admin/host/status", "/admin/local/stats"])
async def test_admin_calls_need_the_master_key(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, headers={"x-functions-key": "function key"})).status_code == 401
    assert (await client.get(path, headers=ADMIN)).status_code == 200


async def test_status(client: httpx.AsyncClient) -> None:
    assert (await client.get("/admin/host/status", headers=ADMIN)).json()["state"] == "Running"
    assert (await client.get("/admin/host/ping")).status_code == 200


async def test_a_timer_function_can_be_run_by_hand(client: httpx.AsyncClient, app_dir: Path) -> None:
    before = len(notes(app_dir))
    assert (await client.post("/admin/functions/tick?wait=1", headers=ADMIN)).status_code == 200
    assert notes(app_dir)[before:] == ["tick past_due=False"]
    assert (await client.post("/admin/functions/tick", headers=ADMIN)).status_code == 202
    await until(lambda: notes(app_dir)[before:] == ["tick past_due=False"] * 2)


async def test_a_failed_run_by_hand_says_so(client: httpx.AsyncClient, app_dir: Path) -> None:
    (app_dir / "fail").touch()
    response = await client.post("/admin/functions/tick?wait=1", headers=ADMIN)
    (app_dir / "fail").unlink()
    assert response.status_code == 500
    assert response.json() == {"message": "RuntimeError: told to fail"}


async def test_only_what_exists_and_is_no_http_function_can_be_run_by_hand(client: httpx.AsyncClient) -> None:
    assert (await client.post("/admin/functions/nothing", headers=ADMIN)).status_code == 404
    assert (await client.post("/admin/functions/echo", headers=ADMIN)).status_code == 400


async def test_stats_count_calls_and_processor_time(client: httpx.AsyncClient, host: Child) -> None:
    assert (await client.post("/admin/local/stats/reset", headers=ADMIN)).status_code == 204
    before = (await client.get("/admin/local/stats", headers=ADMIN)).json()
    assert before["functions"]["spin"] == {"invocations": 0, "failures": 0, "messages": 0}
    await client.get("/api/spin")
    await client.get("/api/broken")
    after = (await client.get("/admin/local/stats", headers=ADMIN)).json()
    assert after["functions"]["spin"] == {"invocations": 1, "failures": 0, "messages": 0}
    assert after["functions"]["broken"] == {"invocations": 1, "failures": 1, "messages": 0}
    assert {name: of["pid"] for name, of in after["workers"].items()} == host.announced()["workers"]
    assert after["workers"]["spin"]["cpu_seconds"] >= 0.3
    assert after["workers"]["spin"]["cpu_seconds"] > after["workers"]["broken"]["cpu_seconds"]
    assert after["workers"]["spin"]["first_call_seconds"] > 0
    assert after["workers"]["echo"]["start_seconds"] > 0
    assert after["worker"]["cpu_seconds"] >= 0.3
    assert after["host"]["cpu_seconds"] > 0
    assert 0 < after["worker"]["converter_cpu_seconds"] < after["worker"]["cpu_seconds"]
    assert after["worker"]["peak_rss_bytes"] > 10_000_000
    assert after["host"]["peak_rss_bytes"] > 10_000_000


async def test_the_profile_splits_processor_time(client: httpx.AsyncClient) -> None:
    assert (await client.post("/admin/local/profile/start", headers=ADMIN)).status_code == 200
    await client.get("/api/spin")
    samples = (await client.post("/admin/local/profile/stop", headers=ADMIN)).json()["samples"]
    assert samples["own"] > 0.8 * sum(samples.values()) > 8
