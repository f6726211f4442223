"""What Marketo's describe says of a field."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MarketoField:
    """A field of an object: its data type, and its length in characters where it has one."""

    data_type: str
    length: int | None = None
    label: str = ""
    writable: bool = True
    searchable: bool = False
