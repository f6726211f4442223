"""Short constructors for columns and tables, so that the schema reads as a table."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from emulators.dataverse.columns import Column, Kind, Option, Table

INTEGER_MAXIMUM = 2_147_483_647
STATES_ACTIVE = ((0, "Active", "Aktiv"), (1, "Inactive", "Inaktiv"))


def text(name: str, length: int, label: str, **more: Any) -> Column:
    """A single line of text."""
    return Column(name=name, kind=Kind.TEXT, label=label, max_length=length, **more)


def memo(name: str, length: int, label: str, **more: Any) -> Column:
    """Several lines of text."""
    return Column(name=name, kind=Kind.MEMO, label=label, max_length=length, **more)


def flag(name: str, label: str, false: str = "No|Nein", true: str = "Yes|Ja", **more: Any) -> Column:
    """A yes/no column; both labels are given as `English|German`."""
    options = _options(f"0 {false}; 1 {true}")
    return Column(name=name, kind=Kind.BOOLEAN, label=label, options=options, **{"default": False} | more)


def allow(name: str, label: str) -> Column:
    """One of the do-not-contact columns; Dataverse: true means "Do Not Allow"."""
    return flag(name, label, "Allow|Zulassen", "Do Not Allow|Nicht zulassen")


def number(name: str, label: str, *, low: float = 0, high: float = INTEGER_MAXIMUM, **more: Any) -> Column:
    """A whole number within its limits."""
    return Column(name=name, kind=Kind.INTEGER, label=label, minimum=low, maximum=high, **more)


def money(name: str, label: str) -> tuple[Column, Column]:
    """An amount in the row's currency and its read-only twin in the organisation's."""
    return (
        Column(name=name, kind=Kind.MONEY, label=label, minimum=-922337203685477, maximum=922337203685477),
        Column(name=f"{name}_base", kind=Kind.MONEY, label=f"{label} (Base)", create=False, update=False),
    )


def moment(name: str, label: str, **more: Any) -> Column:
    """A date with time, kept in UTC."""
    return Column(name=name, kind=Kind.DATETIME, label=label, **more)


def day(name: str, label: str) -> Column:
    """A date without time."""
    return Column(name=name, kind=Kind.DATE, label=label)


def guid(name: str, label: str, **more: Any) -> Column:
    """A unique identifier that is not a reference."""
    return Column(name=name, kind=Kind.ID, label=label, **more)


def choice(name: str, label: str, options: str, kind: Kind = Kind.CHOICE, **more: Any) -> Column:
    """A choice; the options are written as `1 Hot|Heiß; 2 Warm|Warm`."""
    return Column(name=name, kind=kind, label=label, options=_options(options), **more)


def _options(text: str) -> tuple[Option, ...]:
    found = []
    for item in text.split(";"):
        value, labels = item.strip().split(" ", 1)
        english, _, german = labels.partition("|")
        found.append(Option(int(value), english, german or english))
    return tuple(found)


def states(*states: tuple[int, str, str], statuses: Iterable[tuple[int, int, str, str]] = ()) -> tuple[Column, Column]:
    """State and status reason; a status is (state, value, English, German), the first of a state being its default."""
    reasons = tuple(statuses) or tuple((value, value + 1, english, german) for value, english, german in states)
    return (
        Column(
            name="statecode",
            kind=Kind.STATE,
            label="Status",
            options=tuple(Option(*state) for state in states),
        ),
        Column(
            name="statuscode",
            kind=Kind.STATUS,
            label="Status Reason",
            options=tuple(Option(value, english, german, state) for state, value, english, german in reasons),
        ),
    )


def lookup(name: str, label: str, *targets: str, **more: Any) -> Column:
    """A reference to a row. With several targets the navigation property carries the target's name as suffix."""
    names = {target: f"{name}_{target}" for target in targets} if len(targets) > 1 else {targets[0]: name}
    values: dict[str, Any] = {"kind": Kind.LOOKUP, "navigation": names} | more
    return Column(name=name, label=label, targets=targets, **values)


def customer(name: str, label: str, **more: Any) -> Column:
    """A reference to an account or a contact."""
    return lookup(name, label, "account", "contact", kind=Kind.CUSTOMER, **more)


def derived(*columns: Column) -> tuple[Column, ...]:
    """The same columns as ones that only the platform sets."""
    return tuple(replace(column, create=False, update=False) for column in columns)


def address(prefix: str) -> tuple[Column, ...]:
    """The columns of one address."""
    return (
        text(f"{prefix}_line1", 250, "Street 1"),
        text(f"{prefix}_line2", 250, "Street 2"),
        text(f"{prefix}_line3", 250, "Street 3"),
        text(f"{prefix}_city", 80, "City"),
        text(f"{prefix}_stateorprovince", 50, "State/Province"),
        text(f"{prefix}_postalcode", 20, "ZIP/Postal Code"),
        text(f"{prefix}_country", 80, "Country/Region"),
        text(f"{prefix}_telephone1", 50, "Phone"),
        text(f"{prefix}_fax", 50, "Fax"),
    )


def owner(target_user: str = "systemuser", target_team: str = "team") -> tuple[Column, ...]:
    """Who owns a row, and what follows from it."""
    return (
        Column(
            name="ownerid",
            kind=Kind.OWNER,
            label="Owner",
            targets=(target_user, target_team),
            navigation={target_user: "ownerid", target_team: "ownerid"},
        ),
        *derived(
            lookup("owninguser", "Owning User", "systemuser"),
            lookup("owningteam", "Owning Team", "team"),
            lookup("owningbusinessunit", "Owning Business Unit", "businessunit"),
        ),
    )


def _tracking() -> tuple[Column, ...]:
    return derived(
        moment("createdon", "Created On"),
        moment("modifiedon", "Modified On"),
        lookup("createdby", "Created By", "systemuser"),
        lookup("modifiedby", "Modified By", "systemuser"),
        lookup("modifiedonbehalfby", "Modified By (Delegate)", "systemuser"),
        Column(name="versionnumber", kind=Kind.BIGINT, label="Version Number"),
    )


def table(
    name: str,
    set_name: str,
    label: str,
    type_code: int,
    *columns: Column | tuple[Column, ...],
    primary_name: str = "name",
    schema_name: str = "",
    tracked: bool = True,
    **more: Any,
) -> Table:
    """A table with its key and, unless it is not tracked, the columns that the platform keeps on every row."""
    flat: list[Column] = [Column(name=f"{name}id", kind=Kind.ID, label=label, update=False)]
    for entry in columns:
        flat.extend((entry,) if isinstance(entry, Column) else entry)
    flat.extend(_tracking() if tracked else derived(Column(name="versionnumber", kind=Kind.BIGINT, label="Version")))
    return Table(
        name=name,
        set_name=set_name,
        label=label,
        schema_name=schema_name or name.capitalize(),
        type_code=type_code,
        primary_name=primary_name,
        columns={column.name: column for column in flat},
        **more,
    )
