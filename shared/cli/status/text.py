"""What `msisync status` prints for people: the verdict, one table of 80 columns, then what is in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ...config.settings import MarketoSettings
from ...sync.heartbeat import TIMER
from ..finding import age
from ..output import Indented, section
from ..runs import group_of, rows_read, title
from .facts import LONG, MAX_LETTERS, MAX_PARKED, PARKED, STATE, Entity, Queue, Status
from .verdict import judge

#: Runs of the write-back that are listed.
RUNS = 3
#: Fields that differ that are listed.
FIELDS = 5
#: Longest text of an error in the list.
_ERROR_LENGTH = 120
#: From so many changes in an hour that came a moment after the last one, a row is listed.
HOT = 20
#: A terminal's columns, and those between two columns of a table. Numbers that are rounded where they would not fit.
_WIDTH, _BETWEEN = 80, 2
_LARGE = re.compile(r"\d{1,3}(?:,\d{3}){2,}|\d{2,3},\d{3}")
_UNKNOWN = "?"
_NONE = "-"


def details(status: Status) -> Iterator[tuple[str, Iterator[str]]]:
    """What the numbers do not say, as lines under titles; some may have none."""
    yield "Parked", _parked(status)
    yield "Dead letters", _letters(status)
    yield "Fields left out", _left_out(status)
    yield "Missed changes", _missed(status)
    yield "Drift", _drift(status)
    yield "Last errors", _errors(status)
    yield "Hot rows", _hot(status)


def frame(status: Status, marketo: MarketoSettings) -> RenderableType:
    """Everything, for a console of any width."""
    *of_records, missed, drift, errors, hot = details(status)
    own = ("Marketo's day", _budget(status, marketo)), ("Write-back", _write_back(status)), ("Runs", _runs(status))
    sections = [("App", _app(status)), *of_records, *own, missed, drift, errors, hot]
    lines = [line for title, texts in sections for line in section(title, texts)]
    return Group(*_verdict(status), _table(status), *lines)


def _verdict(status: Status) -> Iterator[RenderableType]:
    """The verdict, what helps, and everything else that needs attention: above what may not fit into the window."""
    found = judge(status)
    yield Text(found.text, f"bold {found.severity.colour}")
    if found.remedy:
        yield Indented(Text.assemble(("next:", "bold"), f" {found.remedy}"), hanging=2)
    others = status.attentions if status.unseen else status.attentions[1:]
    yield from section("Needs attention", (f"{each.text}: {each.remedy}" for each in others), colour="yellow")
    yield from section("Not looked at", (f"{what}: {why}" for what, why in status.unseen.items()), colour="red")
    yield ""


def _table(status: Status) -> Table:
    table = Table(
        title=f"{status.at:%Y-%m-%d %H:%M:%S} UTC", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    names = ["", "waiting", "later", "oldest", "1 h", "24 h", "parked", "again", "dead"]
    for name in names:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in fitting([names, *_rows(status)])[1:]:
        table.add_row(*row)
    return table


def _rows(status: Status) -> Iterator[list[str]]:
    yield [*_queue_cells(status, status.changes), "", "", "", "", _number(status.changes.dead, "red")]
    for entity in status.entities.values():
        yield [*_queue_cells(status, entity.queue), *_entity_cells(status, entity)]


def fitting(rows: list[list[str]]) -> list[list[str]]:
    """The rows of a table as they fit into 80 columns: rather a rounded number than one that is cut at its end."""
    widths = [max(Text.from_markup(cell).cell_len for cell in column) for column in zip(*rows, strict=True)]
    if sum(widths) + _BETWEEN * (len(widths) - 1) <= _WIDTH:
        return rows
    return [[_LARGE.sub(lambda found: _rounded(int(found[0].replace(",", ""))), cell) for cell in row] for row in rows]


def _rounded(value: int) -> str:
    """Rounded down: 12k, 345k, 1.3M."""
    return f"{value // 1000}k" if value < 1_000_000 else f"{value // 100_000 / 10:,}M"


def _queue_cells(status: Status, queue: Queue) -> list[str]:
    name = f"[yellow]{escape(queue.name)} ‖[/]" if queue.is_paused else escape(queue.name)
    oldest = _UNKNOWN if queue.why or queue.name in status.unseen else _NONE
    if queue.oldest:
        waits = status.at - queue.oldest
        oldest = f"[yellow]{age(waits)}[/]" if waits > LONG else age(waits)
    return [name, _number(queue.waiting), _number(queue.scheduled), oldest]


def _entity_cells(status: Status, entity: Entity) -> list[str]:
    known = STATE not in status.unseen
    hour, day = entity.last_hour, entity.last_day
    return [
        _number(hour.get("synced", 0) if known else None),
        _number(day.get("synced", 0) if known else None),
        _number(None if PARKED in status.unseen else entity.parked.count),
        _number(hour.get("retried", 0) if known else None),
        _number(entity.dead if entity.queue.dead is not None else None, "red"),
    ]


def _number(value: int | None, colour: str = "") -> str:
    """A count; `colour` is for one that should be zero."""
    if value is None:
        return f"[red]{_UNKNOWN}[/]"
    if not value:
        return f"[dim]{_NONE}[/]"
    return f"[{colour}]{value:,}[/]" if colour else f"{value:,}"


def _app(status: Status) -> Iterator[str]:
    beat = (status.beats or {}).get(TIMER)
    if beat:
        yield f"{TIMER} ran {age(status.at - beat.at)} ago, version {beat.version or _UNKNOWN}, on {beat.instance}"


def _parked(status: Status) -> Iterator[str]:
    for name, entity in status.entities.items():
        for parent, number in entity.parked.by_parent.items():
            yield f"{number:,} of {name} wait for {parent}"
    for name, entity in status.entities.items():
        for parent, number in entity.parked.linked_later.items():
            yield f"{number:,} of {name} are in Marketo without a link to their {parent}, until it comes"
    oldest = min((e.parked.oldest for e in status.entities.values() if e.parked.oldest), default=None)
    if oldest:
        yield f"the oldest waits for {age(status.at - oldest)}"
    if status.parked_more:
        yield f"more than {MAX_PARKED:,} in all; the others were not counted"


def _letters(status: Status) -> Iterator[str]:
    if status.letters_elsewhere:
        yield f"{status.letters_elsewhere:,} of no entity, such as refused notifications"
    if status.letters_more:
        yield f"{status.dead:,} in all; of dead-letters, only the first {MAX_LETTERS:,} were told apart by entity"


def _left_out(status: Status) -> Iterator[str]:
    for name, entity in status.entities.items():
        number = entity.last_day.get("left_out", 0)
        if number:
            yield f"{number:,} of {name} synced within 24 h without a field that they have a value for"


def _budget(status: Status, marketo: MarketoSettings) -> Iterator[str]:
    budget = status.budget
    if budget is None:
        return
    yield f"{budget.used_today:,} of this app's {budget.allowed_today:,} calls are used"
    if budget.everybody is not None and budget.measured_at:
        ago = age(status.at - budget.measured_at)
        yield f"{budget.everybody:,} of {marketo.daily_calls:,} by everybody, as Marketo said {ago} ago"


def _write_back(status: Status) -> Iterator[str]:
    for run in status.write_back.runs[:RUNS]:
        ago = age(status.at - datetime.fromisoformat(str(run["finished"])))
        numbers = ", ".join(f"{run[name]:,} {name}" for name in ("read", "differing", "written", "failed", "gone"))
        left = "" if run["complete"] else "; goes on"
        yield f"{run['kind']}, {ago} ago: {numbers}; {run['marketo_calls']:,} Marketo calls{left}"


def _runs(status: Status) -> Iterator[str]:
    for run in status.runs:
        read, expected = rows_read(run)
        of = "" if expected is None else f" of {expected:,}"
        yield f"{title(run, status.at)}; {read:,}{of} rows read; msisync {group_of(run)} status"


def _missed(status: Status) -> Iterator[str]:
    done = {table: place for table, place in status.missed_changes.items() if place.at and not place.began}
    if done:
        oldest = min(place.at for place in done.values() if place.at)
        found = {table: place.changed + place.deleted for table, place in done.items()}
        each = ", ".join(f"{table} {number:,}" for table, number in found.items() if number)
        own = sum(place.own for place in done.values())
        last = f", {own:,} of them written back by the app" if own else ""
        total = sum(found.values())
        missed = f"{total:,} rows that the sync had not read ({each}{last})" if total else "nothing was missing"
        yield f"{len(done)} tables, {age(status.at - oldest)} ago: {missed}"
    for table, place in status.missed_changes.items():
        if place.began:
            yield f"{table} is being read, {place.read:,} rows so far, since {age(status.at - place.began)}"


def _drift(status: Status) -> Iterator[str]:
    found = status.write_back.drift
    if not found:
        return
    ago = age(status.at - datetime.fromisoformat(found.at))
    yield (
        f"{found.compared:,} leads and contacts compared with Marketo, {ago} ago: {found.differing:,} differ, "
        f"{found.missing:,} missing there"
    )
    most = sorted(found.fields.items(), key=lambda each: -each[1])[:FIELDS]
    if most:
        yield "most often " + ", ".join(f"{name} {number:,}" for name, number in most)


def _errors(status: Status) -> Iterator[str]:
    for name, entity in status.entities.items():
        error = entity.last_error
        if error:
            ago = age(status.at - datetime.fromisoformat(str(error["at"])))
            text = str(error["message"])
            text = text if len(text) <= _ERROR_LENGTH else text[: _ERROR_LENGTH - 1] + "…"
            what = "dead letter" if error["final"] else "tried again"
            yield f"{name}, {ago} ago, {what}: {error['code']} {text} ({error['table']} {error['id']})"


def _hot(status: Status) -> Iterator[str]:
    for entity in status.entities.values():
        for (table, id_), number in entity.hottest.items():
            if number >= HOT:
                yield f"{table} {id_}: changed again at once some {number:,} times within the hour; find what edits it"
