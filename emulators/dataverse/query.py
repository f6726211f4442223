"""Reading rows: `$select`, `$filter`, `$orderby`, `$top`, `$expand`, paging, and how a row is written out."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote_plus

from emulators.dataverse import errors
from emulators.dataverse.annotations import Annotate, Wanted, annotator
from emulators.dataverse.columns import LOOKUP_TABLE, Column, Kind, Table
from emulators.dataverse.filters import Condition, Property, folded, parse_filter
from emulators.dataverse.store import Row, Store

PAGE_LIMIT: Final = 5000
_OPTIONS: Final = {"$select", "$filter", "$orderby", "$top", "$expand", "$count", "$skiptoken", "$deltatoken"}
_EXPAND: Final = re.compile(r"\s*(?P<name>\w+)\s*(?:\((?P<options>[^()]*)\))?\s*(?:,|$)")
_CURRENCY: Final = "_transactioncurrencyid_value"

Project = Callable[[Row], Row]


@dataclass(kw_only=True)
class Options:
    """The query options and preferences of a request."""

    options: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=Wanted)
    page_size: int | None = None
    language: int = 1033

    @classmethod
    def parse(cls, query: str, prefer: Mapping[str, str], language: int) -> "Options":
        """Read a raw query string and the Prefer header's entries. Raises ApiError for unknown `$` options."""
        options: dict[str, str] = {}
        aliases: dict[str, str] = {}
        for part in filter(None, query.split("&")):
            name, _, value = part.partition("=")
            name, value = unquote_plus(name), unquote_plus(value)
            if name.startswith("@"):
                aliases[name] = value
            elif name in _OPTIONS:
                options[name] = value
            elif name.startswith("$"):
                raise errors.bad_query(f"The query parameter '{name}' is not supported.")
        size = prefer.get("odata.maxpagesize", "")
        return cls(
            options=options,
            aliases=aliases,
            wanted=Wanted.from_prefer(prefer.get("odata.include-annotations", "")),
            page_size=int(size) if size.isdecimal() and int(size) > 0 else None,
            language=language,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a query over a table."""

    rows: list[Row]
    next_token: str | None
    total: int


def selected_columns(table: Table, select: str | None) -> list[Column]:
    """The columns that `$select` names, always with the key. Raises ApiError for a name that does not exist."""
    if not select:
        return list(table.by_key.values())
    found: dict[str, Column] = {}
    for raw in select.split(","):
        name = raw.strip()
        column = table.by_key.get(name)
        if column is None:
            raise errors.unknown_property(name, table.name)
        found[name] = column
    if _CURRENCY in table.by_key and any(column.kind == Kind.MONEY for column in found.values()):
        found.setdefault(_CURRENCY, table.by_key[_CURRENCY])
    found.setdefault(table.primary_id, table.columns[table.primary_id])
    return list(found.values())


def projector(store: Store, table: Table, options: Options) -> Project:
    """How a stored row becomes a row of the answer."""
    columns = selected_columns(table, options.options.get("$select"))
    plan: list[tuple[str, Annotate | None]] = [
        (column.key, annotator(column, options.wanted, store, options.language)) for column in columns
    ]
    hidden = frozenset(column.key for column in columns if column.hidden)
    expansions = _expansions(store, table, options)

    def project(row: Row) -> Row:
        out: Row = {"@odata.etag": f'W/"{row["versionnumber"]}"'}
        for key, annotate in plan:
            # Dataverse: who may not read a secured column gets null, as if it were empty.
            value = None if key in hidden else row.get(key)
            if annotate is not None and value is not None:
                annotate(row, value, out)
            out[key] = value
        for name, expand in expansions:
            out[name] = expand(row)
        return out

    return project


def _expansions(store: Store, table: Table, options: Options) -> list[tuple[str, Callable[[Row], Row | None]]]:
    text = options.options.get("$expand")
    if not text:
        return []
    found = []
    position = 0
    while position < len(text):
        match = _EXPAND.match(text, position)
        if match is None:
            raise errors.bad_query(f"The $expand '{text}' cannot be read.")
        position = match.end()
        found.append((match["name"], _expansion(store, table, match["name"], match["options"] or "", options)))
    return found


def _expansion(store: Store, table: Table, name: str, inner: str, options: Options) -> Callable[[Row], Row | None]:
    if name not in table.navigations or table.navigations[name][1] is None:
        raise errors.unknown_property(name, table.name)
    column, target = table.navigations[name]
    target_table = store.tables[str(target)]
    select = dict(part.strip().partition("=")[::2] for part in filter(None, inner.split(";")))
    if select.keys() - {"$select"}:
        raise errors.bad_query(f"Only $select is supported inside $expand of '{name}'.")
    project = projector(store, target_table, Options(options=select, wanted=options.wanted, language=options.language))

    def expand(row: Row) -> Row | None:
        if row.get(column.key + LOOKUP_TABLE) != target:
            return None
        other = store.get(target_table.name, row[column.key])
        return None if other is None or row[column.key] in store.hidden_rows else project(other)

    return expand


def run_query(store: Store, table: Table, options: Options) -> Page:
    """Find, sort and cut. Dataverse: at most 5000 rows a page; `$top` is not combined with a page size."""
    rows = _matching(store, table, options)
    total = len(rows)
    order = _order(table, options.options.get("$orderby"))
    _sort(rows, table, order)
    top = options.options.get("$top")
    if top is not None:
        if not top.isdecimal():
            raise errors.bad_query(f"Invalid value '{top}' for $top.")
        return Page(rows[: min(int(top), PAGE_LIMIT)], None, total)
    token = options.options.get("$skiptoken")
    if token is not None:
        rows = _after(rows, table, order, token)
    size = min(options.page_size or PAGE_LIMIT, PAGE_LIMIT)
    page = rows[:size]
    return Page(page, _token(page[-1], table, order) if len(rows) > size else None, total)


def _matching(store: Store, table: Table, options: Options) -> list[Row]:
    rows = store.rows[table.name]
    if store.hidden_rows:
        rows = {row_id: row for row_id, row in rows.items() if row_id not in store.hidden_rows}
    text = options.options.get("$filter")
    if not text:
        return list(rows.values())
    condition = table_filter(store, table, text, options.aliases)
    if condition.ids is None:
        return [row for row in rows.values() if condition.test(row)]
    return [rows[row_id] for row_id in condition.ids if row_id in rows and condition.test(rows[row_id])]


def table_filter(store: Store, table: Table, text: str, aliases: Mapping[str, str]) -> Condition:
    """Compile a filter over the columns of a table, and over those of rows that its lookups lead to."""

    def resolve(name: str) -> Property:
        navigation, slash, rest = name.partition("/")
        if slash:
            return _related(store, table, navigation, rest)
        column = table.by_key.get(name)
        if column is None and name in table.columns and table.columns[name].read:
            column = table.columns[name]  # query functions name a lookup by its logical name
        if column is None:
            raise errors.unknown_property(name, table.name)
        key = column.key
        if column.hidden:
            return Property(name, column.kind, lambda _: None)
        return Property(name, column.kind, lambda row: row.get(key), is_key=key == table.primary_id)

    return parse_filter(text, resolve, aliases)


def _related(store: Store, table: Table, navigation: str, name: str) -> Property:
    if navigation not in table.navigations or table.navigations[navigation][1] is None:
        raise errors.unknown_property(navigation, table.name)
    column, target = table.navigations[navigation]
    target_table = store.tables[str(target)]
    related = target_table.by_key.get(name)
    if related is None:
        raise errors.unknown_property(name, target_table.name)

    def get(row: Row) -> Any:
        other = store.get(target_table.name, row.get(column.key) or "")
        return None if other is None or related.hidden else other.get(related.key)

    return Property(name, related.kind, get)


Order = Sequence[tuple[str, bool]]  # column and whether descending


def _order(table: Table, text: str | None) -> Order:
    order = []
    for part in filter(None, (text or "").split(",")):
        name, _, direction = part.strip().partition(" ")
        if name not in table.by_key:
            raise errors.unknown_property(name, table.name)
        if direction.strip() not in {"", "asc", "desc"}:
            raise errors.bad_query(f"Syntax error in $orderby '{text}'.")
        if not table.by_key[name].hidden:
            order.append((name, direction.strip() == "desc"))
    return order


def _sort_key(value: Any) -> tuple[bool, Any]:
    return (value is not None, folded(value) if value is not None else 0)


def _sort(rows: list[Row], table: Table, order: Order) -> None:
    key = table.primary_id
    rows.sort(key=lambda row: row[key])
    for name, descending in reversed(order):
        rows.sort(key=lambda row, name=name: _sort_key(row.get(name)), reverse=descending)  # type: ignore[misc]  # mypy cannot type a lambda's default


def _token(last: Row, table: Table, order: Order) -> str:
    values = {name: last.get(name) for name in (*(name for name, _ in order), table.primary_id)}
    return quote(base64.urlsafe_b64encode(json.dumps(values).encode()).decode())


def _after(rows: list[Row], table: Table, order: Order, token: str) -> list[Row]:
    try:
        last = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise errors.bad_query("The paging cookie is not valid.") from None

    def follows(row: Row) -> bool:
        for name, descending in order:
            here, there = _sort_key(row.get(name)), _sort_key(last.get(name))
            if here != there:
                return (here < there) if descending else (here > there)
        return bool(row[table.primary_id] > last[table.primary_id])

    return [row for row in rows if follows(row)]
