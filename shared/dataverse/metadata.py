"""The metadata of Dataverse's tables: columns, their types and lengths, and the labels of choices.

Facts: dataverse.md 8; Microsoft's pages on column-level security and on RetrievePrincipalAttributePrivileges. A lookup
column ``x`` is read as ``_x_value``; typed properties such as MaxLength need a cast.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..model.codes import Kind
from ..model.errors import DataverseError
from .client import API, DataverseClient

log = logging.getLogger(__name__)

LOOKUP_KINDS = frozenset({"Lookup", "Customer", "Owner"})
TEXT_KINDS = ("String", "Memo")
#: What is read of every column. Privileges on secured columns refer to the MetadataId.
_SELECT = (
    "MetadataId,LogicalName,AttributeType,AttributeTypeName,AttributeOf,IsValidForRead,IsSecured,CanBeSecuredForRead"
)
_PRIVILEGES = "Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivileges"
#: What a field security profile may grant on a column; 0 is "not allowed".
_ALLOWED = 4
_CHOICE_KINDS = ("Picklist", "State", "Status", "MultiSelectPicklist", "Boolean")
_OPTIONS = {
    "Picklist": "OptionSet($select=Options),GlobalOptionSet($select=Options)",
    "MultiSelectPicklist": "OptionSet($select=Options),GlobalOptionSet($select=Options)",
    "Boolean": "OptionSet($select=TrueOption,FalseOption)",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `kind` is its AttributeType; `max_length` is that of text, in characters.

    `type_name` is its AttributeTypeName, which distinguishes multi-select choices from other virtual columns.
    `behavior` and `format` are those of dates. A `hidden` column is secured and not readable for the sync user: queries
    return null for it, whatever its value.
    """

    name: str
    kind: str
    readable: bool
    updatable: bool = False
    schema_name: str = ""
    label: str = ""
    max_length: int | None = None
    type_name: str = ""
    behavior: str = ""
    format: str = ""
    hidden: bool = False

    @property
    def web_name(self) -> str:
        """What the column is called in queries."""
        return web_name(self.name, self.kind)


def web_name(name: str, kind: str) -> str:
    """What a column of this AttributeType is called in queries."""
    return f"_{name}_value" if kind in LOOKUP_KINDS else name


def hidden_in(columns: Mapping[str, Column] | Collection[str]) -> frozenset[str]:
    """Those of these columns that hold something which our user may not read."""
    types = columns if isinstance(columns, Mapping) else {}
    return frozenset(name for name, column in types.items() if column.hidden)


