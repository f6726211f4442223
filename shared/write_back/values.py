"""A Marketo value as a column holds it, and whether that is what the column has. Pure.

Forms: dataverse.md 4.2 (dates, choices), marketo.md 5.3. Dataverse gives values back in forms of its own: text without
blanks at its end, numbers rounded to the column's precision, moments without fractions. What differs in form only is
not written again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from ..model.ids_and_times import moment

#: Kinds of a target beside Dataverse's AttributeTypes: a day, as a date and as a moment.
DATE, DAY, MOMENT, CHOICE, YES_NO = "Date", "Day", "DateTime", "Picklist", "Boolean"
_WHOLE = frozenset({"Integer", "BigInt"})
_FRACTION = frozenset({"Decimal", "Double", "Money"})
#: Digits after the point that are compared at least; a column may have more.
_DIGITS = 2
#: XML has no place for these, and Dataverse refuses a row with one.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A column and the Marketo field that it takes. `length`: of text; `choices`: of a choice, by label in casefold."""

    field: str
    column: str
    kind: str
    length: int | None = None
    choices: dict[str, int] = dataclasses.field(default_factory=dict)


def column_value(given: Any, target: Target) -> Any:
    """What to write for a Marketo value; None clears. Raises ValueError for what the column cannot hold."""
    if given is None or given == "":
        return None
    convert: Callable[[Any, Target], Any] = _CONVERTERS.get(target.kind, _text)
    return convert(given, target)


def differs(wanted: Any, present: Any, target: Target) -> bool:
    """Whether the column has another value than the one that `column_value` gave."""
    if wanted is None or present is None or present == "":
        return (wanted is None) != (present is None or present == "")
    try:
        same = _SAME.get(target.kind)
        return not same(wanted, present) if same else _bare(wanted) != _bare(present)
    except ValueError:  # not the form that such a column has: whatever it is, it is not the same
        return True


def differences(
    targets: Sequence[Target], person: Mapping[str, Any], row: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The columns of a row that are to have another value, and those that cannot hold the person's."""
    different: dict[str, Any] = {}
    unfit: list[str] = []
    for target in targets:
        if target.field not in person:  # it was not asked for, so nothing is known of it
            continue
        try:
            value = column_value(person[target.field], target)
        except ValueError as error:
            unfit.append(f"{target.column} ({error})")
            continue
        if differs(value, row.get(target.column), target):
            different[target.column] = value
    return different, unfit


def _number(given: Any) -> Decimal:
    try:
        number = Decimal(str(int(given) if isinstance(given, bool) else given).strip())
    except InvalidOperation:
        raise ValueError("no number") from None
    if not number.is_finite():
        raise ValueError("no number")
    return number


def _same_fraction(wanted: Any, present: Any) -> bool:
    """To the digits that the column has kept."""
    kept = _number(present)
    exponent = kept.normalize().as_tuple().exponent
    digits = max(_DIGITS, -exponent if isinstance(exponent, int) else 0)
    return abs(_number(wanted) - kept) <= Decimal(1).scaleb(-digits) / 2


def _date(given: Any, target: Target) -> str:
    found = _moment(given)
    if target.kind == DATE:
        return found.date().isoformat()
    if target.kind == DAY:
        return f"{found.date().isoformat()}T00:00:00Z"
    return found.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _moment(given: Any) -> datetime:
    """In UTC. Raises ValueError. Marketo writes zones as Z, +0000 or -06:00, and days without any."""
    found = moment(given.strip()) if isinstance(given, str) else None
    if found is None:
        raise ValueError("no date")
    return found


def _choice(given: Any, target: Target) -> int:
    """By label, for labels may be numbers; else by value."""
    text = str(given).strip()
    found = target.choices.get(text.casefold())
    if found is not None:
        return found
    number = _number(given)
    if number != number.to_integral_value() or (target.choices and int(number) not in target.choices.values()):
        raise ValueError("not one of the choices")
    return int(number)


def _yes_no(given: Any, _: Target) -> bool:
    text = str(given).strip().casefold()
    if text not in ("true", "false", "1", "0"):
        raise ValueError("neither yes nor no")
    return text in ("true", "1")


def _text(given: Any, target: Target) -> str | None:
    """Cut to the column's length, which counts UTF-16's units: an emoji is two, and is not cut in the middle."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    text = _CONTROL.sub("", str(given)).rstrip()
    if target.length is not None:
        text = text.encode("utf-16-le")[: 2 * target.length].decode("utf-16-le", "ignore").rstrip()
    return text or None


def _bare(text: object) -> str:
    return str(text).replace("\r\n", "\n").replace("\r", "\n").rstrip()


_CONVERTERS: dict[str, Callable[[Any, Target], Any]] = {
    **dict.fromkeys(_WHOLE, lambda given, _: int(_number(given).to_integral_value(ROUND_HALF_UP))),
    **dict.fromkeys(_FRACTION, lambda given, _: float(_number(given))),
    **dict.fromkeys((DATE, DAY, MOMENT), _date),
    CHOICE: _choice,
    YES_NO: _yes_no,
}
_SAME: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys((*_WHOLE, CHOICE, YES_NO), lambda wanted, present: _number(wanted) == _number(present)),
    **dict.fromkeys(_FRACTION, _same_fraction),
    # Such a column holds a midnight, but whose is not known.
    DAY: lambda wanted, present: abs(_moment(wanted) - _moment(present)) < timedelta(days=1),
    MOMENT: lambda wanted, present: abs(_moment(wanted) - _moment(present)) < timedelta(seconds=1),
}
