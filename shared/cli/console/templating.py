"""The templates of the console, and how values look in them. Everything that is put into one is escaped."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ...model.safe_text import plain
from ..finding import age, counted
from ..invocation import as_typed

FOLDER = Path(__file__).parent
#: What is not known, and what is none.
UNKNOWN, NONE = "?", "\N{EN DASH}"


def number(value: int | None) -> str:
    """`12,345`; a dash for none, a question mark for what could not be found out."""
    return UNKNOWN if value is None else f"{value:,}" if value else NONE


def time(value: datetime | None) -> str:
    """A moment, in UTC as everywhere in msisync."""
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else NONE


def shown(value: Any) -> Any:
    """Text without marks that browsers obey, such as those that turn the direction of writing; commands as started."""
    return as_typed(plain(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def exact(value: str) -> Markup:
    """A value that a form sends back as it is; people do not see it."""
    return escape(value)


def lines(text: str) -> Markup:
    """A text of several lines, each as `shown` would show it."""
    return Markup("\n").join(shown(line) for line in text.split("\n"))


def sentence(text: str) -> str:
    """With a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def share(part: float, whole: float) -> float:
    """A part in percent of its whole, 0 to 100, for the width of a gauge."""
    return round(min(100.0, max(0.0, 100 * part / whole)), 1) if whole else 0.0


@cache
def environment() -> Environment:
    """The templates, read when they are first used."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "time": time, "age": age, "exact": exact, "sentence": sentence, "lines": lines}
    made.globals |= {"counted": counted, "share": share}
    return made
