"""The pages of docs/commands/: each begins with what the command's own help says, then a person's words follow.

`python3 dev.py generate` rewrites a page up to MARK from the parsers of the command line, and keeps what is below.
"""

import argparse
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from shared.cli.command import Command
from shared.cli.commands import all_commands
from shared.cli.main import GROUPS
from shared.cli.main import parser as command_line

ROOT = Path(__file__).parents[1]
FOLDER = "docs/commands"
HEAD = "<!-- Made from the help of the command: change it there, then run python3 dev.py generate. -->"
MARK = "<!-- From here on written by hand. -->"
WIDTH = 100
#: What the exit codes mean that a command's help does not explain.
EXITS = {0: "done", 2: "it could not be done", 64: "wrong usage"}
#: Sentences of a help text that get a section of their own.
_EXITS = re.compile(r"Exit codes?:? (.+?)(?:\.(?=\s|$)|\n(?=[A-Z]\w+:)|\Z)", re.DOTALL)
_NEXT = re.compile(r"^(?:Next|Undo): (.+)$", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example: (.+)$", re.MULTILINE)
#: Explained by hand, one by one.
_CHECKS = re.compile(r"^Checks: .+$", re.MULTILINE)


def leaf(name: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    found = command_line()
    for word in name.split():
        (places,) = (action for action in found._actions if isinstance(action, argparse._SubParsersAction))
        found = places.choices[word]
    return found


def value(action: argparse.Action) -> str:
    """What follows an option, or stands for an argument: `FILE`, `[SECONDS]`, `ID [ID ...]`."""
    if action.nargs == 0:
        return ""
    name = str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))
    forms = {"?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]"}
    return forms.get(str(action.nargs), "{0}").format(name)


def synopsis(command: Command, parser: argparse.ArgumentParser) -> str:
    """The line that shows how to write the command; broken between options where it is long."""
    parts = []
    for action in sorted(
        parser._actions, key=lambda found: (bool(found.option_strings), found.dest in {"json", "settings", "env"})
    ):
        words = " ".join([*action.option_strings[:1], value(action)]).strip()
        if words != "-h":
            parts.append(words if not action.option_strings or action.required else f"[{words}]")
    joined = " ".join(part.replace(" ", "\0") for part in parts)  # no break within a pair of brackets
    start = f"msisync {command.name} "
    lines = textwrap.wrap(
        start + joined, WIDTH, subsequent_indent=" " * 4, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace("\0", " ")


def marked(text: str) -> str:
    """Text of a help as Markdown: commands, options and names of files as code."""
    names = "|".join(sorted((command.name for command in all_commands()), key=len, reverse=True))
    argument = r"(?: (?:--[a-z][\w-]*|<[^>]+>|[A-Z]{2,}\b))"
    code = rf"msisync (?:{names}|{'|'.join(GROUPS)})\b{argument}*|--[a-z][\w-]*(?: [A-Z]+\b)?|[\w.]+\.(?:toml|json)\b"
    code += r"|\b[A-Z]+(?:_[A-Z]+)+\b"
    return re.sub(code, lambda found: f"`{found[0]}`", text).replace("|", r"\|")


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A table for each group of arguments, as in the help."""
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if "--help" not in action.option_strings]
        if actions:
            title = {"positional arguments": "Arguments"}.get(str(group.title), str(group.title).capitalize())
            yield f"\n## {title}\n\n| | |\n|---|---|"
            for action in actions:
                name = " ".join([*action.option_strings[-1:], value(action)]).strip()
                choices = ", ".join(f"`{choice}`" for choice in action.choices or ())
                text = marked((action.help or "") % vars(action)) + (f": {choices}" if choices else "")
                yield f"| `{name}` | {text} |"


def exits(more: str) -> str:
    """The exit codes as a table: those that the help explains, and what the others always mean."""
    told = _EXITS.search(more)
    flat = " ".join(told[1].split()) if told else ""
    meanings = EXITS | {int(code): text for code, text in re.findall(r"(\d+):? ([^;]+)", flat)}
    rows = [f"| {code} | {marked(text)} |" for code, text in sorted(meanings.items())]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def notes(more: str) -> str:
    """What remains of a help text; a paragraph with columns stays as it is."""
    for section in (_EXITS, _NEXT, _EXAMPLE, _CHECKS):
        more = section.sub("", more)
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", more):
        lines = [line.strip() for line in paragraph.strip().splitlines() if line.strip()]
        if any(re.search(r"\S {3,}\S", line) for line in lines):
            paragraphs.append("\n".join(["```text", *lines, "```"]))
        elif lines:
            paragraphs.append(
                textwrap.fill(
                    marked(" ".join(" ".join(lines).split())), 120, break_long_words=False, break_on_hyphens=False
                )
            )
    return "\n\n".join(paragraphs)


def generated(command: Command) -> str:
    """The part of a command's page that its help gives."""
    parser = leaf(command.name)
    text = command.help[:1].upper() + command.help[1:]
    parts = [HEAD, "", f"# msisync {command.name}", "", f"{marked(text)}.", "", "```text"]
    parts += [synopsis(command, parser), "```", "", notes(command.more)]
    parts += [*options(parser), "", "## Exit codes", "", exits(command.more)]
    examples = _EXAMPLE.findall(command.more)
    if examples:
        parts += ["", "## Example", "", "```", *examples, "```"]
    following = _NEXT.findall(command.more)
    if following:
        parts += [
            "",
            "## What next",
            "",
            *(
                f"- {marked(line[:1].upper() + line[1:] if not line.startswith('msisync') else line)}"
                for line in following
            ),
        ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)) + "\n"


def path(command: Command) -> str:
    """Where the page of a command is."""
    return f"{FOLDER}/{command.name.replace(' ', '-')}.md"


def page(command: Command) -> str:
    """A page as it should be: its beginning from the help, its end as it is."""
    file = ROOT / path(command)
    written = file.read_text(encoding="utf-8").partition(MARK)[2] if file.exists() else ""
    return f"{generated(command)}\n{MARK}{written or chr(10)}"
