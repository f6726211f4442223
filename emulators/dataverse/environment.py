"""The state around the rows: clock, switches that a test can turn, counters, planned faults, service protection."""

import copy
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from emulators.dataverse import errors
from emulators.dataverse.schema import (
    ColumnNames,
    RenamedOptions,
    SecuredColumns,
    check_column_names,
    check_options,
    visible_tables,
)
from emulators.dataverse.store import Store
from emulators.dataverse.values import format_moment
from emulators.gates import Gates

_API: Final = re.compile(r"^/api/data/v9\.\d/")
_KEY: Final = re.compile(r"\([^()]*\)")
SAFETY_MARGIN: Final = 1.0  # seconds added to Retry-After, so that who waits it out is let in


class Switches(BaseModel):
    """What `POST /switches` sets. Durations in seconds unless the name says otherwise."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    no_read_privilege: list[str] = Field(default=[], description="tables that nobody may read")
    no_write_privilege: list[str] = Field(default=[], description="tables that nobody may write")
    no_row_access: list[str] = Field(default=[], description="ids of rows that nobody may write")
    refused_rows: dict[str, str] = Field(default={}, description="id of a row -> error code that a write of it gets")
    sign_in_errors: dict[str, int] = Field(default={}, description="user name or client id -> AADSTS code")
    token_lifetime: int = 3600
    requests: int = 6000
    window: float = 300.0
    concurrent: int = 52
    execution_seconds: float = 1200.0
    latency_ms: float = 0.0
    language: int = 1033
    post_retry_seconds: list[float] = Field(default=[1.0, 5.0, 30.0, 120.0], description="gaps between post attempts")
    clock_offset: float = 0.0
    removed_columns: ColumnNames = Field(default={}, description="table -> columns that do not exist")
    unreadable_columns: ColumnNames = Field(default={}, description="table -> columns with IsValidForRead off")
    secured_columns: SecuredColumns = Field(
        default={}, description="table -> column -> what our users may do: hidden (nothing), read, write (both)"
    )
    renamed_options: RenamedOptions = Field(
        default={}, description="table -> column -> value of a choice -> its new label in the base language, published"
    )
    hidden_rows: list[str] = Field(default=[], description="ids of rows that nobody may read")
    no_bulk: list[str] = Field(default=[], description="tables without CreateMultiple and UpdateMultiple")
    no_change_tracking: list[str] = Field(default=[], description="tables with ChangeTrackingEnabled off")
    change_tracking_days: float = Field(
        default=7.0, description="ExpireChangeTrackingInDays of the organisation: how long a delta link is good for"
    )
    commit_gate: str = Field(
        default="", description="gate at which transactions with synchronous steps wait between post and commit"
    )

    @field_validator("removed_columns", "unreadable_columns", "secured_columns")
    @classmethod
    def _known_columns(cls, names: dict[str, Any]) -> dict[str, Any]:
        return check_column_names(names)

    @field_validator("renamed_options")
    @classmethod
    def _known_options(cls, renamed: RenamedOptions) -> RenamedOptions:
        return check_options(renamed)


class Fault(BaseModel):
    """A planned failure of the next `times` requests whose `METHOD path` matches."""

    model_config = ConfigDict(extra="forbid")

    match: str = ".*"
    method: str | None = None
    status: int | Literal["reset", "hang", "hold"] = Field(
        default=503, description="`hold`: nothing fails, the request waits at `gate` (emulators/gates.py)"
    )
    when: Literal["before", "after"] = Field(default="before", description="`after`: the request has been carried out")
    gate: str = ""
    code: str = "0x80044150"
    message: str = "A planned fault of the simulator."
    retry_after: float | str | None = Field(default=None, description="seconds, or a text that is sent as it is")
    as_date: bool = Field(default=False, description="send retry_after as the date in so many seconds")
    seconds: float = Field(default=3600.0, description="how long `hang` holds the request before the connection ends")
    times: int = 1

    def applies(self, method: str, path: str) -> bool:
        """Whether this request is to fail."""
        return self.times > 0 and self.method in {None, method} and re.search(self.match, path) is not None

    def headers(self, now: float) -> dict[str, str]:
        """Retry-After in either form of RFC 9110, if it is asked for. `now`: seconds since the epoch."""
        if self.retry_after is None:
            return {}
        if self.as_date:
            return {"Retry-After": formatdate(now + float(self.retry_after), usegmt=True)}
        wait = self.retry_after
        return {"Retry-After": wait if isinstance(wait, str) else f"{wait:g}"}


@dataclass
class Stats:
    """What the simulator has been asked, for tests and for the benchmark."""

    requests: Counter[str] = field(default_factory=Counter)
    #: HTTP requests to the Web API, refused ones too, by method and path, ids left out: a batch is one.
    calls: Counter[str] = field(default_factory=Counter)
    ids_read: int = 0
    sign_ins: int = 0
    refused_sign_ins: int = 0
    throttled: int = 0
    largest_batch: int = 0
    posted: int = 0
    failed_posts: int = 0

    def count(self, kind: str, table: str = "") -> None:
        """Count one operation, by kind and by kind and table."""
        self.requests[kind] += 1
        if table:
            self.requests[f"{kind} {table}"] += 1

    def call(self, method: str, path: str) -> None:
        """Count one HTTP request."""
        self.calls[f"{method} {_API.sub('', _KEY.sub('()', path))}"] += 1

    def as_dict(self) -> dict[str, Any]:
        """The counters as JSON shows them."""
        counters = {
            name: dict(sorted(counter.items()))
            for name, counter in (("requests", self.requests), ("calls", self.calls))
        }
        return {**self.__dict__, **counters}


class Environment:
    """One simulated environment."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.store = Store()
        self.switches = Switches()
        self.stats = Stats()
        self.faults: list[Fault] = []
        self._clock = clock
        self._users: dict[str, _Usage] = {}
        self._schema_switches: tuple[Any, ...] = ({}, {}, {}, [], {}, [])
        self.gates = Gates()

    def now(self) -> float:
        """Seconds since the epoch, shifted by the switch."""
        return self._clock() + self.switches.clock_offset

    def moment(self) -> str:
        """The present as the Web API writes it."""
        return format_moment(self.now())

    def refresh_schema(self) -> None:
        """Let the store show the columns that the switches leave."""
        switches = self.switches
        self.store.hidden_rows = frozenset(switches.hidden_rows)
        wanted = (
            switches.removed_columns,
            switches.unreadable_columns,
            switches.secured_columns,
            switches.no_bulk,
            switches.renamed_options,
            switches.no_change_tracking,
        )
        if wanted != self._schema_switches:
            self.store.tables = visible_tables(*wanted[:-1], untracked=wanted[-1])
            self._schema_switches = copy.deepcopy(wanted)

    def fault_for(self, method: str, path: str) -> Fault | None:
        """The fault planned for this request, used up by one."""
        for fault in self.faults:
            if fault.applies(method, path):
                fault.times -= 1
                return fault
        return None

    @contextmanager
    def admitted(self, user: str) -> Iterator[dict[str, str]]:
        """Let a request in under service protection, and give the headers that tell what is left of the limits.

        Raises ApiError 429 when one of the three limits is reached.
        """
        usage = self._users.setdefault(user, _Usage())
        started = self.now()
        usage.forget(started - self.switches.window)
        refusal = usage.refusal(self.switches, started)
        if refusal is not None:
            self.stats.throttled += 1
            raise refusal
        usage.running += 1
        try:
            yield usage.remaining(self.switches)
        finally:
            usage.running -= 1
            usage.add_execution(started, self.now() - started)

    def forget_usage(self) -> None:
        """Start service protection anew."""
        self._users.clear()


