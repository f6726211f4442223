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


#: The entity that a word means. The table of an entity that has one only means it too.
_ENTITIES = {form: entity.name for entity in ENTITIES.values() for form in _of(entity)} | {
    form: entity.name for name, (entity, _) in TABLES.items() if len(entity.tables) == 1 for form in _forms(name)
}
#: The table that a word means.
_TABLES = {form: name for name in TABLES for form in _forms(name)} | {
    form: entity.tables[0].name for entity in ENTITIES.values() if len(entity.tables) == 1 for form in _of(entity)
}
#: The tables of an entity that has several, by its words; and the entity of such a table.
_SEVERAL = {
    form: ", ".join(table.name for table in entity.tables)
    for entity in ENTITIES.values()
    if len(entity.tables) > 1
    for form in _of(entity)
}
_PART_OF = {form: TABLES[name][0].name for name in TABLES for form in _forms(name) if form not in _ENTITIES}


def as_entity(text: str) -> str:
    """The name of an entity. Raises ArgumentTypeError."""
    word = _squashed(text)
    if word in _PART_OF:
        whole = ENTITIES[_PART_OF[word]]
        parts = " and ".join(table.name for table in whole.tables)
        raise ArgumentTypeError(f"{text!r} is a part of {whole.name}, which has {parts}; did you mean {whole.name}?")
    return _found(text, _ENTITIES, "entity", ENTITIES)


def as_table(text: str) -> str:
    """The name of a table. Raises ArgumentTypeError."""
    if names := _SEVERAL.get(_squashed(text)):
        raise ArgumentTypeError(f"{text!r} has several tables; one of: {names}")
    return _found(text, _TABLES, "table", TABLES)


def as_table_or_entity(text: str) -> str:
    """The name of a table or of an entity, the table's where both have the word. Raises ArgumentTypeError."""
    if text in TABLES or text in ENTITIES:
        return text
    return _found(text, _ENTITIES | _TABLES, "table or entity", {*TABLES, *ENTITIES})


def _found(text: str, words: Mapping[str, str], what: str, names: Iterable[str]) -> str:
    try:
        return words[_squashed(text)]
    except KeyError:
        near = nearest(_squashed(text), list(words))
        likely = f"; did you mean {words[near]}?" if near else ""
        raise ArgumentTypeError(f"{text!r} is no {what}{likely}; one of: {', '.join(sorted(names))}") from None
