"""What a table and a column are: the vocabulary in which `emulators.dataverse.tables` describes the schema."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

LOOKUP_TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"


class Kind(StrEnum):
    """Column types, named as the metadata names them; `DATE` is a DateTime column of format DateOnly."""

    TEXT = "String"
    MEMO = "Memo"
    BOOLEAN = "Boolean"
    INTEGER = "Integer"
    BIGINT = "BigInt"
    DECIMAL = "Decimal"
    DOUBLE = "Double"
    MONEY = "Money"
    DATETIME = "DateTime"
    DATE = "DateOnly"
    CHOICE = "Picklist"
    CHOICES = "MultiSelectPicklist"
    STATE = "State"
    STATUS = "Status"
    LOOKUP = "Lookup"
    CUSTOMER = "Customer"
    OWNER = "Owner"
    ID = "Uniqueidentifier"


LOOKUPS = frozenset({Kind.LOOKUP, Kind.CUSTOMER, Kind.OWNER})
CHOICES = frozenset({Kind.CHOICE, Kind.STATE, Kind.STATUS})
NUMBERS = frozenset({Kind.INTEGER, Kind.BIGINT, Kind.DECIMAL, Kind.DOUBLE, Kind.MONEY})
TEXTS = frozenset({Kind.TEXT, Kind.MEMO})


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a choice with its English (1033) and German (1031) label; a status also names its state."""

    value: int
    label: str
    german: str
    state: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One column. `create`, `update` and `read` are the metadata's IsValidFor… flags."""

    name: str
    kind: Kind
    label: str
    schema_name: str = ""
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    options: tuple[Option, ...] = ()
    targets: tuple[str, ...] = ()
    navigation: Mapping[str, str] = field(default_factory=dict)  # target table -> navigation property
    create: bool = True
    update: bool = True
    read: bool = True
    required: bool = False
    default: object = None
    cascade_delete: tuple[str, ...] = ()  # tables: the row goes with a row of these that this lookup names
    secured: bool = False  # column-level security is on: who may do what is in field security profiles
    hidden: bool = False  # secured, and the caller's profiles do not let it read
    locked: bool = False  # secured, and the caller's profiles do not let it write

    @cached_property
    def is_lookup(self) -> bool:
        """Whether the column holds a reference to another row."""
        return self.kind in LOOKUPS

    @cached_property
    def key(self) -> str:
        """The property that the Web API reads the column by; Dataverse: a lookup `x` is read as `_x_value`."""
        return f"_{self.name}_value" if self.is_lookup else self.name

    @cached_property
    def labels(self) -> Mapping[int, Option]:
        """The options by value."""
        return {option.value: option for option in self.options}


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """One table: its names, its columns and what the platform allows on it."""

    name: str
    set_name: str
    label: str
    schema_name: str
    type_code: int
    primary_name: str
    columns: Mapping[str, Column]
    bulk: bool = False  # CreateMultiple and UpdateMultiple
    event: bool = True  # steps can be registered on it
    change_tracking: bool = True

    @cached_property
    def primary_id(self) -> str:
        """The name of the key column."""
        return "activityid" if self.name.endswith("close") else f"{self.name}id"

    @cached_property
    def by_key(self) -> Mapping[str, Column]:
        """The readable columns by the name they are selected by."""
        return {column.key: column for column in self.columns.values() if column.read}

    @cached_property
    def lookups(self) -> tuple[Column, ...]:
        """The lookup columns."""
        return tuple(column for column in self.columns.values() if column.is_lookup)

    @cached_property
    def required(self) -> tuple[Column, ...]:
        """The columns that must have a value."""
        return tuple(column for column in self.columns.values() if column.required)

    @cached_property
    def navigations(self) -> Mapping[str, tuple[Column, str | None]]:
        """Navigation property -> its column and the one table it leads to (None: several, as with an owner)."""
        found: dict[str, tuple[Column, str | None]] = {}
        for column in self.lookups:
            for target, name in column.navigation.items():
                found[name] = (column, None if name in found else target)
        return found

    @cached_property
    def state_of_status(self) -> Mapping[int, int]:
        """Status reason -> the state it belongs to, in the order of the definition."""
        if "statuscode" not in self.columns:
            return {}
        return {o.value: o.state for o in self.columns["statuscode"].options if o.state is not None}
