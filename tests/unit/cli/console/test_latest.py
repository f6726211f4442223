"""Looks that are shared: by who asks at about the same time, and by who asks for the same."""

from shared.cli.console.latest import Latest, Looks


async def test_the_last_looks_are_kept_by_what_they_are_of() -> None:
    looks, made = Looks(kept=2), list[str]()

    def look(name: str) -> Latest[str]:
        async def find() -> str:
            made.append(name)
            return name

        return looks.of(name, find, fresh=60)

    assert await look("a").now() == "a"
    assert await look("b").now() == "b"
    assert await look("a").now() == "a"
    assert made == ["a", "b"]
    await look("c").now()
    await look("a").now()
    await look("b").now()
    assert made == ["a", "b", "c", "b"], "the one that nobody has asked for goes"
    await looks.close()
