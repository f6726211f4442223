"""A queue that is paused and resumed under a running Functions host: it stops, and continues automatically."""

import asyncio
from pathlib import Path

from emulators.functions.harness import until
from emulators.functions.queue_harness import MANY, App, Bus, numbered, start, start_held
from emulators.servicebus.administration import administration


async def set_status(bus: Bus, queue: str, status: str) -> None:
    async with administration(bus.connection_string) as broker:
        await broker.set_status(queue, status)


async def test_a_pause_lasts_until_the_queue_is_resumed(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    async def one(kind: str, session: str | None) -> None:
        queue = bus.queue(kind)
        app = App(tmp_path / kind, bus, queue, MANY.format(sessions=session is not None), kind)
        await start(apps, app)
        await bus.send(queue, *numbered(1, session))
        await until(lambda: app.bodies() == ["0"])
        await bus.until_empty(queue)
        await set_status(bus, queue, "ReceiveDisabled")
        await bus.send(queue, *numbered(3, session, first=1))
        before = app.failures()
        await until(lambda: app.failures() >= before + 2)  # it has asked for them once at least, and was refused
        assert app.bodies("begin") == ["0"]
        assert await bus.left(queue) == 3
        await set_status(bus, queue, "Active")
        await until(lambda: sorted(app.bodies()) == ["0", "1", "2", "3"])
        await bus.until_empty(queue)

    await asyncio.gather(one("plain", None), one("sessions", "person"))


async def test_a_batch_under_way_is_done_once_more_after_the_pause(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("sessions")
    app = App(tmp_path / "app", bus, queue, MANY.format(sessions=True))
    await start_held(apps, app, *numbered(1, "person"))
    await set_status(bus, queue, "ReceiveDisabled")
    app.behave()
    await until(lambda: len(app.bodies()) == 1)
    assert await bus.left(queue) == 1
    await set_status(bus, queue, "Active")
    await until(lambda: len(app.bodies()) == 2)
    await bus.until_empty(queue)
    assert [message["delivery_count"] for message in app.calls()[-1]["messages"]] == [1]  # a session was closed
