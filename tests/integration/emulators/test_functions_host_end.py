"""The local Functions host as a process: whose turn a timer is, apps that are refused, and how a host ends."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from emulators.functions.harness import ADMIN, client_of, host_child, until, write_app
from emulators.processes import Child, ChildError, complete_lines
from emulators.waiting import eventually

APP = """
import asyncio
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()


def note(text):
    with (Path(__file__).parent / "notes.txt").open("a") as notes:
        notes.write(text + "\\n")


@app.route(route="slow", auth_level=func.AuthLevel.ANONYMOUS)
async def slow(req: func.HttpRequest) -> str:
    note("slow begins")
    while not (Path(__file__).parent / "gate").exists():
        await asyncio.sleep(0.01)
    note("slow ends")
    return "done"
"""
TIMER = """
@app.timer_trigger(arg_name="timer", schedule="%Schedule%")
async def tick(timer: func.TimerRequest) -> None:
    note("tick")
"""
MEMORY = """
import os
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
calls = 0
with (Path(__file__).parent / "notes.txt").open("a") as notes:
    notes.write("loaded\\n")


def count():
    global calls
    calls += 1
    return str(calls)


@app.route(route="one")
async def one(req: func.HttpRequest) -> str:
    return count()


@app.route(route="two")
async def two(req: func.HttpRequest) -> str:
    return count()


@app.route(route="end")
async def end(req: func.HttpRequest) -> str:
    os._exit(3)
