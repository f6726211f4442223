"""The local Functions host as a process: HTTP, timers, admin calls, refusals, its end."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.processes import Child, ChildError

ADMIN = {"x-functions-key": "master"}
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
    await asyncio.sleep(float(req.params["seconds"]))
    note("slow ends")
    return func.HttpResponse("done")


@app.route(route="blocking", auth_level=func.AuthLevel.ANONYMOUS)
def blocking(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(0.3)
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


def write_app(folder: Path, source: str = APP, **host_json: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(source)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **host_json}))
    (folder / "local.settings.json").write_text(json.dumps({"Values": {"FROM_FILE": "yes", "Schedule": "0 0 0 1 1 *"}}))
    return folder


def host_child(app_dir: Path, *options: str, **settings: str) -> Child:
    keys = {"FUNCTIONS_WEBHOOK_KEY": "function key", "FUNCTIONS_ADMIN_KEY": "master"}
    return Child(
        "host",
        [sys.executable, "-m", "local.functions", "--port", "0", "--app-dir", str(app_dir), *options],
        log=app_dir / "host.log",
        environment={**os.environ, **keys, **settings},
    )


def ready(child: Child) -> dict[str, Any]:
    lines = [line for line in child.log.read_text().splitlines() if line.startswith("READY ")]
    announced: dict[str, Any] = json.loads(lines[-1].removeprefix("READY "))
    return announced


def client_of(child: Child) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{ready(child)['port']}", trust_env=False)


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


def notes(app_dir: Path) -> list[str]:
    path = app_dir / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
async def app_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("functions-host") / "app")


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
        "method": "POST",
        "params": {"a": "1,2"},
        "route": {"name": "ann"},
        "header": "c",
        "body": "ÿ{}",
        "function": "echo",
        "setting": "yes",
        "directory": str(app_dir),
    }


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/echo", None, 401),
        ("/api/echo", "wrong", 401),
        ("/api/echo", "function key", 202),
        ("/api/echo", "master", 202),
        ("/api/open", None, 200),
        ("/api/secret", "function key", 401),
        ("/api/secret", "master", 200),
        ("/api/nowhere", "master", 404),
        ("/echo", "master", 404),
    ],
)
async def test_keys_and_routes(client: httpx.AsyncClient, path: str, key: str | None, status: int) -> None:
    headers = {"x-functions-key": key} if key else {}
    assert (await client.post(path, headers=headers)).status_code == status


async def test_the_key_may_be_in_the_address(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/echo", params={"code": "function key"})).status_code == 202


async def test_a_method_that_is_not_served_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/echo", params={"code": "function key"})).status_code == 404


async def test_text_is_an_answer_too(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/open")).text == "hello"


async def test_an_exception_is_a_500_that_says_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/broken")
    assert response.status_code == 500
    assert response.text == ""


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    body = bytes(104_857_601)
    response = await client.post("/api/echo", headers={"x-functions-key": "function key"}, content=body, timeout=30)
    assert response.status_code == 413


async def test_functions_run_at_the_same_time(client: httpx.AsyncClient) -> None:
    started = time.monotonic()
    calls = [client.get("/api/slow?seconds=0.3") for _ in range(5)] + [client.get("/api/blocking") for _ in range(3)]
    assert {response.text for response in await asyncio.gather(*calls)} == {"done"}
    assert time.monotonic() - started < 1.2


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
    assert after["worker"]["pid"] == ready(host)["worker_pid"]
    assert 0.3 <= after["worker"]["cpu_seconds"] < 0.6
    assert after["host"]["cpu_seconds"] < 0.2
    assert 0 < after["worker"]["converter_cpu_seconds"] < 0.05
    assert after["worker"]["peak_rss_bytes"] > 10_000_000
    assert after["host"]["peak_rss_bytes"] > 10_000_000


async def test_the_profile_splits_processor_time(client: httpx.AsyncClient) -> None:
    assert (await client.post("/admin/local/profile/start", headers=ADMIN)).status_code == 200
    await client.get("/api/spin")
    samples = (await client.post("/admin/local/profile/stop", headers=ADMIN)).json()["samples"]
    assert samples["own"] > 0.8 * sum(samples.values()) > 8


async def ticks_of(host: Child) -> int:
    async with client_of(host) as client:
        stats = (await client.get("/admin/local/stats", headers=ADMIN)).json()
    count: int = stats["functions"]["tick"]["invocations"]
    return count


async def test_one_of_two_instances_runs_a_timer_and_the_other_takes_over(tmp_path: Path) -> None:
    locks = str(tmp_path / "locks")
    folders = [write_app(tmp_path / name) for name in "ab"]
    hosts = [host_child(each, "--lock-dir", locks, "--name", each.name, Schedule="* * * * * *") for each in folders]
    await asyncio.gather(*(host.start() for host in hosts))
    try:
        await until(lambda: sum(len(notes(each)) for each in folders) >= 2)
        keeper, other = sorted(zip(hosts, folders, strict=True), key=lambda pair: -len(notes(pair[1])))
        assert await ticks_of(other[0]) == 0
        await keeper[0].kill()
        await until(lambda: len(notes(other[1])) >= 2)
    finally:
        await asyncio.gather(*(host.stop(15) for host in hosts))


async def test_a_stop_lets_running_calls_finish(tmp_path: Path) -> None:
    deaths: list[int] = []
    app_dir = write_app(tmp_path / "app")
    child = host_child(app_dir)
    child._on_death = lambda _child, code: deaths.append(code)
    await child.start()
    assert child.pid is not None
    async with client_of(child) as client:
        call = asyncio.create_task(client.get("/api/slow?seconds=1"))
        await until(lambda: "slow begins" in notes(app_dir))
        os.killpg(child.pid, signal.SIGTERM)  # the worker too, as a service manager does it
        assert (await call).text == "done"
    await until(lambda: bool(deaths))
    assert deaths == [0]
    await child.kill()


async def test_a_stop_while_the_app_loads_is_prompt(tmp_path: Path) -> None:
    app_dir = write_app(tmp_path / "app", "import time\nopen('loading', 'w').close()\ntime.sleep(60)\n")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "local.functions", "--app-dir", str(app_dir))
    await until((app_dir / "loading").exists, within=30)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_the_worker_dies_with_a_killed_host(tmp_path: Path) -> None:
    app_dir = write_app(tmp_path / "app")
    child = host_child(app_dir)
    await child.start()
    worker = ready(child)["worker_pid"]
    assert child.pid is not None
    async with client_of(child) as client:
        call = asyncio.create_task(client.get("/api/slow?seconds=2"))
        await until(lambda: "slow begins" in notes(app_dir))
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: not Path(f"/proc/{worker}").exists(), within=2)
        with pytest.raises(httpx.HTTPError):
            await call
    await child.kill()
    assert "slow ends" not in notes(app_dir)


async def test_a_lost_worker_ends_the_host(tmp_path: Path) -> None:
    deaths: list[int] = []
    app_dir = write_app(tmp_path / "app")
    child = host_child(app_dir)
    child._on_death = lambda _child, code: deaths.append(code)
    await child.start()
    os.kill(ready(child)["worker_pid"], signal.SIGKILL)
    await until(lambda: bool(deaths))
    assert deaths == [1]
    await child.kill()


async def test_a_call_out_of_time_ends_the_host(tmp_path: Path) -> None:
    deaths: list[int] = []
    app_dir = write_app(tmp_path / "app", functionTimeout="00:00:00.2")
    child = host_child(app_dir)
    child._on_death = lambda _child, code: deaths.append(code)
    await child.start()
    async with client_of(child) as client:
        assert (await client.get("/api/slow?seconds=5")).status_code == 500
    await until(lambda: bool(deaths))
    assert deaths == [1]
    assert "functionTimeout" in child.log.read_text()
    await child.kill()


BUILTIN_LIST = """
import azure.functions as func
app = func.FunctionApp()

@app.service_bus_queue_trigger(arg_name="messages", queue_name="q", connection="Bus", cardinality="many")
def drain(messages: list[func.ServiceBusMessage]) -> None: ...
"""
TWO_APPS = "import azure.functions as func\none = func.FunctionApp()\ntwo = func.FunctionApp()\n"


@pytest.mark.parametrize(
    ("source", "settings", "complaint"),
    [
        (APP, {"Schedule": "whenever"}, "'whenever' is no NCRONTAB expression"),
        (APP, {"Schedule": ""}, "'Schedule' that %Schedule% refers to is not set"),
        ("import nothing_of_that_name", {}, "No module named 'nothing_of_that_name'"),
        (TWO_APPS, {}, "defines 2 function apps"),
        (BUILTIN_LIST, {}, "'messages' cannot be annotated list"),
    ],
)
async def test_an_app_that_cannot_run_is_refused(
    tmp_path: Path, source: str, settings: dict[str, str], complaint: str
) -> None:
    child = host_child(write_app(tmp_path / "app", source), **settings)
    with pytest.raises(ChildError, match="exit code 2"):
        await child.start()
    assert complaint in child.log.read_text()
