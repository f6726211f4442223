"""EntityDefinitions: tables, columns and choice labels as the metadata service describes them."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from emulators.dataverse import constants, errors
from emulators.dataverse.columns import LOOKUPS, NUMBERS, TEXTS, Column, Kind, Option, Table
from emulators.dataverse.filters import Property, parse_filter
from emulators.dataverse.messages import ApiResponse, json_response
from emulators.dataverse.query import Options
from emulators.dataverse.schema import can_be_secured
from emulators.dataverse.tables import TABLES

_BASE: Final = f"{constants.ORGANIZATION_URL}/api/data/v9.2/$metadata#"
_NAMESPACE: Final = "Microsoft.Dynamics.CRM."
_PATH: Final = re.compile(
    r"^EntityDefinitions(?:\((?P<table>[^()]+)\))?"
    r"(?P<attributes>/Attributes(?:\((?P<column>[^()]+)\))?)?(?:/Microsoft\.Dynamics\.CRM\.(?P<cast>\w+))?$"
)
_NAMED: Final = re.compile(r"^LogicalName='(?P<name>\w+)'$")
_EXPAND: Final = re.compile(r"(?P<name>\w+)(?:\((?P<options>[^()]*)\))?")
_OPTION_SETS: Final = ("OptionSet", "GlobalOptionSet")
_TYPES: Final[Mapping[Kind, str]] = {
    **{kind: f"{kind.value}AttributeMetadata" for kind in Kind},
    Kind.DATE: "DateTimeAttributeMetadata",
    Kind.CUSTOMER: "LookupAttributeMetadata",
    Kind.OWNER: "LookupAttributeMetadata",
    Kind.ID: "UniqueIdentifierAttributeMetadata",
}
Item = dict[str, Any]


def read_metadata(tables: Mapping[str, Table], options: Options, path: str, method: str) -> ApiResponse:
    """Answer a request below EntityDefinitions of these tables. Raises ApiError."""
    match = _PATH.match(path)
    if match is None or method != "GET":
        raise errors.unknown_segment(path)
    if match["table"] is None:
        items = [_entity(table) for table in tables.values()]
        return _collection(items, options, "EntityDefinitions", "EntityMetadata")
    table = tables.get(_name(match["table"]))
    if table is None:
        message = f"Could not find an entity with name {_name(match['table'])} in the metadata cache."
        raise errors.ApiError(404, "0x80060888", message)
    if match["attributes"] is None:
        return _single(_entity(table), options, "EntityDefinitions", "EntityMetadata")
    context = f"EntityDefinitions('{table.name}')/Attributes"
    cast = match["cast"]
    if cast is not None and cast not in _TYPES.values():
        raise errors.unknown_segment(f"{_NAMESPACE}{cast}")
    items = [item for item in _attributes(table) if cast is None or item["@odata.type"] == f"#{_NAMESPACE}{cast}"]
    type_name = cast or "AttributeMetadata"
    if match["column"] is None:
        return _collection(items, options, context, type_name)
    wanted = _name(match["column"])
    found = [item for item in items if item["LogicalName"] == wanted]
    if not found:
        message = f"Could not find an attribute with name {wanted} on entity {table.name}."
        raise errors.ApiError(404, "0x80060888", message)
    return _single(found[0], options, context, type_name)


def _name(key: str) -> str:
    match = _NAMED.match(key)
    if match is None:
        raise errors.bad_query(f"'{key}' is not a key of the metadata.")
    return match["name"]


def _collection(items: list[Item], options: Options, context: str, type_name: str) -> ApiResponse:
    unsupported = options.options.keys() - {"$select", "$filter", "$expand"}
    if unsupported:
        raise errors.bad_query(f"The query parameter '{min(unsupported)}' is not supported on metadata.")
    text = options.options.get("$filter")
    if text:
        test = parse_filter(text, _resolver(type_name), options.aliases).test
        items = [item for item in items if test(item)]
    project = _projector(options, type_name)
    return json_response({"@odata.context": f"{_BASE}{context}", "value": [project(item) for item in items]})


def _single(item: Item, options: Options, context: str, type_name: str) -> ApiResponse:
    project = _projector(options, type_name)
    return json_response({"@odata.context": f"{_BASE}{context}/$entity", **project(item)})


def _resolver(type_name: str) -> Callable[[str], Property]:
    known = _properties(type_name)

    def resolve(name: str) -> Property:
        if name not in known or name in {"DisplayName", "Targets", "RequiredLevel"}:
            raise errors.unknown_property(name, type_name)
        sample = known[name]
        kind = Kind.BOOLEAN if isinstance(sample, bool) else Kind.INTEGER if isinstance(sample, int) else Kind.TEXT
        return Property(name, kind, lambda item: item.get(name))

    return resolve


def _projector(options: Options, type_name: str) -> Callable[[Item], Item]:
    known = _properties(type_name)
    names = [name.strip() for name in options.options.get("$select", "").split(",") if name.strip()]
    for name in names:
        # The typed properties need the cast: the base set does not know MaxLength or Targets.
        if name not in known or name in _OPTION_SETS:
            raise errors.unknown_property(name, type_name)
    expands = _expands(options.options.get("$expand", ""), type_name)

    def project(item: Item) -> Item:
        kept = names or [name for name in item if name not in _OPTION_SETS]
        out = {"@odata.type": item["@odata.type"]} if "@odata.type" in item and type_name == "AttributeMetadata" else {}
        out |= {name: item.get(name) for name in ["MetadataId", *kept] if not name.startswith("@")}
        for name, select in expands.items():
            found = item.get(name)
            out[name] = (
                found if found is None or not select else {key: found.get(key) for key in ["MetadataId", *select]}
            )
        return out

    return project


def _expands(text: str, type_name: str) -> dict[str, list[str]]:
    found = {}
    for match in _EXPAND.finditer(text):
        if match["name"] not in _properties(type_name) or match["name"] not in _OPTION_SETS:
            raise errors.unknown_property(match["name"], type_name)
        select = (match["options"] or "").partition("$select=")[2]
        found[match["name"]] = [name.strip() for name in select.split(",") if name.strip()]
    return found


@cache
def _properties(type_name: str) -> Mapping[str, Any]:
    """Property names of a metadata type with a sample value of each."""
    if type_name == "EntityMetadata":
        return _entity(TABLES["account"])
    items = [item for table in TABLES.values() for item in _attributes(table)]
    if type_name != "AttributeMetadata":
        items = [item for item in items if item["@odata.type"] == f"#{_NAMESPACE}{type_name}"]
        return items[0] if items else {}
    return {name: value for name, value in items[0].items() if name in _COMMON}


_COMMON: Final = frozenset(
    {
        "MetadataId",
        "LogicalName",
        "SchemaName",
        "AttributeType",
        "AttributeTypeName",
        "DisplayName",
        "RequiredLevel",
        "IsValidForRead",
        "IsValidForCreate",
        "IsValidForUpdate",
        "IsSecured",
        "CanBeSecuredForRead",
        "CanBeSecuredForCreate",
        "CanBeSecuredForUpdate",
        "IsPrimaryId",
        "IsPrimaryName",
        "IsCustomAttribute",
        "AttributeOf",
        "EntityLogicalName",
    }
)


@cache
def _entity(table: Table) -> Item:
    return {
        "MetadataId": _id(table.name),
        "LogicalName": table.name,
        "SchemaName": table.schema_name,
        "EntitySetName": table.set_name,
        "LogicalCollectionName": table.set_name,
        "PrimaryIdAttribute": table.primary_id,
        "PrimaryNameAttribute": table.primary_name,
        "ObjectTypeCode": table.type_code,
        "OwnershipType": "UserOwned" if "ownerid" in table.columns else "OrganizationOwned",
        "ChangeTrackingEnabled": table.change_tracking,
        "IsOptimisticConcurrencyEnabled": table.change_tracking,
        "IsCustomEntity": False,
        "DisplayName": _label(table.label, table.label),
    }


@cache
def _attributes(table: Table) -> tuple[Item, ...]:
    found = []
    for column in table.columns.values():
        found.append(_attribute(table, column))
        if column.options or column.is_lookup:
            found.append(_shadow(table, column))
    return tuple(found)


def _attribute(table: Table, column: Column) -> Item:
    own_type = (
        "DateTime" if column.kind == Kind.DATE else "Virtual" if column.kind == Kind.CHOICES else column.kind.value
    )
    type_name = "DateTime" if column.kind == Kind.DATE else column.kind.value
    return {
        "@odata.type": f"#{_NAMESPACE}{_TYPES[column.kind]}",
        **_common(table, column.name, own_type, f"{type_name}Type"),
        "SchemaName": column.schema_name or column.name.capitalize(),
        "DisplayName": _label(column.label, None),
        "RequiredLevel": {"Value": "SystemRequired" if column.required else "None", "CanBeChanged": True},
        "IsValidForRead": column.read,
        "IsValidForCreate": column.create,
        "IsValidForUpdate": column.update,
        "IsSecured": column.secured,
        "CanBeSecuredForRead": can_be_secured(table, column.name),
        "CanBeSecuredForCreate": can_be_secured(table, column.name) and column.create,
        "CanBeSecuredForUpdate": can_be_secured(table, column.name) and column.update,
        "IsPrimaryId": column.name == table.primary_id,
        "IsPrimaryName": column.name == table.primary_name,
        "IsCustomAttribute": column.name.startswith("new_"),
        **_typed(table, column),
    }


def _common(table: Table, name: str, attribute_type: str, type_name: str) -> Item:
    return {
        "MetadataId": _id(table.name, name),
        "LogicalName": name,
        "EntityLogicalName": table.name,
        "AttributeType": attribute_type,
        "AttributeTypeName": {"Value": type_name},
        "AttributeOf": None,
    }


def _shadow(table: Table, column: Column) -> Item:
    """The virtual column with the label or name of another one; it cannot be selected in queries."""
    name = f"{column.name}name"
    return {
        "@odata.type": f"#{_NAMESPACE}AttributeMetadata",
        **_common(table, name, "Virtual", "VirtualType"),
        "SchemaName": f"{column.schema_name or column.name.capitalize()}Name",
        "DisplayName": {"LocalizedLabels": [], "UserLocalizedLabel": None},
        "RequiredLevel": {"Value": "None", "CanBeChanged": True},
        "IsValidForRead": True,
        "IsValidForCreate": False,
        "IsValidForUpdate": False,
        "IsSecured": False,
        "CanBeSecuredForRead": False,
        "CanBeSecuredForCreate": False,
        "CanBeSecuredForUpdate": False,
        "IsPrimaryId": False,
        "IsPrimaryName": False,
        "IsCustomAttribute": False,
        "AttributeOf": column.name,
    }


def _typed(table: Table, column: Column) -> Item:
    if column.kind in TEXTS:
        email = "email" in column.name
        return {"MaxLength": column.max_length, "FormatName": {"Value": "Email" if email else "Text"}}
    if column.kind in {Kind.DATETIME, Kind.DATE}:
        only_day = column.kind == Kind.DATE
        behaviour = {"Value": "DateOnly" if only_day else "UserLocal"}
        return {"Format": "DateOnly" if only_day else "DateAndTime", "DateTimeBehavior": behaviour}
    if column.kind in NUMBERS:
        limits = {"MinValue": column.minimum, "MaxValue": column.maximum}
        return limits if column.kind in {Kind.INTEGER, Kind.BIGINT} else {**limits, "Precision": 2}
    if column.kind in LOOKUPS:
        return {"Targets": list(column.targets)}
    return _option_set(table, column) if column.options else {}


def _option_set(table: Table, column: Column) -> Item:
    content: Item = {"MetadataId": _id(table.name, column.name, "set"), "Name": f"{table.name}_{column.name}"}
    if column.kind == Kind.BOOLEAN:
        false, true = column.options
        content |= {"FalseOption": _option(table, column, false), "TrueOption": _option(table, column, true)}
        return {"DefaultValue": column.default, "OptionSet": content, "GlobalOptionSet": None}
    content["Options"] = [_option(table, column, option) for option in column.options]
    default = -1 if column.default is None else column.default
    return {"DefaultFormValue": default, "OptionSet": content, "GlobalOptionSet": None}


def _option(table: Table, column: Column, option: Option) -> Item:
    found: Item = {
        "Value": option.value,
        "Color": None,
        "IsManaged": True,
        "ExternalValue": None,
        "ParentValues": [],
        "Label": _label(option.label, option.german),
        "Description": {"LocalizedLabels": [], "UserLocalizedLabel": None},
        "MetadataId": _id(table.name, column.name, str(option.value)),
    }
    if option.state is not None:
        found |= {"State": option.state, "TransitionData": None}
    return found


def _label(english: str, german: str | None) -> Item:
    labels = [_localised(english, 1033)]
    if german is not None:
        labels.append(_localised(german, 1031))
    return {"LocalizedLabels": labels, "UserLocalizedLabel": labels[0]}


def _localised(text: str, language: int) -> Item:
    return {
        "Label": text,
        "LanguageCode": language,
        "IsManaged": True,
        "MetadataId": _id(text, str(language)),
        "HasChanged": None,
    }


def column_id(table: Table, column: Column) -> str:
    """The MetadataId of a column, by which other parts of the platform name it."""
    return _id(table.name, column.name)


def _id(*names: str) -> str:
    """A metadata id that stays the same from run to run."""
    return str(uuid5(NAMESPACE_URL, "/".join(names)))
