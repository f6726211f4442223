"""Parked records by the parent that they wait for, why that is not there, and the records of one parent."""

from __future__ import annotations

from functools import partial
from typing import Any

from ....azure.errors import storage_within
from ....azure.parked_rows import Parked
from ....model.entities import ENTITIES
from ....model.ids_and_times import as_guid
from ....model.outcome import Parent
from ...context import Context
from ...status.look import STORAGE_SECONDS
from ..listing import address, is_awaited, look_again, name_of, part_of
from ..page import Lead, Page, View, Visit, leads
from .actions import RELEASE
from .census import MOST, latest
from .filters import PATH, WHYS, filter_of

#: Parents of one page, and records of one parent.
SHOWN, CHILDREN = 50, 100
#: Seconds in which the records of a parent are not read again.
FRESH_SECONDS = 5.0


async def show(visit: Visit) -> View:
    """All parents that match, or the records of one of them. Raises StorageUnavailableError."""
    entity, id_ = visit.word("children"), as_guid(visit.word("parent"))
    if entity in ENTITIES and id_:
        return await _children(visit, Parent(entity, "", id_))
    look, filter_ = latest(visit), filter_of(visit.asked)
    look_again(visit, look)
    census = await look.now()
    status = visit.status.known
    if census is None:
        return View("parked.html", {"census": None})
    parents = census.parents
    matching = filter_.of(parents)
    codes = sorted({waits.cause.code for waits in parents if waits.cause})
    values = {
        "census": census,
        "name": name_of(census),
        "is_awaited": is_awaited(visit, look),
        "filter": filter_,
        "address_of": filter_.address,
        "children_of": _address,
        "release": RELEASE.path,
        "shown": part_of(matching, visit.word("page"), SHOWN),
        "count": sum(waits.count for waits in matching),
        "linked_later": sum(waits.linked_later for waits in matching),
        "choices": {
            "of": {name: name.replace("_", " ") for name, entity_ in ENTITIES.items() if entity_.is_parent},
            "why": WHYS,
            "code": dict(zip(codes, codes, strict=True)),
        },
        "holding": status.holding if status else [],
        "most": MOST,
    }
    return View("parked.html", values)


def _address(entity: str, id_: str, behind: str = "") -> str:
    return address(PATH, {"children": entity, "parent": id_, "behind": behind})


async def _children(visit: Visit, parent: Parent) -> View:
    """A page of what waits for a parent, behind the row `behind` (<table>|<id>)."""
    table, _, id_ = visit.word("behind").partition("|")
    behind = f"{parent.id}|{table}|{as_guid(id_)}" if as_guid(id_) else ""
    look = partial(_read, visit.context, parent, behind)
    found = await visit.looks.of(("children", parent, behind), look, fresh=FRESH_SECONDS).now()
    census = latest(visit).known
    waits = (
        next((each for each in census.parents if (each.entity, each.id) == (parent.entity, parent.id)), None)
        if census
        else None
    )
    values: dict[str, Any] = {"parent": parent, "found": found, "waits": waits, "release": RELEASE.path}
    if found is not None:
        shown = found[:CHILDREN]
        more = shown[-1].row_key.partition("|")[2] if len(found) > CHILDREN else ""
        values |= {
            "shown": shown,
            "more": _address(parent.entity, parent.id, more) if more else "",
            "begin": _address(parent.entity, parent.id) if behind else "",
        }
    return View("children.html", values)


async def _read(context: Context, parent: Parent, behind: str) -> list[Parked]:
    async with storage_within(STORAGE_SECONDS):
        return (await anext(context.parked.children(parent, behind), []))[: CHILDREN + 1]


PAGE = Page(PATH, "Parked", show, (RELEASE,), lead=leads(Lead(PATH, "Parked records"), "msisync resync --all-parked"))
