"""Marketo's REST API, as far as the product uses it: describe, look up by external key, write, delete.

One place turns an answer into a value or a MarketoError: HTTP status, response level and, for upserts, one result per
record, matched by position (marketo.md 3 and 5.1).
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import Any

import httpx

from ..model import codes, vendor_text
from ..model.codes import Kind
from ..model.entities import Entity
from ..model.errors import MarketoError, VendorError
from ..telemetry import spans
from ..transport.client import TRANSIENT_TRIES, Begin, Request, VendorClient
from . import answers
from .answers import UNKNOWN_ANSWER, Result
from .fields import MarketoField
from .limiter import Pacer
from .quota import Budget
from .quota_ledger import WINDOW_SECONDS

log = logging.getLogger(__name__)

MAX_FILTER_VALUES = 300
#: Persons that one call merges into another one (1080 beyond).
MAX_LOSERS = 25
#: The calls of today by everybody that uses this Marketo; a call itself.
USAGE = "/rest/v1/stats/usage.json"
#: Too many calls: by Marketo's own count, or by that of a gateway in front of it.
RATE_EXCEEDED = frozenset({"606", "HTTP 429"})
#: Our own code for a call whose deadline passed while it waited to be admitted.
OUT_OF_TIME = "OutOfTime"
#: A key that no record has.
NOBODY = "00000000-0000-0000-0000-000000000000"
_JSON = {"Content-Type": "application/json"}


class Write(Enum):
    """How records are written: by which field Marketo finds them, and what becomes of one that it does not find."""

    UPSERT = "by its key, or created"
    UPDATE = "by its key, or skipped (1004)"
    BY_ID = "by Marketo's id, or skipped (1004)"
    DELETE = "deleted"


@dataclass(repr=False)
class MarketoClient(VendorClient):
    """Calls of one Marketo instance, paced, authorised and classified.

    `keys`: the field that Marketo finds a record by, for entities where it is not the guide's.
    `partition`: the one in which persons are created; None: Marketo's default.
    `budget`: that of the pacer; it learns what Marketo says about its limits.
    """

    error = MarketoError
    #: Longer than Marketo's own limit for a sync call (90 s): a call that we give up too early still runs over there.
    timeout_seconds = 100.0
    also_transient = frozenset({"611"})

    pacer: Pacer
    _: KW_ONLY
    keys: Mapping[str, str] = field(default_factory=dict)
    partition: str | None = None
    budget: Budget | None = None

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        """The fields of an object by name.

        Only a lead's `updateable` counts: for other objects it means "not after creation", and Adobe's own samples
        write such fields (marketo.md 4.6).
        """
        name = "describe2" if entity.is_lead else "describe"
        answer = await self.get(f"/rest/v1/{entity.path}/{name}.json")
        result = (answer.get("result") or [{}])[0]
        if not result.get("fields"):  # every object has fields; without them nothing would be sent
            raise MarketoError(UNKNOWN_ANSWER, f"no fields in {name} of {entity.path}", kind=Kind.TRANSIENT)
        searchable = {names[0] for names in result.get("searchableFields", []) if len(names) == 1}
        return {
            field["name"]: MarketoField(
                field.get("dataType", "string"),
                field.get("length"),
                str(field.get("displayName", "")),
                writable=not entity.is_lead or field.get("updateable", True),
                searchable=field["name"] in searchable,
            )
            for field in result.get("fields", [])
        }

    async def get(
        self, path: str, *, refusals: frozenset[str] = frozenset(), deadline: float | None = None
    ) -> dict[str, Any]:
        """The answer to any GET, as one call. `refusals`: codes that the caller handles; they open no circuit."""
        answer: dict[str, Any] = await self._call(Request("GET", path, refusals=refusals), deadline)
        return answer

    def key_of(self, entity: Entity) -> str:
        """The field that Marketo finds a record of this entity by."""
        return self.keys.get(entity.name, entity.key)

    async def find(self, entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        """Which of these external keys Marketo has: key in lower case → Marketo id (0 where none). 300 a call."""
        key = self.key_of(entity)
        fields = ("id", key) if entity.is_lead else (key,)
        found: dict[str, int] = {}
        for start in range(0, len(keys), MAX_FILTER_VALUES):
            for row in await self.read(entity, key, keys[start : start + MAX_FILTER_VALUES], fields, unique=True):
                name, number = str(row.get(key) or "").lower(), answers.number(row)
                found[name] = min(found.get(name) or number, number)
        return found

    async def read(
        self,
        entity: Entity,
        filter_type: str,
        values: Sequence[str],
        fields: Sequence[str],
        *,
        unique: bool = False,
        refusals: frozenset[str] = frozenset(),
        deadline: float | None = None,
    ) -> list[dict[str, Any]]:
        """Records whose `filter_type` has one of these values (at most 300). `unique`: one record for each is enough.

        By POST with `_method=GET`: 300 GUIDs do not fit into Marketo's 8 KB of URL.
        """
        form = {
            "filterType": filter_type,
            "filterValues": ",".join(values),
            "fields": ",".join(fields),
            "batchSize": str(MAX_FILTER_VALUES),
        }
        path = f"/rest/v1/{entity.path}.json?_method=GET"
        found: list[dict[str, Any]] = []
        while True:
            answer = await self._call(Request("POST", path, form=form, refusals=refusals), deadline)
            rows = answer.get("result") or []
            found += rows
            # A last page may have a token too.
            more = rows and answer.get("nextPageToken") and answer.get("moreResult", True)
            if not more or (unique and len({str(row.get(filter_type)).lower() for row in found}) >= len(values)):
                return found
            form["nextPageToken"] = answer["nextPageToken"]

    async def write(
        self,
        entity: Entity,
        bodies: Sequence[bytes],
        write: Write,
        *,
        deadline: float | None,
        begin: Begin | None,
        tries: int = TRANSIENT_TRIES,
    ) -> list[Result]:
        """Write at most 300 records, each already encoded. One result per record, in the same order.

        Those to be deleted are given by their Marketo ids (persons) or else by their keys. One that is not there is
        skipped: with 1004 a person, with 1013 any other.

        `tries`: how often the call is sent while Marketo has a problem. It is not sent again after an error that leaves
        open whether Marketo is still working on it (`at_work`): both calls would create the same records (marketo.md
        5.2). `begin`: called when it is sent; None: of a call that cannot store anything.
        """
        how = self._how(entity, write)
        path = f"/rest/v1/{entity.path}{'/delete' if write is Write.DELETE else ''}.json"
        content = json.dumps({**how, "input": []})[:-2].encode() + b",".join(bodies) + b"]}"
        request = Request("POST", path, _JSON, content, begin=begin)
        return answers.results(await self._call(request, deadline, tries), how.get("action", "delete"), bodies)

    async def merge(self, winner: int, losers: Sequence[int], *, deadline: float, begin: Begin) -> str:
        """Merge at most 25 persons into another one, by Marketo's ids: they are gone then. It cannot be undone.

        Gives the id of the request.

        The content type is needed though there is no content: else Marketo refuses the call (612, lifecycle.md 3).
        """
        ids = ",".join(map(str, losers))
        path = f"/rest/v1/leads/{winner}/merge.json?leadIds={ids}"
        answer = await self._call(Request("POST", path, _JSON, b"", begin=begin), deadline, 1)
        return vendor_text.request_id(answer.get("requestId"))

    async def probe_write(self, entity: Entity) -> None:
        """Find out whether records of this entity may be written, by an update of one that cannot exist.

        Raises MarketoError when Marketo would refuse every record: 603 permission, 1018 native sync.
        """
        names = entity.dedupe_fields if not entity.is_lead else (self.key_of(entity),)
        nobody = {name: 0 if name == "leadId" else NOBODY for name in names}
        body = json.dumps(nobody).encode()
        (result,) = await self.write(entity, [body], Write.UPDATE, deadline=None, begin=None)
        if result.code and codes.marketo_record(result.code) is Kind.CONFIGURATION:
            raise MarketoError(result.code, result.message, kind=Kind.CONFIGURATION)

    def _how(self, entity: Entity, write: Write) -> dict[str, str]:
        """What Marketo is told of the records of a call beside themselves."""
        if write is Write.DELETE:
            return {} if entity.is_lead else {"deleteBy": "dedupeFields"}
        how = {"action": "createOrUpdate" if write is Write.UPSERT else "updateOnly"}
        if not entity.is_lead:
            return {**how, "dedupeBy": "dedupeFields"}
        how["lookupField"] = "id" if write is Write.BY_ID else self.key_of(entity)
        if self.partition and write is Write.UPSERT:  # Marketo refuses it with updateOnly
            how["partitionName"] = self.partition
        return how

    async def _call(self, request: Request, deadline: float | None = None, tries: int = TRANSIENT_TRIES) -> Any:
        if self.budget and self.budget.must_measure():
            await self._measure(self.budget)
        return await super()._call(request, deadline, tries)

    async def _measure(self, budget: Budget) -> None:
        """Ask Marketo for the calls that everybody has made today. A failure must not stop the sync."""
        try:
            await budget.measured(int((await self.get(USAGE))["result"][0]["total"]))
        except (MarketoError, LookupError, TypeError, ValueError) as error:
            log.warning("usage_not_measured error=%s", error)

    @asynccontextmanager
    async def _admitted(self, request: Request, deadline: float) -> AsyncIterator[None]:
        async with self.pacer.admitted():
            if self.clock() >= deadline:  # it waited too long
                raise MarketoError(OUT_OF_TIME, "no time was left for this call", kind=Kind.THROTTLED)
            if request.begin:
                await request.begin()
            yield

    async def _on_error(self, error: VendorError) -> None:
        """Report to all instances what Marketo says about the limits that they share."""
        if self.budget is None:
            return
        if error.kind is Kind.DAILY and error.retry_after is None:  # Marketo's own; the budget knows until when
            raise await self.budget.exhausted() from error
        if error.code in RATE_EXCEEDED:
            await self.budget.hold_back(error.retry_after or WINDOW_SECONDS)

    def _may_repeat(self, request: Request, error: VendorError) -> bool:
        return not (error.at_work and request.begin)

    def _pause(self, error: VendorError) -> float:
        if error.code == OUT_OF_TIME:
            return math.inf
        wait = random.uniform(0.2, 1.0) if error.code == "615" else error.retry_after or WINDOW_SECONDS  # noqa: S311  (jitter)
        self.pacer.close_for(wait)
        return wait

    def _read(self, request: Request, response: httpx.Response, call: spans.Call) -> dict[str, Any]:
        answer = answers.content(response, lambda: _names(request), writing=request.content is not None)
        call.answered(vendor_text.request_id(answer.get("requestId")))
        return answer


def _names(request: Request) -> frozenset[str]:
    """The fields that a call named: only these may be quoted from Marketo's text."""
    query = {**httpx.QueryParams(request.url.partition("?")[2]), **(request.form or {})}
    names = {query.get("filterType", ""), *query.get("fields", "").split(",")}
    if request.content:
        body = json.loads(request.content)
        names |= {body.get("lookupField", ""), *(name for record in body.get("input", ()) for name in record)}
    return frozenset(name for name in names if name)
