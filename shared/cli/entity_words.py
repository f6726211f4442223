"""Entities and tables as people type them: `companies`, `company` and `accounts` are one, `user` and `systemuser` too.

One parser for every argument and option that takes an entity or a table. A word that could mean more than one of them
is refused, with what it could mean.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping

from ..config.validation import nearest
from ..model.entities import ENTITIES, OPPORTUNITY_ROLE, PERSON, SALES_PERSON, TABLES, Entity

#: What people call them beside their names.
_OTHER_WORDS: dict[str, tuple[str, ...]] = {
    SALES_PERSON.name: ("user", "seller"),
    PERSON.name: ("people",),
    OPPORTUNITY_ROLE.name: ("role",),
}


def _squashed(word: str) -> str:
    """`Sales-Person` is `salesperson`."""
    return re.sub(r"[\s_-]", "", word.lower())


def _forms(*words: str) -> Iterable[str]:
    """Each word with its plural."""
    for word in map(_squashed, words):
        yield word
        yield f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def _of(entity: Entity) -> Iterable[str]:
    return _forms(entity.name, *_OTHER_WORDS.get(entity.name, ()))


#: What a word means: an entity, and which of its tables.
_MEANT: dict[str, tuple[Entity, tuple[str, ...]]] = {
    form: (entity, tuple(table.name for table in entity.tables)) for entity in ENTITIES.values() for form in _of(entity)
} | {form: (entity, (name,)) for name, (entity, _) in TABLES.items() for form in _forms(name)}


def as_entity(text: str) -> str:
    """The name of an entity. Raises ArgumentTypeError."""
    names = {word: entity.name for word, (entity, tables) in _MEANT.items() if len(tables) == len(entity.tables)}
    word = _squashed(text)
    if word in _MEANT and word not in names:
        whole = _MEANT[word][0]
        parts = " and ".join(table.name for table in whole.tables)
        raise ArgumentTypeError(f"{text!r} is a part of {whole.name}, which has {parts}; did you mean {whole.name}?")
    return _found(text, names, "entity", ENTITIES)


def as_table(text: str) -> str:
    """The name of a table. Raises ArgumentTypeError."""
    names = {word: tables[0] for word, (_, tables) in _MEANT.items() if len(tables) == 1}
    word = _squashed(text)
    if word in _MEANT and word not in names:
        raise ArgumentTypeError(f"{text!r} has several tables; one of: {', '.join(_MEANT[word][1])}")
    return _found(text, names, "table", TABLES)


def as_table_or_entity(text: str) -> str:
    """The name of a table or of an entity, the table's where both have the word. Raises ArgumentTypeError."""
    if text in TABLES or text in ENTITIES:
        return text
    names = {word: tables[0] if len(tables) == 1 else entity.name for word, (entity, tables) in _MEANT.items()}
    return _found(text, names, "table or entity", {*TABLES, *ENTITIES})


def _found(text: str, words: Mapping[str, str], what: str, names: Iterable[str]) -> str:
    try:
        return words[_squashed(text)]
    except KeyError:
        near = nearest(_squashed(text), list(words))
        likely = f"; did you mean {words[near]}?" if near else ""
        raise ArgumentTypeError(f"{text!r} is no {what}{likely}; one of: {', '.join(sorted(names))}") from None
