"""Accounts in Dataverse, and a Marketo that refuses what a test says, with an engine between them."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.client import NOBODY, Write
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind, marketo_record
from shared.model.entities import ENTITIES, Entity, Table
from shared.model.errors import MarketoError, MsiSyncError, SignInError
from shared.model.outcome import Outcome
from shared.model.record import Record
from shared.sync.links import LOOKUP_TABLE
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

CONFIG = SyncConfig.model_validate(
    {"account": {"fields": {"company": "name", "industry": {"column": "industrycode", "convert": "label"}}}}
)
COMPANY = ENTITIES["company"]
OWNER = guid(1)
TIME_BUDGET = 180.0
Sent = list[dict[str, Any]]


def account(number: int) -> str:
    """The id of an account; never nobody's, which is all zeros and stands in probes."""
    return guid(1000 + number)


class World(Vendors):
    """Dataverse has every account that is asked for; `answer` decides what Marketo does with a call."""

    columns = ("name", "industrycode")
    fields = ("company", "industry")

    def __init__(
        self, answer: Callable[[Sent], list[Result]], *, owner: str | None = None, refused: str = "keep"
    ) -> None:
        self.answer = answer
        self.tries = 0
        self.probes = 0
        self.calls: list[list[str]] = []
        self.sent: list[dict[str, Any]] = []
        self.now = 0.0
        self.seconds_per_call = 0.0
        self.owner = owner
        self.there = {OWNER}
        self.finds = 0
        self.descriptions = 0
        self.odd: dict[str, dict[str, Any]] = {}
        self.read_error: MsiSyncError | None = None
        self.row_errors: dict[str, MsiSyncError] = {}
        self.reads = 0
        self.find_error: MsiSyncError | None = None
        self.seconds_per_read = 0.0
        config = CONFIG.model_copy(update={"refused": refused})
        self.engine = engine_between(
            self,
            self,
            config,
            clock=lambda: self.now,
            now=lambda: NOON,
            tables=["account", "systemuser"],
            time_budget=TIME_BUDGET,
        )

    async def rows(self, table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
        self.reads += 1
        for error in filter(None, (self.read_error, *map(self.row_errors.get, ids))):
            raise error
        self.now += self.seconds_per_read
        if table.name == "systemuser":
            return {id_: {"internalemailaddress": "sam@x.com"} for id_ in ids}
        owner = {"_ownerid_value": self.owner, "_ownerid_value" + LOOKUP_TABLE: "systemuser"}
        return {id_: {"name": f"Company {id_}", **owner, **self.odd.get(id_, {})} for id_ in ids}

    async def labels(self, *_: Any) -> dict[str, dict[int, str]]:
        return {"industrycode": {1: "Accounting"}}

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        self.descriptions += 1
        return await super().describe(entity)

    async def find(self, _entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        self.finds += 1
        if self.find_error:
            raise self.find_error
        return dict.fromkeys(self.there & set(keys), 0)

    async def write(
        self, _entity: Entity, bodies: Sequence[bytes], _: Write, *, deadline: float, tries: int = 3, **__: Any
    ) -> list[Result]:
        assert deadline == TIME_BUDGET
        self.tries += tries
        self.now += self.seconds_per_call
        sent = [json.loads(body) for body in bodies]
        self.sent += sent
        self.calls.append([row["externalCompanyId"] for row in sent])
        return self.answer(sent)

    async def probe_write(self, _entity: Entity) -> None:
        self.probes += 1
        (result,) = self.answer([{"externalCompanyId": NOBODY}])
        if marketo_record(result.code) is Kind.CONFIGURATION:
            raise MarketoError(result.code, result.message, kind=Kind.CONFIGURATION)

    async def sync(self, count: int, *, attempt: int = 0, without: Collection[str] = ()) -> dict[str, Outcome]:
        ids = [id_ for n in range(count) if (id_ := account(n)) not in without]
        outcomes = await self.engine.sync(COMPANY, [Record("account", id_, NOON, attempt=attempt) for id_ in ids])
        assert len(outcomes) == len(ids)
        return {record.id: outcome for record, outcome in outcomes}


def stored(sent: Sent) -> list[Result]:
    return [Result("created")] * len(sent)


def skipping(id_: str, code: str, message: str = "reason") -> Callable[[Sent], list[Result]]:
    """Marketo skips this one record and stores the others."""
    return lambda sent: [
        Result("skipped", 0, code, message) if row["externalCompanyId"] == id_ else Result("created") for row in sent
    ]


def refusing(
    error: MarketoError | SignInError, *, because_of: set[str] | None = None
) -> Callable[[Sent], list[Result]]:
    """Marketo refuses whole calls: all of them, or those that hold certain records."""

    def answer(sent: Sent) -> list[Result]:
        if because_of is None or because_of & {row["externalCompanyId"] for row in sent}:
            raise error
        return stored(sent)

    return answer


def system_error() -> MarketoError:
    return MarketoError("611", "System error", kind=Kind.SPLIT)


def no_owner() -> MarketoError:
    return MarketoError("718", "ExternalSalesPersonID not found", kind=Kind.MISSING_PARENT)
