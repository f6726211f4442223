"""Which commands a line may be about: what it does not need is not even imported."""

import subprocess
import sys

import pytest

from shared.cli.commands import FIRST_WORDS, all_commands, meant
from tests.support.values import ROOT


def test_each_command_is_found_by_its_first_word_and_stands_in_the_order_of_the_help() -> None:
    found = [(word, command.name.split()[0]) for word in FIRST_WORDS for command in meant([word])]
    assert [first for word, first in found if word != "completion"] == [
        word for word, _ in found if word != "completion"
    ]
    assert tuple(dict.fromkeys(command.name.split()[0] for command in all_commands())) == FIRST_WORDS


@pytest.mark.parametrize("before", [(), ("--settings", "show"), ("--env=prod", "--json")])
def test_options_may_stand_before_the_command(before: tuple[str, ...]) -> None:
    assert [command.name for command in meant([*before, "status", "--help"])] == ["status"]


@pytest.mark.parametrize("words", [(), ("--help",), ("replay",), ("completion", "zsh"), ("--settings", "x")])
def test_who_names_no_command_or_wants_all_may_mean_any(words: tuple[str, ...]) -> None:
    assert meant(words) == all_commands()


def test_a_command_imports_none_of_the_others_and_its_http_client_no_command_line() -> None:
    heavy = ("shared.cli.doctor.command", "shared.cli.initial_sync", "shared.cli.register.command", "httpx._main")
    code = (
        "import sys; from shared.cli.main import main\n"
        "try: main(['dead-letters', 'list', '--help'])\n"
        f"except SystemExit: print([name for name in {heavy!r} if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603  (fixed)
    assert done.stdout.splitlines()[-1] == "[]"
