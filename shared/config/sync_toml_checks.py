"""What sync.toml may say, beyond its types: the forms of names, and what no single key can tell. Pure.

Every message says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..model.entities import ENTITIES, TABLES, Entity
from ..model.ids_and_times import as_guid
from .validation import Place, nearest, quoted

_COLUMN = re.compile(r"[a-z][a-z0-9_]*|_[a-z0-9_]+_value")
_MARKETO_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
#: Lookups that people name by their logical name; the Web API reads them as "_x_value" (dataverse.md 8).
_LOOKUPS = frozenset(
    {
        "campaignid", "createdby", "createdonbehalfby", "customerid", "defaultpricelevelid", "managerid", "masterid",
        "modifiedby", "modifiedonbehalfby", "originatingleadid", "ownerid", "owningbusinessunit", "owningteam",
        "owninguser", "parentaccountid", "parentcontactid", "parentcustomerid", "preferredsystemuserid",
        "pricelevelid", "primarycontactid", "qualifyingopportunityid", "record1id", "record1roleid", "record2id",
        "record2roleid", "territoryid", "transactioncurrencyid",
    }
)  # fmt: skip
#: Fields without which Marketo takes no record (marketo.md 4.7).
_DEMANDED = {"opportunity": ("name",)}
#: Kept by Marketo itself; its API takes no values for them.
_READ_ONLY = frozenset({"id", "marketoguid", "createdat", "updatedat"})
#: Sales Insight's figures under the names that instances know beside the guide's (marketo.md 7).
_INSIGHT_TOO = ("relativeScore", "urgency")


def column(given: str) -> str:
    """A column as Dataverse's Web API names it. Raises ValueError."""
    lower = given.strip().lower()
    bare = lower.removeprefix("_").removesuffix("_value")
    half = lower.startswith("_") != lower.endswith("_value") and (lower.startswith("_") or bare in _LOOKUPS)
    if half or lower in _LOOKUPS:
        raise ValueError(f'{quoted(given)} is a lookup: write "_{bare}_value"')
    if _COLUMN.fullmatch(given):
        return given
    if _COLUMN.fullmatch(lower):
        raise ValueError(f'{quoted(given)}: logical names are lower case: write "{lower}"')
    raise ValueError(
        f'{quoted(given)} is no column: write its logical name, such as "emailaddress1"; '
        "msisync fields list shows all of them"
    )


def marketo_name(given: str) -> str:
    """The API name of a Marketo field. Raises ValueError."""
    if not _MARKETO_NAME.fullmatch(given):
        raise ValueError(
            f"{quoted(given)} is no field of Marketo: write its API name, such as firstName, not its label; "
            "msisync fields list shows all of them"
        )
    return given


def guid(given: str) -> str:
    """A GUID in lower case without braces. Raises ValueError."""
    bare = as_guid(given)
    if not bare:
        raise ValueError(
            f'{quoted(given)} is not a valid GUID: write one such as "9b7e41d2-904d-ee11-be6f-000d3a4f1b2c"'
        )
    return bare


def time_zone(given: str) -> str:
    """The name of a time zone. Raises ValueError."""
    with suppress(ValueError, OSError, ZoneInfoNotFoundError):  # OSError: names that are folders of the zone files
        if given == "UTC" or ZoneInfo(given):
            return given
    raise ValueError(f'{quoted(given)} is not a time zone: write one such as "Europe/Berlin", or "UTC"')


def wanted(given: Any) -> Any:
    """What a condition wants of a column. Raises ValueError."""
    if given in ("empty", "present") and isinstance(given, str):
        return given
    if isinstance(given, bool | int):
        return [given]
    if not isinstance(given, list):
        raise ValueError(f'must be "empty", "present" or a list of values: [{quoted(given)}]')
    return list(values(given))


def values(given: Any) -> tuple[int | str | bool, ...]:
    """Values that a column is compared with. Raises ValueError."""
    if not isinstance(given, list | tuple):
        raise ValueError(f"must be a list of values: [{quoted(given)}]")
    if not given:
        raise ValueError("must not be an empty list: write the values, or delete it")
    wrong = [value for value in given if not isinstance(value, bool | int | str)]
    if wrong:
        raise ValueError(f"values are text, whole numbers, true or false, not {quoted(wrong[0])}")
    # Dataverse writes a GUID in lower case without braces; everything else is compared as it is.
    return tuple(as_guid(value) or value if isinstance(value, str) else value for value in given)


def condition(given: Any) -> Any:
    """A condition on columns. Raises ValueError."""
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"must be a condition, such as {{ statecode = [0] }}, not {quoted(given)}")
    return given


def as_list(given: Any) -> Any:
    """One, or a list of some. Raises ValueError for a list of none."""
    if not isinstance(given, list | tuple):
        return (given,)
    if not given:
        raise ValueError("must not be an empty list: write at least one, or delete the line")
    return given


