"""A field that was left out of a record on its way to Marketo, and why: never with the value itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One field of one record that was not sent, though the row has something for it.

    `field` is Marketo's name of it. `code` says who left it out: a reason of the mapping, such as "NotBoolean", or
    Marketo's own code, such as "1003". `reason` is a sentence for people. `value_class` is what the value looks like,
    such as "text of 12 characters": the value is never kept, so all of this may be logged, stored and shown.
    """

    field: str
    code: str
    reason: str
    value_class: str = ""
