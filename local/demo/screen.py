"""What the person at the terminal sees: live progress, and the tables of the proof."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.demo.proof import Proof
from local.demo.script import MALFORMED
from local.demo.watch import Snapshot
from local.world.model import ENTITIES

PLAIN_SECONDS = 3.0
WIDTH = 118
_LABELS = {
    "sales_person": "sales persons",
    "company": "companies",
    "person": "persons",
    "opportunity": "opportunities",
    "opportunity_role": "opportunity roles",
    MALFORMED: "malformed",
}
# The SVG must not fetch fonts from elsewhere.
_SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


@dataclass
class Progress:
    """What is known of the run at one moment."""

    snapshot: Snapshot
    posted: Counter[str]
    to_post: Counter[str]
    expected: Mapping[str, int]
    elapsed: float

    def table(self) -> RenderableType:
        """The progress as a table."""
        table = Table(title="Dynamics → Service Bus → Functions → Marketo", title_style="bold", expand=True)
        table.add_column("entity", no_wrap=True)
        for name in ("posted", "messages queued", "parked", "dead letters", "in Marketo"):
            table.add_column(name, justify="right", ratio=1)
        for entity in ENTITIES:
            stored, expected = self.snapshot.stored.get(entity, 0), self.expected[entity]
            table.add_row(
                _LABELS[entity],
                _of(self.posted[entity], self.to_post[entity]),
                _count(self.snapshot.queued.get(entity, 0)),
                _count(self.snapshot.parked[entity], "yellow"),
                _count(self.snapshot.letters[entity], "red"),
                _of(stored, expected, "green" if stored == expected else ""),
            )
        malformed = _of(self.posted[MALFORMED], self.to_post[MALFORMED])
        table.add_row(_LABELS[MALFORMED], malformed, "", "", _count(self.snapshot.letters[""], "red"), "")
        return Group(table, Text(self._footer(), style="dim"))

    def line(self) -> str:
        """The progress in one line."""
        parts = [
            f"{_LABELS[entity]} {self.snapshot.stored.get(entity, 0)}/{self.expected[entity]}" for entity in ENTITIES
        ]
        parked, letters = self.snapshot.parked.total(), self.snapshot.letters.total()
        return f"{', '.join(parts)}; parked {parked}, dead letters {letters}; {self._footer()}"

    def _footer(self) -> str:
        queued = sum(self.snapshot.queued.values())
        return (
            f"{self.posted.total()}/{self.to_post.total()} notifications posted, {self.snapshot.changes} of them to be "
            f"routed, {queued} messages queued, {self.snapshot.marketo_calls} calls to Marketo, {self.elapsed:.0f} s"
        )


class Screen:
    """A live table on a terminal, else a line every few seconds. `console` gets both."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._printed = -PLAIN_SECONDS

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the progress."""
        self.console.print(text, highlight=False)

    def show(self, progress: Progress, *, last: bool = False) -> None:
        """Show the progress; without a terminal not more often than every few seconds, but the last in any case."""
        if self._live:
            self._live.update(progress.table(), refresh=True)
        elif last or progress.elapsed - self._printed >= PLAIN_SECONDS:
            self._printed = progress.elapsed
            self.console.print(progress.line(), highlight=False, soft_wrap=True)


def proof_tables(proof: Proof, calls: Mapping[str, int]) -> list[RenderableType]:
    """The tables of the proof and of the calls that the run took."""
    records = Table(
        title="Marketo, read back through its REST API: every field and every relation", title_style="bold", expand=True
    )
    records.add_column("entity", no_wrap=True)
    for name in ("expected", "right", "wrong", "missing", "unexpected", "duplicates"):
        records.add_column(name, justify="right", ratio=1)
    for entity, found in proof.report.entities.items():
        faults = (len(found.wrong), len(found.missing), len(found.unexpected), len(found.duplicates))
        right = _of(found.right, found.expected, "green" if found.ok else "red")
        records.add_row(_LABELS[entity], str(found.expected), right, *(_count(fault, "red") for fault in faults))
    absences = Table(title="Why the others are not there", title_style="bold", expand=True)
    for name, ratio in (("reason", 8), ("rows", 2), ("for example", 15), ("kept in", 7)):
        absences.add_column(name, ratio=ratio, justify="right" if name == "rows" else "left")
    for line in proof.absences:
        count = _of(line.found, line.expected, "" if line.found == line.expected else "red")
        absences.add_row(line.reason, count, Text(line.example), line.kept)
    used = Table(title="Calls", title_style="bold", expand=True)
    used.add_column("what", ratio=3)
    used.add_column("calls", justify="right", ratio=1)
    for name, number in calls.items():
        used.add_row(name, str(number))
    return [records, absences, used]


def verdict(proof: Proof, limit: int = 20) -> Iterable[RenderableType]:
    """The last lines: all right, or the first differences."""
    if proof.ok:
        yield Text("Every record and every relation is right; every absent row has its expected reason.", "bold green")
        return
    differences = list(proof.differences())
    yield Text(f"{len(differences)} differences:", "bold red")
    yield from (Text(f"  {line}") for line in differences[:limit])
    if len(differences) > limit:
        yield Text(f"  … and {len(differences) - limit} more")


def record_svg(path: Path, renderables: Iterable[RenderableType], title: str = "python3 dev.py demo") -> None:
    """Save what the terminal shows as a picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for renderable in renderables:
        console.print(renderable)
    path.parent.mkdir(parents=True, exist_ok=True)
    console.save_svg(str(path), title=title, code_format=_SVG_FORMAT)


def _count(number: int, style: str = "") -> Text:
    return Text(str(number) if number else "·", style=style if number else "dim")


def _of(number: int, total: int, style: str = "") -> Text:
    return Text(f"{number}" if number == total else f"{number} of {total}", style=style)
