"""NCRONTAB: the six-field schedules of timer triggers, in UTC."""

from dataclasses import dataclass
from datetime import datetime, timedelta

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Far enough for 29 February on a given weekday (28 years, 40 over a century that is not a leap year).
HORIZON = timedelta(days=366 * 41)


@dataclass(frozen=True)
class Schedule:
    """`{second} {minute} {hour} {day} {month} {day-of-week}`. As in NCrontab, a day must match both of its fields."""

    expression: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, expression: str) -> "Schedule":
        """Read an expression of six fields, or of five (second 0). Raises ValueError that says what is wrong."""
        fields = expression.split()
        if len(fields) == 5:
            fields = ["0", *fields]
        if len(fields) != 6:
            msg = (
                f"'{expression}' is not an NCRONTAB expression of six fields (second minute hour day month day-of-week)"
            )
            raise ValueError(msg)
        second, minute, hour, day, month, weekday = fields
        return cls(
            expression,
            _field(second, 0, 59),
            _field(minute, 0, 59),
            _field(hour, 0, 23),
            _field(day, 1, 31),
            _field(month, 1, 12, MONTHS, base=1),
            _field(weekday, 0, 6, DAYS),
        )

    def next_after(self, moment: datetime) -> datetime:
        """Return the first occurrence after `moment`. Raises ValueError when there never is one (30 February)."""
        at = moment.replace(microsecond=0) + timedelta(seconds=1)
        end = moment + HORIZON
        while at < end:
            if not self._matches_day(at):
                at = at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif at.hour not in self.hours:
                at = at.replace(minute=0, second=0) + timedelta(hours=1)
            elif at.minute not in self.minutes:
                at = at.replace(second=0) + timedelta(minutes=1)
            elif at.second not in self.seconds:
                at += timedelta(seconds=1)
            else:
                return at
        msg = f"'{self.expression}' never comes"
        raise ValueError(msg)

    def _matches_day(self, at: datetime) -> bool:
        weekday = (at.weekday() + 1) % 7
        return at.month in self.months and at.day in self.days and weekday in self.weekdays


def _field(text: str, low: int, high: int, names: tuple[str, ...] = (), base: int = 0) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, last = _span(span, low, high, names, base, open_ended=bool(step))
        every = _number(step, (), 0) if step else 1
        if not (low <= first <= last <= high and every > 0):
            msg = f"'{part}' in a schedule is outside {low}-{high}"
            raise ValueError(msg)
        values.update(range(first, last + 1, every))
    return frozenset(values)


def _span(text: str, low: int, high: int, names: tuple[str, ...], base: int, *, open_ended: bool) -> tuple[int, int]:
    if text == "*":
        return low, high
    first, dash, last = text.partition("-")
    start = _number(first, names, base)
    if dash:
        return start, _number(last, names, base)
    return start, high if open_ended else start


def _number(text: str, names: tuple[str, ...], base: int) -> int:
    if text.lower()[:3] in names:
        return names.index(text.lower()[:3]) + base
    if not text.isdecimal():
        msg = f"'{text}' in a schedule is not a number"
        raise ValueError(msg)
    return int(text)
