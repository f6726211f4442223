"""What can be typed where, as values: read from the parser, written by one module for each shell. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..parsing import Parser


@dataclass(frozen=True, slots=True)
class Word:
    """Something that can be typed, with what the help says of it in one line."""

    text: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """What follows an option or stands for an argument. `choices` may be empty: anything, or a file if `is_file`."""

    choices: tuple[str, ...] = ()
    is_file: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """An option, by its long name where it has one. `value`: None where nothing follows."""

    word: Word
    value: Value | None = None


@dataclass(slots=True)
class Place:
    """Where a command line has come to: `path` is `dead-letters list`, empty at its beginning.

    `words`: the commands that may follow. `arguments`: what else may, in turn.
    """

    path: str
    words: list[Word] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    arguments: list[Value] = field(default_factory=list)

    @property
    def choices(self) -> list[str]:
        """All words that an argument may be."""
        return [choice for argument in self.arguments for choice in argument.choices]

    @property
    def takes_file(self) -> bool:
        """Whether an argument is a file."""
        return any(argument.is_file for argument in self.arguments)


def places(parser: Parser, path: str = "") -> Iterator[Place]:
    """Every place of the command line, the beginning first."""
    place = Place(path)
    for action in parser.arguments:
        if action.option_strings:
            value = None if action.nargs in (0, "?") else _value(action)  # one that may be left out is mostly left out
            place.options.append(Option(Word(action.option_strings[-1], _line(action.help, action)), value))
        else:
            place.arguments.append(_value(action))
    place.words = [Word(name, _line(below.description)) for name, below in parser.places.items()]
    yield place
    for name, below in parser.places.items():
        yield from places(below, f"{path} {name}".strip())


def _value(action: argparse.Action) -> Value:
    is_file = action.type is Path or action.metavar == "FILE" or action.dest == "file"
    return Value(tuple(map(str, action.choices or ())), is_file, action.nargs in ("+", "*"))


def _line(text: str | None, action: argparse.Action | None = None) -> str:
    """The help on one line, as the shells take it."""
    flat = " ".join((text or "").split())
    return flat % vars(action) if action else flat
