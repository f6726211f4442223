"""Workers that are copies of a process that has loaded the app."""

import os
import signal
from pathlib import Path

from emulators.functions.harness import ADMIN, client_of, host_child, until, write_app
from emulators.processes import Child, complete_lines

APP = """
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
calls = []
with (Path(__file__).parent / "notes.txt").open("a") as notes:
    notes.write("loaded\\n")


@app.route(route="one")
async def one(req: func.HttpRequest) -> str:
    calls.append(1)
    return str(len(calls))


@app.route(route="two")
async def two(req: func.HttpRequest) -> str:
    calls.append(1)
    return str(len(calls))
"""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().split()[3])


async def started(app_dir: Path) -> tuple[Child, list[int]]:
    """A host, and where the code is written that it ends with by itself."""
    codes: list[int] = []
    child = host_child(write_app(app_dir, APP), "--copied", "json")
    child._on_death = lambda _child, code: codes.append(code)
    await child.start()
    return child, codes


async def test_the_app_is_loaded_once_and_copies_share_no_memory(tmp_path: Path) -> None:
    child, _ = await started(tmp_path / "app")
    async with client_of(child) as client:
        assert [(await client.get("/api/one")).text for _ in range(2)] == ["1", "2"]
        assert (await client.get("/api/two")).text == "1"
        for action in ("kill", "start"):
            assert (await client.post(f"/admin/local/functions/one/{action}", headers=ADMIN)).status_code == 200
        assert (await client.get("/api/one")).text == "1"
    await child.stop(15)
    assert complete_lines(tmp_path / "app/notes.txt") == ["loaded"]


async def test_a_host_that_can_make_no_more_copies_leaves(tmp_path: Path) -> None:
    """The original was killed, and they end with it."""
    child, codes = await started(tmp_path / "app")
    workers = child.announced()["workers"]
    assert parent_of(workers["one"]) == parent_of(workers["two"]) != child.pid
    os.kill(parent_of(workers["one"]), signal.SIGKILL)
    await until(lambda: bool(codes))
    assert codes == [1]
    assert "the process that workers are copied from has ended" in child.log.read_text()
    await child.kill()
