"""The local Functions host on the Service Bus emulator when something fails: no message is lost, none is held."""

import asyncio
from pathlib import Path

import pytest

from emulators.functions.harness import until
from emulators.functions.queue_harness import MANY, App, Bus, numbered, overlaps, start, start_held


async def test_an_exception_gives_the_whole_batch_back(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("few-deliveries")
    app = App(tmp_path / "app", bus, queue, MANY.format(sessions=False))
    app.behave(fails=True)
    await bus.send(queue, *numbered(3))
    await start(apps, app)
    await until(lambda: len(app.bodies("begin")) == 6)
    counts = [message["delivery_count"] for call in app.calls("begin") for message in call["messages"]]
    assert counts == [1, 1, 1, 2, 2, 2]
    # The queue allows two deliveries: now the broker has put them aside.
    await bus.until_empty(queue)
    assert (await app.stats())["failures"] == (await app.stats())["invocations"]
    assert app.calls() == []


async def test_a_lost_lock_brings_the_messages_again(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("plain")
    app = await start_held(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=False)), *numbered(2))
    await bus.lose_locks(queue)
    app.behave()
    await until(lambda: len(app.calls()) >= 2)
    assert app.calls()[-1]["messages"][0]["delivery_count"] == 2
    await bus.until_empty(queue)


async def test_two_instances_never_work_on_one_session_at_once(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("sessions")
    pair = [App(tmp_path / "app", bus, queue, MANY.format(sessions=True), name) for name in "ab"]
    for app in pair:
        await start(apps, app)
    for first in range(0, 60, 5):
        pair[0].behave(held=True)
        await bus.send(queue, *numbered(5, "one", first))
        await until(lambda: str(first) in pair[0].bodies("begin"))  # noqa: B023 (awaited before the next round)
        pair[0].behave()
        await until(lambda: str(first) in pair[0].bodies())  # noqa: B023
    await until(lambda: len(pair[0].bodies()) >= 60)
    assert not overlaps(pair[0].calls("begin") + pair[0].calls("end"))
    assert pair[0].bodies() == [str(number) for number in range(60)]
    # The holder is killed in the middle of a batch: the other one takes over, and nothing is lost.
    pair[0].behave(held=True)
    await bus.send(queue, *numbered(5, "one", 60))
    await until(lambda: bool(set(pair[0].bodies("begin")) & {"60"}))
    holder = next(app for app in pair if app.child.name == pair[0].calls("begin")[-1]["host"])
    assert holder.child.pid is not None
    await holder.child.kill()
    pair[0].behave()
    await until(lambda: set(pair[0].bodies()) >= {str(number) for number in range(65)}, within=30)
    assert pair[0].calls()[-1]["host"] != holder.child.name
    await bus.until_empty(queue)


async def test_a_killed_host_loses_nothing(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("short-lock")
    app = await start_held(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=False)), *numbered(20))
    await app.child.kill()
    app.behave()
    assert app.calls() == []
    await app.child.start()
    await until(lambda: sorted(map(int, app.bodies())) == list(range(20)))
    await bus.until_empty(queue)


async def test_a_stop_settles_the_batch_under_way(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("plain")
    app = await start_held(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=False)), *numbered(3))
    stopping = asyncio.create_task(app.child.stop(15))
    app.behave()
    await stopping
    assert app.bodies() == ["0", "1", "2"]
    assert await bus.left(queue) == 0


@pytest.mark.parametrize(("kind", "session"), [("plain", None), ("sessions", "s")])
async def test_a_broker_comes_back(tmp_path: Path, bus: Bus, apps: list[App], kind: str, session: str | None) -> None:
    queue = bus.queue(kind)
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=session is not None)))
    await bus.send(queue, *numbered(1, session))
    await until(lambda: app.bodies() == ["0"])
    await bus.hang_up()
    await bus.child.kill()
    before = app.failures()
    await until(lambda: app.failures() > before)
    await bus.child.start()
    await bus.send(queue, *numbered(1, session, first=1))
    await until(lambda: app.bodies() == ["0", "1"])


async def test_a_broker_may_start_after_the_host(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("plain")
    app = App(tmp_path / "app", bus, queue, MANY.format(sessions=False))
    await bus.child.stop()
    await start(apps, app)
    await until(lambda: app.failures() > 0)
    await bus.child.start()
    await bus.send(queue, *numbered(1))
    await until(lambda: app.bodies() == ["0"])