class _Usage:
    """One user's sliding window. Dataverse: going on while limited makes the wait longer."""

    def __init__(self) -> None:
        self.running = 0
        self._requests: deque[float] = deque()
        self._executions: deque[tuple[float, float]] = deque()
        self._execution_seconds = 0.0

    def forget(self, before: float) -> None:
        while self._requests and self._requests[0] <= before:
            self._requests.popleft()
        while self._executions and self._executions[0][0] <= before:
            self._execution_seconds -= self._executions.popleft()[1]

    def add_execution(self, at: float, seconds: float) -> None:
        self._executions.append((at, seconds))
        self._execution_seconds += seconds

    def remaining(self, limits: Switches) -> dict[str, str]:
        """The counters that Dataverse sends along for debugging."""
        return {
            "x-ms-ratelimit-burst-remaining-xrm-requests": str(max(limits.requests - len(self._requests), 0)),
            "x-ms-ratelimit-time-remaining-xrm-requests": f"{limits.execution_seconds - self._execution_seconds:.2f}",
        }

    def refusal(self, limits: Switches, now: float) -> errors.ApiError | None:
        """Count the request and tell why it is refused, if it is."""
        if self.running >= limits.concurrent:
            return _refused(
                "0x80072326", f"Number of concurrent requests exceeded the limit of {limits.concurrent}.", 2.0
            )
        self._requests.append(now)
        excess = len(self._requests) - limits.requests
        if excess > 0:
            message = (
                f"Number of requests exceeded the limit of {limits.requests} over time window of "
                f"{limits.window:.0f} seconds."
            )
            return _refused("0x80072322", message, self._requests[excess - 1] + limits.window - now)
        if self._execution_seconds > limits.execution_seconds:
            message = (
                "Combined execution time of incoming requests exceeded limit of "
                f"{limits.execution_seconds * 1000:,.0f} milliseconds over time window of {limits.window:.0f} seconds. "
                "Decrease number of concurrent requests or reduce the duration of requests and try again later."
            )
            return _refused("0x80072321", message, self._executions[0][0] + limits.window - now)
        return None


def _refused(code: str, message: str, wait: float) -> errors.ApiError:
    headers = {
        "Retry-After": str(int(max(wait, 0) + SAFETY_MARGIN)),
        "x-ms-ratelimit-burst-remaining-xrm-requests": "0",
        "x-ms-ratelimit-time-remaining-xrm-requests": "0",
    }
    return errors.ApiError(429, code, message, headers)
