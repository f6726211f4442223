"""Dead letters: in groups with what they mean and what to do, and one by one, by filters that are in the address."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ....model.entities import ENTITIES
from ....model.errors import StorageUnavailableError
from ...dead_letters.command import one
from ...dead_letters.selection import Group, Groups
from ...dead_letters.synced import look_up
from ...dead_letters.text import cut, full
from ...remedies import DISCARD, OFTEN, REPLAY, helps, meaning
from ..listing import is_awaited, look_again, name_of, part_of
from ..page import Lead, Page, View, Visit, leads
from . import actions
from .actions import PATH, mark
from .filters import AGES, NO_ENTITY, REPLAYED, Filter, filter_of
from .index import MOST, Index, Note, latest
from .selection import SCOPES

#: Letters of one page, and groups that are shown.
SHOWN, GROUPS = 50, 20
#: Seconds in which the same letters are not looked up again, and how much of its patience a page has for that.
FRESH_SECONDS, CHECK_SHARE = 30.0, 0.3


async def show(visit: Visit) -> View:
    """All that match, or one of them. Raises QueueUnavailable when Service Bus does not answer."""
    if address := visit.word("open"):
        return await _one(visit, address)
    look, filter_ = latest(visit), filter_of(visit.asked)
    look_again(visit, look)
    index = await look.now()
    if index is None:
        status = visit.status.known
        return View("letters.html", {"index": None, "expected": status.dead if status else None})
    matching = filter_.of(index.letters, index.at)
    groups = Groups()
    for note in matching:
        groups.add(note)
    shown = part_of(matching, visit.word("page"), SHOWN)
    is_checked = await _checked(visit, shown.part)
    values = {
        "index": index,
        "name": name_of(index),
        "is_awaited": is_awaited(visit, look),
        "filter": filter_,
        "address_of": partial(filter_.address, PATH),
        "all_of": partial(_all_of, filter_),
        "shown": shown,
        "groups": [(group, meaning(group.code, group.system)) for group in groups.largest_first()[:GROUPS]],
        "more_groups": max(0, len(groups) - GROUPS),
        "of_group": partial(_of_group, filter_),
        "synced": sum(1 for note in matching if note.synced),
        "is_checked": is_checked,
        "choices": _choices(index, filter_),
        "scopes": SCOPES,
        "most": MOST,
        "often": OFTEN,
        "actions": actions,
        "replay_helps": lambda code: helps(code) == REPLAY,
        "discard_helps": lambda code: helps(code) == DISCARD,
        "cut": cut,
    }
    return View("letters.html", values)


def _all_of(filter_: Filter, path: str, **more: str) -> str:
    """The address of an action on all that a filter finds."""
    return filter_.address(path, scope="all", **more)


def _of_group(filter_: Filter, path: str, group: Group, **more: str) -> str:
    """The same on those of a group, or the page of it."""
    words = {"entity": group.entity or NO_ENTITY, "queue": group.source_queue, "code": group.code}
    return filter_.address(path, **words, **more)


def _choices(index: Index, filter_: Filter) -> dict[str, dict[str, str]]:
    """The fields that have a list to choose from: what is sent, and how people read it."""
    codes = sorted({note.code for note in index.letters} | {filter_.words.get("code", "")} - {""})
    queues = sorted({note.source_queue for note in index.letters} | {filter_.words.get("queue", "")} - {""})
    lists = {
        "entity": {name: name.replace("_", " ") for name in (*ENTITIES, NO_ENTITY)},
        "queue": dict(zip(queues, queues, strict=True)),
        "code": dict(zip(codes, codes, strict=True)),
        "age": AGES,
        "replayed": REPLAYED,
        "synced": {"yes": "synced since"},
    }
    for name, choices in lists.items():
        if (word := filter_.words.get(name)) and word not in choices:
            lists[name] = {**choices, word: word}
    return lists


async def _checked(visit: Visit, notes: Sequence[Note]) -> bool | None:
    """Look up which of these were synced since. False: that takes a while; None: storage does not answer."""
    todo = [note for note in notes if not note.synced]
    if not todo:
        return True
    key = ("synced", tuple((note.place, note.number) for note in todo))

    async def look() -> bool:
        try:
            await look_up(visit.context, todo, mark)
        except StorageUnavailableError:
            return False
        return True

    found = await visit.looks.of(key, look, fresh=FRESH_SECONDS, share=CHECK_SHARE).now()
    return False if found is None else found or None


async def _one(visit: Visit, address: str) -> View:
    """Everything of one letter."""
    found = await visit.looks.of(("letter", address), partial(one, visit.context, address), fresh=FRESH_SECONDS).now()
    values: dict[str, Any] = {"address_": address, "letter": None, "meaning": ""}
    if found:
        values |= {"letter": full(found), "meaning": meaning(found.code, found.system)}
    return View("letter.html", values)


PAGE = Page(
    PATH,
    "Dead letters",
    show,
    actions.ACTIONS,
    badge=lambda status: status.dead,
    lead=leads(Lead(PATH, "Dead letters"), "msisync dead-letters"),
)
