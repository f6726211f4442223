"""Where every command's output leaves: any terminal or pipe takes it, and no text from elsewhere commands a terminal.

What stands in names, messages and properties (CRM data, what a vendor says, a file's content) comes here as text of a
Rich renderable. Line breaks within such a text are shown as escapes, as are control characters and marks that turn the
direction of writing, so that a row cannot write lines of its own: commands print line by line.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from typing import Any

from rich import console
from rich.padding import Padding
from rich.text import Span, Text

from ..model.record import timestamp
from ..model.safe_text import plain
from .invocation import as_typed, in_use, names_command

#: Columns that a text gets at least.
_NARROW = 20


class Console(console.Console):
    """Rich's console; texts are on one line each, and emoji codes stay what they are.

    Commands are named as they were started. A line with a command is never broken, so that it can be pasted.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"emoji": False, **options})
        self.steps: list[object] = []  # what is counted on it (progress.py)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does; the parts of a group one by one."""
        if len(objects) == 1 and isinstance(objects[0], console.Group):
            for part in objects[0].renderables:
                self.print(part, **options)
            return
        texts = (each.text if isinstance(each, Indented) else each for each in objects)
        if any(names_command(str(text)) for text in texts if isinstance(text, str | Text)):
            options["soft_wrap"] = True
        super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A text with markup."""
        return _typed(_one_line(super().render_str(text, **options)))

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Any]:
        """What is on its way to the terminal."""
        return super().render(_typed(_one_line(renderable)) if isinstance(renderable, Text) else renderable, options)


def _one_line(text: Text) -> Text:
    told = plain(text.plain)
    if told == text.plain:
        return text
    text = text.copy()
    text.plain = told
    return text


@dataclass(frozen=True, slots=True)
class Indented:
    """A line, so many columns from the left. Where a terminal wraps it, it goes on `hanging` further in."""

    text: Text
    left: int = 2
    hanging: int = 0

    def __rich_console__(self, screen: console.Console, options: console.ConsoleOptions) -> console.RenderResult:
        """In a pipe, it stays one line."""
        if options.no_wrap:
            yield Text(" " * self.left) + self.text
            return
        first = self.text.wrap(screen, max(options.max_width - self.left, _NARROW))[0]
        rest = self.text[len(first) :]
        rest = rest[len(rest) - len(rest.plain.lstrip()) :]
        yield Padding(first, (0, 0, 0, self.left), expand=False)
        if rest:
            yield Padding(rest, (0, 0, 0, self.left + self.hanging), expand=False)


def section(title: str, lines: Iterable[str], colour: str = "") -> Iterator[console.RenderableType]:
    """A title above its lines, which may be indented; nothing where there are no lines."""
    for number, line in enumerate(lines):
        if not number:
            yield f"[bold {colour}]{title}[/]"
        text = line.lstrip()
        yield Indented(Text(text), 2 + len(line) - len(text), hanging=2)


def _typed(text: Text) -> Text:
    """The same with commands as they were started, in the style that they had."""
    names = list(in_use().names.finditer(text.plain))
    if not names:
        return text
    whole = text.blank_copy()
    for number, part in enumerate(text.divide([edge for name in names for edge in name.span()])):
        beginning = in_use().beginning
        is_name = number % 2
        spans = [Span(0, len(beginning), span.style) for span in part.spans]
        whole.append_text(Text(beginning, style=part.style, spans=spans) if is_name else part)
    return whole


def say(console: console.Console, text: str, style: str = "") -> None:
    """A line as it is, without markup."""
    console.print(text, style=style, markup=False)


def take_any_text() -> None:
    """Let the standard streams replace what their encoding does not have, and be there, instead of failing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed: `msisync status >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  (as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def as_json(data: Mapping[str, Any]) -> str:
    """One JSON object in ASCII: valid in any encoding, without numbers that JSON does not have."""
    return json.dumps(json_types(data, as_typed), indent=2, default=str, allow_nan=False)


def json_types(value: Any, text: Callable[[str], str] = str) -> Any:
    """A value in JSON's types: of a dataclass an object, of a time the text that messages have. `text` takes texts."""
    if is_dataclass(value) and not isinstance(value, type):
        return json_types(asdict(value), text)
    if isinstance(value, Mapping):
        return {str(name): json_types(each, text) for name, each in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [json_types(each, text) for each in value]
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return timestamp(value) if isinstance(value, datetime) else value


def nobody_reads() -> None:
    """After a broken pipe (`| head`): what is still buffered goes nowhere, so that the end of Python does not fail."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
