"""The `$filter` language: parsed once per query into one test per row.

Dataverse: strings compare without regard to case; `ne` also finds rows without a value.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from emulators.dataverse import errors
from emulators.dataverse.columns import CHOICES, LOOKUPS, NUMBERS, TEXTS, Kind

Getter = Callable[[dict[str, Any]], Any]
Test = Callable[[dict[str, Any]], bool]
# Finds the property that a query names. Raises ApiError when there is none.
Resolver = Callable[[str], "Property"]


@dataclass(frozen=True, slots=True)
class Property:
    """Something a filter can compare: its kind and how to read it from a row."""

    name: str
    kind: Kind
    get: Getter
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A test, and the only ids that can pass it where the filter names ids."""

    test: Test
    ids: frozenset[str] | None = None


_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*')
    | (?P<guid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})
    | (?P<moment>\d{4}-\d{2}-\d{2}(?:T[0-9:.]+(?:Z|[+-]\d{2}:\d{2}))?)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<list>\[[^\]]*\])
    | (?P<alias>@\w+)
    | (?P<name>[A-Za-z_$][\w./]*)
    | (?P<mark>[(),=])
    )""",
    re.VERBOSE,
)
_COMPARISONS: Final = ("eq", "ne", "gt", "ge", "lt", "le")
_TEXT_FUNCTIONS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "contains": lambda text, part: part in text,
    "startswith": lambda text, part: text.startswith(part),
    "endswith": lambda text, part: text.endswith(part),
}
_IN: Final = "Microsoft.Dynamics.CRM.In"
_NOT_IN: Final = "Microsoft.Dynamics.CRM.NotIn"
_CONTAIN: Final = "Microsoft.Dynamics.CRM.ContainValues"
_LITERALS: Final = {"string", "guid", "moment", "number"}
Token = tuple[str, str]


def parse_filter(text: str, resolve: Resolver, aliases: Mapping[str, str]) -> Condition:
    """Compile a `$filter`; `aliases` are the query's `@name` parameters. Raises ApiError on a mistake in it."""
    return _Parser(text, resolve, aliases).parse()


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise errors.bad_query(f"Syntax error at position {position} in '{text[:200]}'.")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


class _Parser:
    def __init__(self, text: str, resolve: Resolver, aliases: Mapping[str, str]) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._position = 0
        self._resolve = resolve
        self._aliases = aliases

    def parse(self) -> Condition:
        condition = self._any()
        if self._position < len(self._tokens):
            raise self._error()
        return condition

    def _error(self) -> errors.ApiError:
        return errors.bad_query(f"Syntax error at position {self._position} in '{self._text[:200]}'.")

    def _peek(self) -> Token:
        return self._tokens[self._position] if self._position < len(self._tokens) else ("end", "")

    def _next(self) -> Token:
        token = self._peek()
        self._position += 1
        return token

    def _accept(self, value: str) -> bool:
        if self._peek()[1] == value and self._peek()[0] in {"name", "mark"}:
            self._position += 1
            return True
        return False

    def _expect(self, value: str) -> None:
        if not self._accept(value):
            raise self._error()

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._accept("or"):
            parts.append(self._all())
        if len(parts) == 1:
            return parts[0]
        tests = [part.test for part in parts]
        ids: frozenset[str] | None = frozenset()
        for part in parts:
            ids = None if ids is None or part.ids is None else ids | part.ids
        return Condition(lambda row: any(test(row) for test in tests), ids)

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._accept("and"):
            parts.append(self._one())
        if len(parts) == 1:
            return parts[0]
        tests = [part.test for part in parts]
        named = [part.ids for part in parts if part.ids is not None]
        ids = frozenset.intersection(*named) if named else None
        return Condition(lambda row: all(test(row) for test in tests), ids)

    def _one(self) -> Condition:
        if self._accept("not"):
            test = self._one().test
            return Condition(lambda row: not test(row))
        if self._accept("("):
            condition = self._any()
            self._expect(")")
            return condition
        kind, value = self._next()
        if kind != "name":
            raise self._error()
        if self._accept("("):
            return self._call(value)
        return self._comparison(self._resolve(value))

    def _comparison(self, field: Property) -> Condition:
        operator = self._next()[1]
        if operator not in _COMPARISONS:
            raise self._error()
        value = literal(field, self._literal())
        get = field.get
        if operator == "eq":
            ids = frozenset({value}) if field.is_key and value is not None else None
            return Condition(lambda row: folded(get(row)) == value, ids)
        if operator == "ne":
            return Condition(lambda row: folded(get(row)) != value)
        if value is None:
            return Condition(lambda _row: False)
        return Condition(_ordering(operator, get, value))

    def _literal(self) -> Token:
        kind, value = self._next()
        if kind == "alias":
            inner = _tokens(self._aliases.get(value, ""))
            if len(inner) != 1:
                raise errors.bad_query(f"The parameter alias '{value}' has no single value.")
            kind, value = inner[0]
        if kind == "name" and value.endswith("AttributeTypeCode") and self._peek()[0] == "string":
            kind, value = self._next()
        if kind not in _LITERALS and value not in {"null", "true", "false"}:
            raise self._error()
        return kind, value

    def _call(self, name: str) -> Condition:
        if name in {_IN, _NOT_IN}:
            return self._membership(wanted=name == _IN)
        if name == _CONTAIN:
            return self._containing()
        if name not in _TEXT_FUNCTIONS:
            raise errors.bad_query(f"An unknown function with name '{name}' was found.")
        field = self._resolve(self._next()[1])
        self._expect(",")
        part = literal(field, self._literal())
        self._expect(")")
        if not isinstance(part, str):
            raise self._error()
        matches, get = _TEXT_FUNCTIONS[name], field.get
        return Condition(lambda row: (value := get(row)) is not None and matches(str(value).casefold(), part))

    def _containing(self) -> Condition:
        """Dataverse: ContainValues is for multi-select choices, which hold "1,3"."""
        arguments = self._arguments()
        field = self._resolve(arguments["PropertyName"].strip("'"))
        if field.kind != Kind.CHOICES:
            raise errors.bad_query(f"ContainValues does not fit '{field.name}' ({field.kind}).")
        values, get = {str(item) for item in _list(arguments["PropertyValues"])}, field.get
        return Condition(lambda row: not values.isdisjoint(str(get(row) or "").split(",")))

    def _arguments(self) -> dict[str, str]:
        arguments: dict[str, str] = {}
        while not self._accept(")"):
            name = self._next()[1]
            self._expect("=")
            kind, value = self._next()
            arguments[name] = self._aliases.get(value, "") if kind == "alias" else value
            self._accept(",")
        if arguments.keys() != {"PropertyName", "PropertyValues"}:
            raise errors.bad_query("The function needs PropertyName and PropertyValues.")
        return arguments

    def _membership(self, *, wanted: bool) -> Condition:
        arguments = self._arguments()
        field = self._resolve(arguments["PropertyName"].strip("'"))
        values = frozenset(member(field, item) for item in _list(arguments["PropertyValues"]))
        get = field.get
        if wanted:
            return Condition(lambda row: folded(get(row)) in values, values if field.is_key else None)
        return Condition(lambda row: folded(get(row)) not in values)