def words(kind: str, place: Place, given: Any, *, names: Mapping[str, Sequence[str]]) -> str:
    """What to say of a key that does not exist or is missing, by pydantic's type of the problem; else nothing.

    `names` are the keys of each section, "" for the top of the file.
    """
    if kind == "missing" and place[-1] == "fields":
        return f"is missing: write [{place[0]}.fields] above the fields"
    if kind == "missing":
        return 'is missing: write column = "...", or columns = ["...", "..."]'
    return _unknown(place, given, names) if kind == "extra_forbidden" else ""


def _unknown(place: Place, given: Any, names: Mapping[str, Sequence[str]]) -> str:
    name = str(place[-1])
    if len(place) == 1:
        return _unknown_at_top(name, given, names)
    if name in names[""] and not isinstance(given, dict) and name not in TABLES:
        return f"unknown here: {name} stands at the top of the file, before the first [section]"
    if len(place) > 3 and place[2] == "filter":
        return f"a rule has no such key; if the filter of the table is meant, it stands under [{place[0]}]"
    if place[0] in ENTITIES and name in names["table"]:
        return _named_after_tables(str(place[0]))
    section = "rule" if len(place) > 2 else "table" if place[0] in TABLES else str(place[0])
    allowed = names[section]
    meant = nearest(name, allowed)
    if meant:
        return f'unknown; did you mean "{meant}"?'
    hint = f"; fields stand under [{place[0]}.fields]" if section == "table" else ""
    return f"unknown; allowed here: {', '.join(allowed)}{hint}"


def _unknown_at_top(name: str, given: Any, names: Mapping[str, Sequence[str]]) -> str:
    if not isinstance(given, dict):
        meant = nearest(name, [option for option in names[""] if option not in names and option not in TABLES])
        return f'unknown; did you mean "{meant}"?' if meant else f"unknown; allowed: {', '.join(names[''])}"
    if name in ENTITIES:
        return _named_after_tables(name)
    sections = [section for section in names[""] if section in names or section in TABLES]
    meant = nearest(name, sections)
    if meant:
        return f"unknown section; did you mean [{meant}]?"
    return f"unknown section; allowed: {', '.join(sections)}"


def _named_after_tables(entity: str) -> str:
    tables = " or ".join(f"[{table.name}]" for table in ENTITIES[entity].tables)
    return f"unknown section; sections are named after Dynamics' tables: write {tables}"


def misplaced(given: Mapping[str, Any], insight: Collection[str], options: Collection[str]) -> Iterator[str]:
    """What only the whole file tells: fields that are not the operator's to map, are mapped twice, or are demanded.

    `insight` are the Marketo fields that are written back; `options` those of the top of the file, which TOML takes
    for a field when they stand below [contact.fields].
    """
    written_back = given.get("write_back")
    written_back = written_back if isinstance(written_back, dict) else {}
    insight = {name.lower() for name in (*insight, *_INSIGHT_TOO, *written_back)}
    yield from _twice("write_back", written_back)
    keys = given.get("keys")
    lifecycle = given.get("lifecycle")
    flag = lifecycle.get("deleted_flag") if isinstance(lifecycle, dict) else None
    for table, section in given.items():
        fields = section.get("fields") if table in TABLES and isinstance(section, dict) else None
        if not isinstance(fields, dict):
            continue
        entity, _ = TABLES[table]
        yield from _twice(f"{table}.fields", fields)
        own = _own_fields(entity, keys if isinstance(keys, dict) else {}, flag)
        for field in fields:
            what = _not_to_be_mapped(field, own, insight if entity.is_lead else ())
            if field in options:
                what = f"{field} stands at the top of the file, before the first [section]"
            if what:
                yield f"{table}.fields.{field}: {what}"
        for field in _DEMANDED.get(table, ()):
            if field.lower() not in {name.lower() for name in fields}:
                yield f'{table}.fields.{field}: is missing, and Marketo demands it: write {field} = "{field}"'


def _own_fields(entity: Entity, keys: Mapping[str, Any], flag: object) -> frozenset[str]:
    """The fields, in lower case, that the sync itself fills: key, links, and the `flag` of deleted persons."""
    names = (*entity.dedupe_fields, *(link.field for link in entity.links), keys.get(entity.name))
    names += (flag,) if entity.is_lead else ()
    return frozenset(name.lower() for name in names if isinstance(name, str))


def _not_to_be_mapped(field: str, own: Collection[str], insight: Collection[str]) -> str:
    if field.lower() in own:
        return "the sync itself sets this field, from the row and its relations: delete the line"
    if field.lower() in insight:
        return "Sales Insight's fields are read-only and go from Marketo to Dynamics: name it in [write_back] instead"
    return "Marketo itself sets this field: delete the line" if field.lower() in _READ_ONLY else ""


def _twice(where: str, fields: Mapping[str, Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for field in fields:
        first = seen.setdefault(field.lower(), field)
        if first != field:
            yield f"{where}.{field}: {first} is the same field in Marketo: delete one of the two lines"
