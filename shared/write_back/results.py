"""What a run of the write-back has done, and the last ones as `msisync status` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from ..azure.shared_state import State
from ..model.ids_and_times import moment
from .plan import KIND

ROW = "runs"
KEPT = 20
#: Longest text of an error, and failures that are listed one by one.
ERROR_LENGTH = 300
LISTED = 1000
#: Who has not brought all changes back for so long is late: `status` says so, and the alert write-back-late.
LATE = timedelta(hours=1)

RunKind = Literal["changes", "sweep", "persons"]


@dataclass(slots=True)
class Run:
    """`read`: persons compared with their rows; `differing` rows were not as they should be; `gone`: no such row.

    `unfit`: values that their column cannot hold. `complete`: nothing is left for the next run.
    """

    kind: RunKind
    started: str
    finished: str = ""
    read: int = 0
    differing: int = 0
    written: int = 0
    failed: int = 0
    gone: int = 0
    unfit: int = 0
    marketo_calls: int = 0
    dataverse_requests: int = 0
    complete: bool = False
    error: str = ""
    failures: list[dict[str, str]] = field(default_factory=list)

    def refuse(self, table: str, id_: str, code: str, message: str) -> None:
        """A row that was not written."""
        self.failed += 1
        if len(self.failures) < LISTED:
            self.failures.append({"table": table, "id": id_, "code": code, "message": message})

    @property
    def outcomes(self) -> dict[str, int]:
        """Rows by what became of them."""
        unchanged = self.read - self.differing
        return {"written": self.written, "failed": self.failed, "gone": self.gone, "unchanged": unchanged}

    def as_json(self) -> dict[str, Any]:
        """Everything but the failures one by one."""
        value = {name: found for name, found in asdict(self).items() if name != "failures"}
        return {**value, "error": self.error[:ERROR_LENGTH]}


async def keep(state: State, run: Run) -> None:
    """Put it before the others."""
    value = run.as_json()
    await state.change(KIND, ROW, lambda row: {"runs": [value, *row.get("runs", [])][:KEPT]})


def runs_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The last runs, the newest first."""
    return list(row.get("runs", []))


def changes_done(row: Mapping[str, Any]) -> datetime | None:
    """Up to when all changes have been written back: the beginning of the last run that came to their end."""
    done = (run["started"] for run in runs_of(row) if run.get("kind") == "changes" and run.get("complete"))
    return moment(next(done, None))
