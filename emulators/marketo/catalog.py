"""The objects of one instance: Marketo's own fields and the customer's, less those that are gone."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from emulators.marketo.fields import DATA_TYPES, Field
from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ObjectType, object_types
from emulators.marketo.switches import Switches

# Marketo: lookups work on strings, integers and e-mail addresses.
_LOOKUP_TYPES = frozenset({"string", "email", "integer"})
# Custom fields that describe lists among the searchable ones without more ado.
_SEARCHABLE = {LEADS: _LOOKUP_TYPES, OPPORTUNITIES: frozenset({"string", "integer"}), COMPANIES: frozenset[str]()}
_OF_STRINGS = frozenset({"string", "email", "phone", "url"})
_ENTRY = {"name": str, "dataType": str, "length": int, "searchable": bool}


def object_types_of(switches: Switches) -> dict[str, ObjectType]:
    """Return the objects by name as the switches set them up.

    Raises:
        ValueError: custom fields that Marketo would not take, or the removal of a field that identifies records.
    """
    kinds = object_types(msi=switches.msi_non_native, relative_score=switches.relative_score_field)
    for name in (*switches.custom_fields, *switches.removed_fields):
        if name not in kinds:
            raise ValueError(f"no object {name!r}; there are {', '.join(sorted(kinds))}")
    if not all(isinstance(name, str) for names in switches.removed_fields.values() for name in names):
        raise ValueError(f"removed_fields lists names, not {switches.removed_fields!r}")
    custom = {name: _custom_fields(kinds[name], entries) for name, entries in switches.custom_fields.items()}
    # Company-type fields are fields of the lead as well, which inherits their values.
    inherited = [replace(field, of_company=True, searchable=False) for field in custom.get(COMPANIES, ())]
    if inherited:
        custom[LEADS] = [*custom.get(LEADS, ()), *inherited]
    # Sales Insight's names are taken even where the feature is off: it can be switched on.
    reserved = object_types(msi=True)
    for name, fields in custom.items():
        taken = [field.name for field in (*kinds[name].fields, *reserved[name].fields)]
        kinds[name] = _extended(kinds[name], fields, taken)
    removed = dict(switches.removed_fields)
    mirrored = {field.name.lower() for field in kinds[LEADS].fields if field.of_company}
    gone_with_company = [name for name in removed.get(COMPANIES, ()) if name.lower() in mirrored]
    if gone_with_company:
        removed[LEADS] = [*removed.get(LEADS, ()), *gone_with_company]
    return kinds | {name: _without(kinds[name], names) for name, names in removed.items()}


def _custom_fields(kind: ObjectType, entries: Iterable[Any]) -> list[Field]:
    entries = list(entries)
    if entries and not kind.extensible:
        raise ValueError(f"{kind.name} takes no custom fields")
    return [_custom_field(kind, entry) for entry in entries]


def _custom_field(kind: ObjectType, entry: Any) -> Field:
    if not isinstance(entry, dict) or not {"name", "dataType"} <= set(entry) <= set(_ENTRY):
        raise ValueError(f"a custom field has name and dataType, perhaps length and searchable, not {entry!r}")
    for part, value in entry.items():
        if type(value) is not _ENTRY[part]:
            raise ValueError(f"{part} of a custom field cannot be {value!r}")
    data_type = entry["dataType"]
    if data_type not in DATA_TYPES:
        raise ValueError(f"dataType is one of {', '.join(sorted(DATA_TYPES))}, not {data_type!r}")
    if entry.get("searchable") and data_type not in _LOOKUP_TYPES:
        raise ValueError(f"{entry['name']} cannot be searchable: {data_type} is not a type for a lookup")
    return Field(
        entry["name"],
        data_type,
        entry.get("length", 255 if data_type in _OF_STRINGS else None),
        searchable=entry.get("searchable", data_type in _SEARCHABLE[kind.name]),
        custom=True,
    )


def _extended(kind: ObjectType, fields: Iterable[Field], taken: Iterable[str]) -> ObjectType:
    known = {name.lower() for name in taken}
    for field in fields:
        if field.name.lower() in known:
            raise ValueError(f"{kind.name} has a field {field.name!r} already")
        known.add(field.name.lower())
    return replace(kind, fields=(*kind.fields, *fields))


def _without(kind: ObjectType, names: Iterable[str]) -> ObjectType:
    gone = {name.lower() for name in names}
    for name in (kind.id_field, *kind.dedupe_fields, "createdAt", "updatedAt"):
        if name.lower() in gone:
            raise ValueError(f"{kind.name} is never without {name}")
    return replace(
        kind,
        fields=tuple(field for field in kind.fields if field.name.lower() not in gone),
        default_fields=tuple(name for name in kind.default_fields if name.lower() not in gone),
    )
