"""Looks that are shared: by who asks at about the same time, and by who asks for the same."""

import asyncio

from shared.cli.console.latest import Latest, Looks


async def test_the_last_looks_are_kept_by_what_they_are_of() -> None:
    looks, made = Looks(kept=2), list[str]()

    def look(name: str) -> Latest[str]:
        async def find() -> str:
            made.append(name)
            return name

        return looks.of(name, find, fresh=60)

    assert list(await asyncio.gather(*(look(name).now() for name in "aab"))) == ["a", "a", "b"]
    assert await look("a").now() == "a"
    assert made == ["a", "b"]
    await look("c").now()
    await look("a").now()
    await look("b").now()
    assert made == ["a", "b", "c", "b"], "the one that nobody has asked for goes"
    await looks.close()


async def test_what_is_outdated_is_looked_for_again_also_if_the_look_had_begun_before() -> None:
    time, found = 0.0, 0
    gate = asyncio.Event()
    gate.set()

    async def find() -> int:
        nonlocal found
        found += 1
        mine = found
        await gate.wait()
        return mine

    latest = Latest(find, fresh=60, clock=lambda: time)
    assert (await latest.now(), await latest.now()) == (1, 1)
    time = 1
    latest.outdate()
    gate.clear()
    time, latest.patience = 2, 0
    assert await latest.now() == 1
    time = 3
    latest.outdate()  # while it is looked for: that may have been before what has happened
    gate.set()
    latest.patience = 5
    await latest.now()
    time = 4
    assert await latest.now() == 3
    assert await latest.now() == 3


async def test_nobody_waits_for_what_takes_long_when_there_is_something_to_show() -> None:
    time, found = 0.0, 0
    gate = asyncio.Event()
    gate.set()

    async def find() -> int:
        nonlocal time, found
        await gate.wait()
        time, found = time + 3, found + 1
        return found

    latest = Latest(find, fresh=10, times=20, patience=2, clock=lambda: time)
    assert await latest.now() == 1
    time += 59
    assert await latest.now() == 1
    time += 2
    gate.clear()
    async with asyncio.timeout(1):
        assert await latest.now() == 1
    gate.set()
    assert latest._looking
    await latest._looking
    assert await latest.now() == 2