@dataclass(frozen=True)
class Metadata:
    """Reads metadata of one environment. Raises as DataverseClient does."""

    dataverse: DataverseClient

    async def readable_columns(self, table: str) -> dict[str, Column]:
        """The columns by which rows of a table can be queried, by their names in queries. Two requests, or three."""
        return {column.web_name: column for column in await self._columns(table, "") if column.readable}

    async def hidden_columns(self, table: str) -> frozenset[str]:
        """The columns that are hidden from the sync user now, by their names in queries. One request, or two."""
        answer = await self._get(table, f"?$select={_SELECT}&$filter=IsSecured eq true")
        attributes = {attribute["LogicalName"]: attribute for attribute in answer["value"]}
        hidden = await self._hidden(attributes.values())
        return frozenset(web_name(name, attributes[name]["AttributeType"]) for name in hidden)

    async def columns(self, table: str, language: int) -> dict[str, Column]:
        """Every column by logical name, with schema name, label and text length. Four requests, or five."""
        found = {c.name: c for c in await self._columns(table, ",SchemaName,DisplayName,IsValidForUpdate", language)}
        for kind in TEXT_KINDS:
            for name, attribute in (await self._of_kind(table, kind, ",MaxLength")).items():
                if name in found:
                    found[name] = replace(found[name], max_length=attribute["MaxLength"])
        return found

    async def days(self, table: str) -> dict[str, str]:
        """The columns of days without a time: "Date" where the Web API has dates, else "Day". One request.

        By behaviour, not by format: a column that only shows the day still holds a moment (dataverse.md 4.2).
        """
        dates = await self._dates(table)
        return {
            name: "Date" if kinds[0] == "DateOnly" else "Day" for name, kinds in dates.items() if "DateOnly" in kinds
        }

    async def labels(self, table: str, columns: frozenset[str], language: int) -> dict[str, dict[int, str]]:
        """Choice labels by column and value, in `language`, or in another language without one in it."""
        labels: dict[str, dict[int, str]] = {}
        for kind in _CHOICE_KINDS:
            if columns <= labels.keys():
                break
            expand = _OPTIONS.get(kind, "OptionSet($select=Options)")
            for name, attribute in (await self._of_kind(table, kind, f"&$expand={expand}")).items():
                if name in columns:
                    options = attribute.get("OptionSet") or attribute.get("GlobalOptionSet") or {}
                    both = [option for side in ("TrueOption", "FalseOption") if (option := options.get(side))]
                    labels[name] = {
                        option["Value"]: _label(option["Label"], language) for option in options.get("Options") or both
                    }
        return labels

    async def is_tracked(self, table: str) -> bool:
        """Whether change tracking is on for a table (ChangeTrackingEnabled). One request."""
        url = f"{API}/EntityDefinitions(LogicalName='{table}')?$select=ChangeTrackingEnabled"
        return (await self.dataverse.get(url)).get("ChangeTrackingEnabled") is True

    async def _columns(self, table: str, more: str, language: int = 0) -> list[Column]:
        answer, dates = await asyncio.gather(self._get(table, f"?$select={_SELECT}{more}"), self._dates(table))
        # The shadows of choices and lookups cannot be queried.
        attributes = [attribute for attribute in answer["value"] if not attribute.get("AttributeOf")]
        hidden = await self._hidden(attributes)
        return [
            Column(
                attribute["LogicalName"],
                attribute["AttributeType"],
                attribute.get("IsValidForRead", True),
                attribute.get("IsValidForUpdate", False),
                attribute.get("SchemaName", ""),
                _label(attribute.get("DisplayName") or {}, language),
                type_name=(attribute.get("AttributeTypeName") or {}).get("Value", ""),
                behavior=dates.get(attribute["LogicalName"], ("", ""))[0],
                format=dates.get(attribute["LogicalName"], ("", ""))[1],
                hidden=attribute["LogicalName"] in hidden,
            )
            for attribute in attributes
        ]

    async def _hidden(self, attributes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        """The logical names of those attributes that are secured and that the sync user may not read."""
        secured = [a for a in attributes if a.get("IsSecured") and a.get("CanBeSecuredForRead") is not False]
        granted = await self._granted() if secured else frozenset()
        return frozenset(a["LogicalName"] for a in secured if str(a.get("MetadataId", "")).lower() not in granted)

    async def _dates(self, table: str) -> dict[str, tuple[str, str]]:
        """The behaviour and the format of the columns that hold dates."""
        found = await self._of_kind(table, "DateTime", ",Format,DateTimeBehavior")
        return {
            name: ((attribute.get("DateTimeBehavior") or {}).get("Value") or "", attribute.get("Format") or "")
            for name, attribute in found.items()
        }

    async def _granted(self) -> frozenset[str]:
        """The MetadataIds of the secured columns that the sync user may read, by its own profiles or its teams'.

        None if Dataverse does not tell: then values are still sent, but a null is not taken for an empty column.
        """
        try:
            user = await self.dataverse.user_id()
            answer = await self.dataverse.get(f"{API}/systemusers({user})/{_PRIVILEGES}()")
        except DataverseError as error:
            if error.kind not in {Kind.CONFIGURATION, Kind.GONE, Kind.PERMANENT}:
                raise
            log.warning("column_security_unknown %s", error)
            return frozenset()
        privileges = answer.get("AttributePrivileges") or []
        return frozenset(str(p["AttributeId"]).lower() for p in privileges if p.get("CanRead") == _ALLOWED)

    async def _of_kind(self, table: str, kind: str, query: str) -> dict[str, Mapping[str, Any]]:
        """The columns of one kind by logical name, with properties that only this kind has."""
        path = f"/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?$select=LogicalName{query}"
        return {attribute["LogicalName"]: attribute for attribute in (await self._get(table, path))["value"]}

    async def _get(self, table: str, path: str) -> Any:
        return await self.dataverse.get(f"{API}/EntityDefinitions(LogicalName='{table}')/Attributes{path}")


def _label(label: Mapping[str, Any], language: int) -> str:
    localized = label.get("LocalizedLabels") or []
    wanted = [entry["Label"] for entry in localized if entry.get("LanguageCode") == language]
    user = (label.get("UserLocalizedLabel") or {}).get("Label")
    return str(next(iter(wanted), None) or user or next((e["Label"] for e in localized), ""))
