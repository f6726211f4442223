"""Children of the stack: how they start, end, come back, and that none is left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from emulators import processes
from emulators.processes import Child, ChildError, free_ports
from tests.support.processes import is_alive, until_dead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

ROOT = Path(__file__).parents[3]
SLEEPER = """
    from emulators.processes import die_with_parent
    import time
    die_with_parent()
    print("READY {}", flush=True)
    time.sleep(600)
"""


def _python(program: str) -> list[str]:
    return [sys.executable, "-u", "-c", textwrap.dedent(program)]


@pytest_asyncio.fixture
async def sleeper(tmp_path: Path) -> AsyncIterator[Child]:
    child = Child("sleeper", _python(SLEEPER), log=tmp_path / "sleeper.log")
    yield child
    await child.kill()


async def test_a_child_that_dies_at_its_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    program = "print('first line'); raise SystemExit('no such queue: persons')"
    child = Child("broker", _python(program), log=tmp_path / "broker.log")
    with pytest.raises(ChildError, match=r"broker ended at its start with exit code 1[\s\S]*no such queue: persons"):
        await child.start()
    assert not child.running


async def test_a_child_that_never_gets_ready_is_killed_at_the_deadline(tmp_path: Path) -> None:
    child = Child("slow", _python("import time; time.sleep(600)"), log=tmp_path / "slow.log", ready_within=0.5)
    pids: list[int | None] = []

    def is_ready(_log: str) -> bool:
        pids.append(child.pid)
        return False

    child._is_ready = is_ready
    with pytest.raises(ChildError, match=r"slow was not ready after 0\.5 s"):
        await child.start()
    assert pids[0] is not None
    await until_dead(pids[0])


async def test_a_command_that_does_not_exist_is_reported_by_the_name_of_the_part(tmp_path: Path) -> None:
    child = Child("storage", [str(tmp_path / "nothing")], log=tmp_path / "storage.log")
    with pytest.raises(ChildError, match="storage cannot be started"):
        await child.start()


async def test_stop_lets_a_child_leave_by_itself(tmp_path: Path) -> None:
    program = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("said goodbye"), sys.exit(0)))
        print("READY {}")
        time.sleep(600)
    """
    child = Child("polite", _python(program), log=tmp_path / "polite.log")
    await child.start()
    await child.stop()
    assert "said goodbye" in child.log_tail()
    assert not child.running


async def test_stop_kills_a_child_that_does_not_leave(tmp_path: Path) -> None:
    program = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("READY {}")
        time.sleep(600)
    """
    child = Child("stubborn", _python(program), log=tmp_path / "stubborn.log")
    await child.start()
    pid = child.pid
    assert pid is not None
    await child.stop(grace=0.2)
    await until_dead(pid)


async def test_kill_takes_the_whole_group_and_the_child_starts_again(tmp_path: Path) -> None:
    program = """
        import subprocess, sys, time
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("READY", helper.pid)
        time.sleep(600)
    """
    child = Child("family", _python(program), log=tmp_path / "family.log")
    await child.start()
    helper = int(child.log_tail().split()[-1])
    await child.kill()
    await until_dead(helper)
    await child.start()
    assert child.running
    assert child.log.read_text().count("READY") == 2
    await child.kill()


async def test_only_an_end_that_nobody_asked_for_is_reported(tmp_path: Path) -> None:
    deaths: list[int] = []
    reported = asyncio.Event()

    def note(_: Child, code: int) -> None:
        deaths.append(code)
        reported.set()

    child = Child("fragile", _python(SLEEPER), log=tmp_path / "fragile.log", on_death=note)
    for end in (child.stop, child.kill):
        await child.start()
        await end()
    assert deaths == []
    await child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGABRT)
    await asyncio.wait_for(reported.wait(), 10)
    assert deaths == [-signal.SIGABRT]
    assert not child.running


async def test_starting_twice_keeps_the_running_process(sleeper: Child) -> None:
    await sleeper.start()
    pid = sleeper.pid
    await sleeper.start()
    assert sleeper.pid == pid


async def test_no_child_survives_the_sigkill_of_its_parent(tmp_path: Path) -> None:
    parent_program = f"""
        import asyncio, json, os, signal, sys
        from pathlib import Path
        from emulators.processes import Child

        async def main():
            child = Child("sleeper", {_python(SLEEPER)!r}, log=Path({str(tmp_path / "child.log")!r}))
            await child.start()
            print("READY", json.dumps(child.pid), flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
    """
    parent = Child("parent", _python(parent_program), log=tmp_path / "parent.log")
    await parent.start()
    grandchild = json.loads(parent.log_tail().removeprefix("READY"))
    assert is_alive(grandchild)
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    await until_dead(grandchild)
    await parent.kill()


async def test_a_child_whose_parent_is_gone_before_it_looks_leaves_too(tmp_path: Path) -> None:
    program = f"import os; os.environ['EMULATOR_PARENT_PID'] = '1'{textwrap.dedent(SLEEPER)}"
    child = Child("orphan", _python(program), log=tmp_path / "orphan.log")
    with pytest.raises(ChildError, match="exit code -9"):
        await child.start()


async def test_the_parent_s_id_stays_out_of_the_environment_of_the_app(tmp_path: Path) -> None:
    program = """
        import os
        from emulators.processes import die_with_parent
        die_with_parent()
        print("READY", sorted(os.environ))
    """
    child = Child("app", _python(program), log=tmp_path / "app.log", environment={"ONLY": "this"})
    await child.start()
    assert "EMULATOR_PARENT_PID" not in child.log_tail()
    assert "ONLY" in child.log_tail()
    await child.kill()


def test_free_ports_are_different_and_below_the_range_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 32_768


def test_two_processes_do_not_choose_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "from emulators import processes as p; p.PORTS = range(15_000, 15_200); print(p.free_ports(60)); input()"
    command = [sys.executable, "-uc", program]
    pipe = subprocess.PIPE
    first = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)  # noqa: S603  (our own program)
    assert first.stdout
    theirs = set(json.loads(first.stdout.readline()))
    monkeypatch.setattr(processes, "PORTS", range(15_000, 15_200))
    assert not theirs & set(free_ports(60))
    first.communicate("\n")