def _list(text: str) -> list[Any]:
    try:
        found = json.loads(text if "'" not in text or '"' in text else text.replace("'", '"'))
    except ValueError:
        found = None
    if not isinstance(found, list) or not found:
        raise errors.bad_query("Invalid JSON. A list of values was expected for PropertyValues.")
    return found


def _ordering(operator: str, get: Getter, limit: Any) -> Test:
    def test(row: dict[str, Any]) -> bool:
        value = folded(get(row))
        if value is None:
            return False
        if operator == "gt":
            return bool(value > limit)
        if operator == "ge":
            return bool(value >= limit)
        return bool(value < limit) if operator == "lt" else bool(value <= limit)

    return test


def folded(value: Any) -> Any:
    """A value as comparisons see it."""
    return value.casefold() if isinstance(value, str) else value


def literal(field: Property, token: Token) -> Any:
    """The comparable value of a literal. Raises ApiError when its type does not fit the property."""
    kind, text = token
    if text == "null" and kind == "name":
        return None
    if kind == "name" and field.kind == Kind.BOOLEAN:
        return text == "true"
    if kind == "string" and field.kind in {*TEXTS, Kind.CHOICES}:
        return text[1:-1].replace("''", "'").casefold()
    if kind == "number" and field.kind in {*NUMBERS, *CHOICES}:
        return float(text) if "." in text else int(text)
    if kind == "guid" and field.kind in {*LOOKUPS, Kind.ID}:
        return text.lower()
    if kind == "moment" and field.kind in {Kind.DATETIME, Kind.DATE}:
        return _moment(field, text)
    raise errors.bad_query(
        f"A binary operator with incompatible types was detected for '{field.name}' ({field.kind}) and '{text[:80]}'."
    )


def _moment(field: Property, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise errors.bad_query(f"'{text}' is not a date.") from None
    if field.kind == Kind.DATE:
        return moment.date().isoformat()
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").casefold()


def member(field: Property, item: Any) -> Any:
    """One value of an In list; Dataverse takes numbers as text there."""
    if field.kind in {*NUMBERS, *CHOICES}:
        try:
            return int(item)
        except (TypeError, ValueError):
            raise errors.bad_query(f"'{item}' is not a value of '{field.name}'.") from None
    if not isinstance(item, str):
        raise errors.bad_query(f"'{item}' is not a value of '{field.name}'.")
    return item.strip("{}").lower() if field.kind in {*LOOKUPS, Kind.ID} else item.casefold()
