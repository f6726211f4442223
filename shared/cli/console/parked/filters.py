"""Which parents an address means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ....azure.parked_rows import NoteState
from ....model.entities import ENTITIES
from ....model.ids_and_times import as_guid
from ..listing import address
from ..security import Form
from .census import Waits

PATH = "/parked"
#: The fields, in the order in which they stand in an address.
FIELDS = ("of", "why", "code", "parent")
#: Why a parent is not there.
NEVER, EXPECTED = "never", "expected"
WHYS = {NEVER: "it will not come without a repair", EXPECTED: "it is expected"}


@dataclass(frozen=True, slots=True)
class Filter:
    """`words`: the fields that are not empty, as they were given. `wrong`: what cannot be understood; nothing fits."""

    words: Mapping[str, str] = field(default_factory=dict)
    wrong: str = ""

    def of(self, parents: Iterable[Waits]) -> list[Waits]:
        """Those of these parents that fit."""
        return [] if self.wrong else [waits for waits in parents if self._fits(waits)]

    def _fits(self, waits: Waits) -> bool:
        words = self.words
        never = waits.state is NoteState.WILL_NOT_COME
        return (
            words.get("of", waits.entity) == waits.entity
            and words.get("why") in (None, NEVER if never else EXPECTED)
            and ("code" not in words or (waits.cause is not None and waits.cause.code == words["code"]))
            and ("parent" not in words or as_guid(words["parent"]) == waits.id)
        )

    def address(self, path: str = PATH, **more: str) -> str:
        """The address of a page with this filter; `more` fields replace its own, empty ones take them away."""
        return address(path, self.words, **more)


def filter_of(asked: Form) -> Filter:
    """The filter that an address or a form has."""
    words = {name: word for name in FIELDS if (word := str(asked.get(name, "")).strip())}
    wrong = ""
    if words.get("of", next(iter(ENTITIES))) not in ENTITIES:
        wrong = f"{words['of']!r} is no entity"
    elif words.get("why", NEVER) not in WHYS:
        wrong = f"{words['why']!r} is no reason"
    elif "parent" in words and not as_guid(words["parent"]):
        wrong = f"{words['parent']!r} is no id"
    return Filter(words, f"{wrong}; so nothing is shown" if wrong else "")
