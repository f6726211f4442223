"""What Dataverse says of its tables: which columns there are, of what type and length, and the labels of choices.

Facts: dataverse.md 8. A lookup column ``x`` is read as ``_x_value``; typed properties such as MaxLength need a cast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.dataverse.client import API, DataverseClient

LOOKUP_KINDS = frozenset({"Lookup", "Customer", "Owner"})
TEXT_KINDS = ("String", "Memo")
_CHOICE_KINDS = ("Picklist", "State", "Status", "MultiSelectPicklist", "Boolean")
_OPTIONS = {
    "Picklist": "OptionSet($select=Options),GlobalOptionSet($select=Options)",
    "MultiSelectPicklist": "OptionSet($select=Options),GlobalOptionSet($select=Options)",
    "Boolean": "OptionSet($select=TrueOption,FalseOption)",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `kind` is its AttributeType; `max_length` is that of text, in characters."""

    name: str
    kind: str
    readable: bool
    updatable: bool = False
    schema_name: str = ""
    label: str = ""
    max_length: int | None = None

    @property
    def web_name(self) -> str:
        """What the column is called in queries."""
        return f"_{self.name}_value" if self.kind in LOOKUP_KINDS else self.name


class Metadata:
    """Reads metadata of one environment. Raises as DataverseClient does."""

    def __init__(self, dataverse: DataverseClient) -> None:
        self._dataverse = dataverse

    async def readable_columns(self, table: str) -> frozenset[str]:
        """The names by which rows of a table can be queried. One request."""
        return frozenset(column.web_name for column in await self._columns(table, "") if column.readable)

    async def columns(self, table: str, language: int) -> dict[str, Column]:
        """Every column by logical name, with schema name, label and text length. Three requests."""
        found = {c.name: c for c in await self._columns(table, ",SchemaName,DisplayName,IsValidForUpdate", language)}
        for kind in TEXT_KINDS:
            path = f"/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?$select=LogicalName,MaxLength"
            for attribute in (await self._get(table, path))["value"]:
                name = attribute["LogicalName"]
                if name in found:
                    found[name] = replace(found[name], max_length=attribute["MaxLength"])
        return found

    async def days(self, table: str) -> dict[str, str]:
        """The columns of days without a time: "Date" where the Web API has dates, else "Day". One request.

        By behaviour, not by format: a column that only shows the day still holds a moment (dataverse.md 4.2).
        """
        path = "/Microsoft.Dynamics.CRM.DateTimeAttributeMetadata?$select=LogicalName,Format,DateTimeBehavior"
        found: dict[str, str] = {}
        for attribute in (await self._get(table, path))["value"]:
            if (attribute.get("DateTimeBehavior") or {}).get("Value") == "DateOnly":
                found[attribute["LogicalName"]] = "Date"
            elif attribute.get("Format") == "DateOnly":
                found[attribute["LogicalName"]] = "Day"
        return found

    async def labels(self, table: str, columns: frozenset[str], language: int) -> dict[str, dict[int, str]]:
        """Choice labels by column and value, in `language`, else in any language that has one."""
        labels: dict[str, dict[int, str]] = {}
        for kind in _CHOICE_KINDS:
            if columns <= labels.keys():
                break
            expand = _OPTIONS.get(kind, "OptionSet($select=Options)")
            answer = await self._get(
                table, f"/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?$select=LogicalName&$expand={expand}"
            )
            for attribute in answer["value"]:
                if attribute["LogicalName"] in columns:
                    options = attribute.get("OptionSet") or attribute.get("GlobalOptionSet") or {}
                    both = [option for name in ("TrueOption", "FalseOption") if (option := options.get(name))]
                    labels[attribute["LogicalName"]] = {
                        option["Value"]: _label(option["Label"], language) for option in options.get("Options") or both
                    }
        return labels

    async def _columns(self, table: str, more: str, language: int = 0) -> list[Column]:
        answer = await self._get(table, f"?$select=LogicalName,AttributeType,AttributeOf,IsValidForRead{more}")
        return [
            Column(
                attribute["LogicalName"],
                attribute["AttributeType"],
                attribute.get("IsValidForRead", True),
                attribute.get("IsValidForUpdate", False),
                attribute.get("SchemaName", ""),
                _label(attribute.get("DisplayName") or {}, language),
            )
            for attribute in answer["value"]
            if not attribute.get("AttributeOf")  # the shadows of choices and lookups cannot be queried
        ]

    async def _get(self, table: str, path: str) -> Any:
        return await self._dataverse.get(f"{API}/EntityDefinitions(LogicalName='{table}')/Attributes{path}")


def _label(label: Mapping[str, Any], language: int) -> str:
    localized = label.get("LocalizedLabels") or []
    wanted = [entry["Label"] for entry in localized if entry.get("LanguageCode") == language]
    user = (label.get("UserLocalizedLabel") or {}).get("Label")
    return str(next(iter(wanted), None) or user or next((e["Label"] for e in localized), ""))
