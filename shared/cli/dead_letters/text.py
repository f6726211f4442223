"""Dead letters as JSON types, and as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from ..finding import counted
from ..output import Indented, json_types, say
from .letter import DeadLetter
from .selection import Group

_SHOWN_IDS = 20


def brief(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter without its body."""
    table, id_ = letter.ids[0] if letter.ids else ("", "")
    return {
        "address": letter.address,
        "since": json_types(letter.message.enqueued),
        "entity": letter.entity,
        "table": table,
        "id": id_,
        "rows": len(letter.ids),
        "code": letter.code,
        "reason": letter.reason,
        "system": letter.system,
        "source_queue": letter.source_queue,
        "first_seen": json_types(letter.first_seen),
        "attempts": letter.attempts,
        "replays": letter.replays,
    }


def full(letter: DeadLetter) -> dict[str, Any]:
    """Everything of a dead letter, and what to do next."""
    message = letter.message
    return {
        **brief(letter),
        "ids": [{"table": table, "id": id_} for table, id_ in letter.ids],
        "delivery_count": message.delivery_count,
        "correlation_id": message.correlation_id,
        "content_type": message.content_type,
        "properties": {name: _plain(value) for name, value in message.properties.items()},
        "body": message.body.decode(errors="backslashreplace"),
        "next": letter.remedy,
    }


def group_json(group: Group) -> dict[str, Any]:
    """A group of a summary."""
    return {**json_types(group), "next": group.remedy}


def show_groups(console: Console, groups: Iterable[Mapping[str, Any]], *, remedies: bool) -> None:
    """Groups, a few lines each."""
    for group in groups:
        what = group["entity"] or "notifications"
        say(console, f"{group['count']:>7}  {what} from {group['source_queue']}: {group['code']}", "bold")
        if group["reason"]:
            say(console, f"         {cut(group['reason'])}")
        again = f", {group['replayed_before']} of them replayed before" if group["replayed_before"] else ""
        say(console, f"         since {group['oldest']}, the newest {group['newest']}{again}")
        if remedies:
            say(console, f"         next: {group['next']}")


def show_brief(console: Console, letter: Mapping[str, Any]) -> None:
    """A dead letter: on a terminal why it is there, and below it which row; in a pipe one line, for grep."""
    rows = f" and {letter['rows'] - 1} more" if letter["rows"] > 1 else ""
    what = f"{letter['table']} {letter['id']}{rows}" if letter["id"] else "no row named"
    again = f" replayed {counted(letter['replays'], 'time')}" if letter["replays"] else ""
    address, code, reason, since = (str(letter[name]) for name in ("address", "code", "reason", "since"))
    if not console.is_terminal:
        say(console, f"{address}  {since}  {code}  {what}{again}  {cut(reason)}")
        return
    console.print(Indented(Text.assemble((address, "bold"), "  ", (code, "red"), f"  {cut(reason)}"), 0, hanging=4))
    console.print(Indented(Text(f"{since[:16].replace('T', ' ')}  {what}{again}", "dim"), 4, hanging=4))


def show_full(console: Console, letter: Mapping[str, Any]) -> None:
    """Everything of a dead letter."""
    say(console, f"{letter['code']} ({letter['system']}): {letter['reason']}", "bold red")
    say(console, f"  next: {letter['next']}")
    for row in letter["ids"][:_SHOWN_IDS]:
        say(console, f"  {row['table']} {row['id']}")
    if len(letter["ids"]) > _SHOWN_IDS:
        say(console, f"  and {len(letter['ids']) - _SHOWN_IDS} more rows")
    say(console, f"  entity {letter['entity'] or 'unknown'}, from {letter['source_queue']}")
    say(console, f"  first seen {letter['first_seen']}, a dead letter since {letter['since']}")
    say(console, f"  tries {letter['attempts']}, replays {letter['replays']}, deliveries {letter['delivery_count']}")
    say(console, "Application properties", "bold")
    for name, value in letter["properties"].items():
        say(console, f"  {name}: {value}")
    say(console, "Body", "bold")
    say(console, letter["body"])


def show_count(console: Console, count: int, unseen: Mapping[str, str], more: str = "") -> None:
    """How many there are, and what could not be read."""
    found = counted(count, "dead letter")
    say(console, f"{found}{more}" if count else "No dead letters.", "bold" if count else "green")
    show_unseen(console, unseen)


def show_unseen(console: Console, unseen: Mapping[str, str]) -> None:
    """What could not be read."""
    for place, why in unseen.items():
        say(console, f"! not looked at: {place}: {why}", "yellow")


def cut(text: str, length: int = 200) -> str:
    """A text on one line, its beginning."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value if isinstance(value, int | float | str) or value is None else str(value)
