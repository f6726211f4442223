"""The pages of the commands and the README say of the msisync command what its own help says."""

import re
import shlex
from pathlib import Path

import pytest

from shared.cli.command import EXITS, Command
from shared.cli.commands import all_commands
from shared.cli.doctor.command import CHECKS
from shared.cli.main import parser
from shared.model.record import Record
from shared.sync.deletes import reason_of
from tests.support.values import NOON
from tools import command_pages

OVERVIEW = Path("docs/commands.md").read_text(encoding="utf-8")
PAGES = {str(page): page.read_text(encoding="utf-8") for page in [*Path("docs").rglob("*.md"), Path("README.md")]}
COMMANDS, PARSER = all_commands(), parser()
#: What a command cannot do without, where a page names the command alone.
NEEDED = {
    "show person": ("someone@contoso.example",),
    "history": ("someone@contoso.example",),
    "link": ("contact", "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", "7"),
    "quick-sync": ("contact", "--fields", "city"),
    "dead-letters show": ("dead-letters/17",),
    "dead-letters export": ("march.jsonl",),
    "dead-letters import": ("march.jsonl",),
}


def options(command: Command) -> set[str]:
    actions = command_pages.leaf(command.name)._actions
    return {text for action in actions for text in action.option_strings if text.startswith("--")}


def test_the_overview_leads_to_the_page_of_every_command() -> None:
    pages = {command_pages.path(command).removeprefix("docs/") for command in COMMANDS}
    assert {page for page in pages if f"({page})" not in OVERVIEW} == set()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_page_names_no_option_that_no_command_has(command: Command) -> None:
    known = {option for each in COMMANDS for option in options(each)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGES[command_pages.path(command)])) <= known


def test_only_words_written_by_hand_survive_generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_pages, "ROOT", tmp_path)
    (doctor,) = (command for command in COMMANDS if command.name == "doctor")
    file = tmp_path / command_pages.path(doctor)
    file.parent.mkdir(parents=True)
    file.write_text(f"# Another title\n\n{command_pages.MARK}\n\nBy hand.\n")
    text = command_pages.page(doctor)
    assert "Another title" not in text
    assert text.startswith(f"{command_pages.HEAD}\n\n# msisync doctor\n")
    assert text.endswith(f"{command_pages.MARK}\n\nBy hand.\n")


def test_a_help_text_is_divided_into_sections() -> None:
    more = (
        "Looks at sync.toml. Exit codes: 0 fine; 1 a record\nis left out. Nothing is sent until --apply.\n\n"
        "Example: msisync doctor --only bus\nNext: msisync status; fix WRITE_BACK_SCHEDULE"
    )
    assert command_pages.notes(more) == "Looks at `sync.toml`. Nothing is sent until `--apply`."
    assert command_pages.exits(more).splitlines()[2:] == [
        "| 0 | fine |", "| 1 | a record is left out |", "| 2 | it could not be done |", "| 64 | wrong usage |",
    ]  # fmt: skip


def blocks(text: str) -> str:
    """The code of a page: what is between two fences, but no synopsis."""
    found = re.findall(r"^ *```(\w*)$(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return "".join(code for language, code in found if language != "text")


def examples() -> list[tuple[str, str]]:
    """Every command line of a page that can be typed as it is."""
    found = []
    for page, text in PAGES.items():
        quoted = [
            *re.findall(r"`(msisync [^`]+)`", text),
            *re.findall(r"^ *(?:\.venv/bin/)?(msisync .+)$", blocks(text), re.MULTILINE),
        ]
        found += [(page, line.partition(" #")[0].strip()) for line in quoted if "<" not in line]
    return [(page, line) for page, line in found if line != "msisync --version"]  # which runs no command


@pytest.mark.parametrize(("page", "line"), examples())
def test_every_example_is_understood(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    complete = [*words, *NEEDED.get(" ".join(words), ())]
    assert PARSER.parse_args(complete).command, f"{page}: {line}"


def test_the_page_explains_every_check_of_the_doctor() -> None:
    text = PAGES["docs/commands/doctor.md"]
    told = set(re.findall(r"`([a-z][a-z-]+)(?:…)?`", text[text.index("## The checks") :]))
    for check in CHECKS:
        assert check.id in told or any(check.id.startswith(name) for name in told if name.endswith("-")), check.id
    assert {name for name in told if not name.endswith("-")} - {check.id for check in CHECKS} <= {"msisync"}


def test_the_page_of_the_report_explains_every_reason() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path("shared").rglob("*.py"))
    given = {*re.findall(r'Skipped\("(\w+)"\)', source), *re.findall(r'Removed\("\w+", "(\w+)"\)', source)}
    assert {"Filtered", "RoleEnded"} <= given
    given |= {reason_of(Record("contact", "", NOON)), reason_of(Record("contact", "", NOON, "delete"))}
    told = set(re.findall(r"`(\w+)`", PAGES["docs/commands/initial-sync-report.md"].partition("## The reasons")[2]))
    assert given - told == {"ComparedOnly"}, "of this one no run has records"
    assert "`ComparedOnly`" in PAGES["docs/history.md"]


def test_the_exit_codes_are_the_same_in_help_and_page() -> None:
    for code, text in EXITS.items():
        assert re.search(rf"^ +{code}  {text}$", PARSER.format_help(), re.MULTILINE)
        assert f"| {code} | {text} |" in OVERVIEW