"""

#: How workers are started: each loads the app, or all are copies of one that has.
ANEW_OR_COPIED = pytest.mark.parametrize("options", [(), ("--copied", "json")], ids=["anew", "copied"])


#: Starts a host of an app, and gives what it ends with where nobody has asked it to.
Start = Callable[..., Awaitable[tuple[Child, list[int]]]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """The app is in the folder `app`; the host is stopped in the end."""
    children: list[Child] = []

    async def begin(source: str, *options: str, **host_json: str) -> tuple[Child, list[int]]:
        codes: list[int] = []
        child = host_child(write_app(tmp_path / "app", source, **host_json), *options)
        child._on_death = lambda _child, code: codes.append(code)
        children.append(child)
        await child.start()
        return child, codes

    yield begin
    await asyncio.gather(*(child.stop(15) for child in children))


def notes(app_dir: Path) -> list[str]:
    return complete_lines(app_dir / "notes.txt")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().split()[3])


def worker_of(host: Child, function: str = "slow") -> int:
    pid: int = host.announced()["workers"][function]
    return pid


async def until_gone(pid: int) -> None:
    """Wait until a process is dead and its parent has noticed."""
    await until(lambda: not Path(f"/proc/{pid}").exists(), within=5)


async def ticks_of(host: Child) -> int:
    async with client_of(host) as client:
        stats = (await client.get("/admin/local/stats", headers=ADMIN)).json()
    count: int = stats["functions"]["tick"]["invocations"]
    return count


async def test_one_of_two_instances_runs_a_timer_and_the_other_takes_over(tmp_path: Path) -> None:
    locks = str(tmp_path / "locks")
    folders = [write_app(tmp_path / name, APP + TIMER) for name in "ab"]
    hosts = [host_child(each, "--lock-dir", locks, name=each.name, Schedule="* * * * * *") for each in folders]
    await asyncio.gather(*(host.start() for host in hosts))
    try:
        await until(lambda: sum(len(notes(each)) for each in folders) >= 2)
        keeper, other = sorted(zip(hosts, folders, strict=True), key=lambda pair: -len(notes(pair[1])))
        assert await ticks_of(other[0]) == 0
        await keeper[0].kill()
        await until(lambda: len(notes(other[1])) >= 2)
    finally:
        await asyncio.gather(*(host.stop(15) for host in hosts))


async def test_a_stop_lets_running_calls_finish(tmp_path: Path, start: Start) -> None:
    child, codes = await start(APP)
    assert child.pid is not None
    async with client_of(child) as client:
        call = asyncio.create_task(client.get("/api/slow"))
        await until(lambda: "slow begins" in notes(tmp_path / "app"))
        os.killpg(child.pid, signal.SIGTERM)  # the worker too, as a service manager does it
        (tmp_path / "app/gate").touch()
        assert (await call).text == "done"
    await until(lambda: codes == [0])


async def test_a_stop_while_the_app_loads_is_prompt(tmp_path: Path) -> None:
    app_dir = write_app(tmp_path / "app", "import time\nopen('loading', 'w').close()\ntime.sleep(60)\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emulators.functions", "--app-dir", str(app_dir)
    )
    await until((app_dir / "loading").exists, within=30)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 5) == 0


@ANEW_OR_COPIED
async def test_the_worker_dies_with_a_killed_host(tmp_path: Path, start: Start, options: tuple[str, ...]) -> None:
    child, _ = await start(APP, *options)
    worker = worker_of(child)
    assert child.pid is not None
    async with client_of(child) as client:
        call = asyncio.create_task(client.get("/api/slow"))
        await until(lambda: "slow begins" in notes(tmp_path / "app"))
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: not Path(f"/proc/{worker}").exists())
        with pytest.raises(httpx.HTTPError):
            await call
    await child.kill()
    assert "slow ends" not in notes(tmp_path / "app")


async def test_a_lost_worker_ends_the_host(start: Start) -> None:
    child, codes = await start(APP, "--one-process")
    os.kill(worker_of(child), signal.SIGKILL)
    await until(lambda: codes == [1])


async def test_a_host_that_can_make_no_more_copies_leaves(start: Start) -> None:
    """The process that its workers are copies of was killed, and they end with it."""
    child, codes = await start(MEMORY, "--copied", "json")
    original = parent_of(worker_of(child, "one"))
    assert original == parent_of(worker_of(child, "two")) != child.pid
    os.kill(original, signal.SIGKILL)
    await until(lambda: codes == [1])
    assert "the process that workers are copied from has ended" in child.log.read_text()


@ANEW_OR_COPIED
async def test_a_lost_worker_of_one_function_is_replaced_and_the_others_go_on(
    start: Start, options: tuple[str, ...]
) -> None:
    child, _ = await start(MEMORY, *options)
    lost = worker_of(child, "one")
    async with client_of(child) as client:
        assert [(await client.get("/api/one")).text for _ in range(2)] == ["1", "2"]
        assert (await client.get("/api/two")).text == "1"
        os.kill(lost, signal.SIGKILL)
        await until_gone(lost)
        answers = [""]

        async def is_answered() -> bool:  # a call that the lost one has taken fails
            answers.append((await client.get("/api/one")).text)
            return answers[-1] != ""

        await eventually(is_answered, seconds=15)
        assert answers[-1] == "1"
        assert (await client.get("/api/two")).text == "2"
    code = "" if options else " with exit code -9"  # which the parent of a copy keeps for itself
    assert f"one: the worker ended{code}; another one is started" in child.log.read_text()


async def test_a_worker_that_is_lost_again_and_again_ends_the_host(start: Start) -> None:
    child, codes = await start(MEMORY)
    async with client_of(child) as client:
        with contextlib.suppress(httpx.HTTPError):
            for _ in range(4):
                assert (await client.get("/api/end")).status_code == 500
    await until(lambda: codes == [1])


async def test_in_one_process_functions_share_their_memory(start: Start) -> None:
    child, _ = await start(MEMORY, "--one-process")
    async with client_of(child) as client:
        assert [(await client.get(path)).text for path in ("/api/one", "/api/two")] == ["1", "2"]
        assert (await client.post("/admin/local/functions/one/kill", headers=ADMIN)).status_code == 409
    assert len(set(child.announced()["workers"].values())) == 1


@pytest.mark.parametrize(
    ("options", "loaded"), [((), 4), (("--copied", "json"), 1)], ids=["each loads the app", "they are copies of one"]
)
async def test_the_instance_of_one_function_can_be_killed_and_started(
    tmp_path: Path, start: Start, options: tuple[str, ...], loaded: int
) -> None:
    child, _ = await start(MEMORY, *options)
    pid = worker_of(child, "one")
    async with client_of(child) as client:
        assert (await client.post("/admin/local/functions/one/kill", headers=ADMIN)).status_code == 200
        await until_gone(pid)
        assert (await client.get("/api/one")).status_code == 500
        assert (await client.get("/api/two")).text == "1"
        started = (await client.post("/admin/local/functions/one/start", headers=ADMIN)).json()
        assert started["workers"]["one"] != pid
        assert (await client.get("/api/one")).text == "1"
        assert (await client.post("/admin/local/functions/nothing/kill", headers=ADMIN)).status_code == 409
    assert notes(tmp_path / "app") == ["loaded"] * loaded


async def test_a_call_out_of_time_ends_the_host(start: Start) -> None:
    child, codes = await start(APP, "--one-process", functionTimeout="00:00:00.2")
    async with client_of(child) as client:
        assert (await client.get("/api/slow")).status_code == 500
    await until(lambda: codes == [1])
    assert "functionTimeout" in child.log.read_text()


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
        (APP + TIMER, {"Schedule": "whenever"}, "'whenever' is not an NCRONTAB expression"),
        (APP + TIMER, {"Schedule": ""}, "'Schedule' that %Schedule% refers to is not set"),
        ("import nothing_of_that_name", {}, "No module named 'nothing_of_that_name'"),
        (TWO_APPS, {}, "defines 2 function apps"),
        (BUILTIN_LIST, {}, "'messages' cannot be annotated list"),
    ],
)
@ANEW_OR_COPIED
async def test_a_broken_app_is_refused(
    tmp_path: Path, source: str, settings: dict[str, str], complaint: str, options: tuple[str, ...]
) -> None:
    child = host_child(write_app(tmp_path / "app", source), *options, **settings)
    with pytest.raises(ChildError, match="exit code 2"):
        await child.start()
    assert complaint in child.log.read_text()
