"""docs/commands.md and the README say of the msisync command what its own help says."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from shared.cli import main
from shared.cli.doctor.command import CHECKS

COMMANDS_PAGE = Path("docs/commands.md").read_text(encoding="utf-8")
PAGES = {page.name: page.read_text(encoding="utf-8") for page in [*Path("docs").glob("*.md"), Path("README.md")]}
#: Options of every command, which the page explains once, above all commands.
COMMON = {"--help", "--json", "--settings"}
PARSER = main.parser()
#: What a command cannot do without, where a page names the command alone.
NEEDED = {
    "show person": ("someone@contoso.example",),
    "dead-letters show": ("dead-letters/17",),
    "dead-letters export": ("march.jsonl",),
    "dead-letters import": ("march.jsonl",),
}


def leaf(name: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    found = PARSER
    for word in name.split():
        (places,) = (action for action in found._actions if isinstance(action, argparse._SubParsersAction))
        found = places.choices[word]
    return found


def options(name: str) -> set[str]:
    return {text for action in leaf(name)._actions for text in action.option_strings if text.startswith("--")}


def section(name: str) -> str:
    """What the page says of a command: from the heading with its first word to the next."""
    word = name.split(maxsplit=1)[0]
    parts = re.split(r"^## ", COMMANDS_PAGE, flags=re.MULTILINE)
    return "".join(part for part in parts if part.startswith("msisync") and word in part.splitlines()[0])


@pytest.mark.parametrize("name", [command.name for command in main.COMMANDS])
def test_the_page_has_every_command_and_every_option_of_it(name: str) -> None:
    assert f"`msisync {name}`" in COMMANDS_PAGE
    assert section(name)
    missing = {option for option in options(name) - COMMON if option not in section(name)}
    assert not missing


def test_the_page_names_no_option_that_is_not_there() -> None:
    known = {option for command in main.COMMANDS for option in options(command.name)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", COMMANDS_PAGE)) <= known


def blocks(text: str) -> str:
    """The code of a page: what is between two fences."""
    return "".join(text.split("```")[1::2])


def examples() -> list[tuple[str, str]]:
    """Every command line of a page that can be typed as it is."""
    found = []
    for page, text in PAGES.items():
        quoted = [
            *re.findall(r"`(msisync [^`]+)`", text),
            *re.findall(r"^ *(?:\.venv/bin/)?(msisync .+)$", blocks(text), re.MULTILINE),
        ]
        found += [(page, line.partition(" #")[0].strip()) for line in quoted if "<" not in line]
    return found


@pytest.mark.parametrize(("page", "line"), examples())
def test_every_example_is_understood(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    complete = [*words, *NEEDED.get(" ".join(words), ())]
    assert PARSER.parse_args(complete).command, f"{page}: {line}"


def test_the_page_explains_every_check_of_the_doctor() -> None:
    told = set(re.findall(r"`([a-z][a-z-]+)(?:…)?`", section("doctor")))
    for check in CHECKS:
        assert check.id in told or any(check.id.startswith(name) for name in told if name.endswith("-")), check.id
    assert {name for name in told if not name.endswith("-")} - {check.id for check in CHECKS} <= {"msisync"}


def test_the_exit_codes_are_the_same_in_help_and_page() -> None:
    for text in (PARSER.format_help(), COMMANDS_PAGE):
        flat = " ".join(text.split())
        assert "0 all is well" in flat
        assert "64 wrong usage" in flat
