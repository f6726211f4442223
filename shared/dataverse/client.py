"""Dataverse's Web API, as far as the product uses it: rows by id, queries, batches, single requests, WhoAmI."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from ..model import codes, vendor_text
from ..model.codes import Kind
from ..model.entities import Table
from ..model.errors import DataverseError, VendorError
from ..telemetry import spans
from ..transport.client import Request, VendorClient
from ..transport.retry_after import retry_after
from . import batch
from .batch import Answer, Part

log = logging.getLogger(__name__)

API = "/api/data/v9.2"
#: Ids in one In query: 300 of them take 14 KB of the 32 KB of URL (dataverse.md 4.3).
MAX_IDS = 300
#: Rows that are asked for one by one in one request: it must be answered well before the client gives up.
MAX_ASKED = 100
#: What Dataverse says to the request for a row that the security role hides, and for one that does not exist.
FORBIDDEN, NOT_FOUND = 403, 404
#: A deadlock, and a time-out while waiting for a lock: one of many rows written at once may be the cause.
LOCKED = frozenset({"0x80044150", "0x80044151"})
#: The wait of who is throttled, where Dataverse names none; and how often the parts of a batch are sent.
THROTTLED_SECONDS, BATCH_TRIES = 5.0, 4

Row = dict[str, Any]
_CREATED = re.compile(r"\(([0-9a-fA-F-]{36})\)$")


class _Query(Request):
    """A request whose answer is a page of rows."""


@dataclass(repr=False)
class DataverseClient(VendorClient):
    """Reads and writes of one environment, tried again where that helps, classified where it does not."""

    error = DataverseError
    timeout_seconds = 60.0
    headers: ClassVar[Mapping[str, str]] = {
        "Accept": "application/json",
        "OData-Version": "4.0",
        "OData-MaxVersion": "4.0",
        "If-None-Match": "null",
        "Prefer": 'odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"',
    }

    _who: Mapping[str, Any] = field(default_factory=dict, init=False)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def rows(
        self, table: Table, ids: Sequence[str], columns: Iterable[str], *, deadline: float | None = None
    ) -> dict[str, Row]:
        """The current rows of these ids, by id, 300 in a request; those that do not exist are missing.

        Lookup columns carry their table in an annotation, see shared/sync/links.py.
        """
        found: dict[str, Row] = {}
        for start in range(0, len(ids), MAX_IDS):
            url = rows_url(table, ids[start : start + MAX_IDS], columns)
            async for page in self.pages(url, deadline=deadline):
                if not all(row.get(table.key) for row in page):
                    raise _not_documented("a row without its id")
                found |= {str(row[table.key]).lower(): row for row in page}
        return found

    async def referring(
        self,
        table: Table,
        lookups: Sequence[str],
        ids: Sequence[str],
        columns: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> list[Row]:
        """The rows of which one of these lookups, by their logical names, leads to one of these ids (at most 300)."""
        chosen = " or ".join(f"Microsoft.Dynamics.CRM.In(PropertyName='{name}',PropertyValues=@p1)" for name in lookups)
        url = (
            f"{API}/{table.entity_set}?$select={','.join(sorted({table.key, *columns}))}&$filter={quote(chosen)}"
            f"&@p1={quote(json.dumps(list(ids), separators=(',', ':')))}"
        )
        return [row async for page in self.pages(url, deadline=deadline) for row in page]

    async def organization_id(self) -> str:
        """The id of the organisation that the credentials sign in to, lower case; asked once."""
        return await self._who_am_i("OrganizationId")

    async def user_id(self) -> str:
        """The id of the user that the credentials sign in as, lower case; asked once."""
        return await self._who_am_i("UserId")

    async def _who_am_i(self, name: str) -> str:
        async with self._asking:
            answer = self._who or await self.get(f"{API}/WhoAmI")
            if not isinstance(answer.get(name), str):
                raise _not_documented(f"WhoAmI without {name}")
            self._who = answer
        return str(answer[name]).lower()

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None, deadline: float | None = None) -> Any:
        """The answer to any GET of the Web API (`url` from API on): a JSON object."""
        return await self._call(Request("GET", url, headers or {}), deadline)

    async def batch(self, parts: Sequence[Part], *, deadline: float | None = None) -> list[Answer]:
        """Many requests as one, at most 1,000: an answer for each in order, whether or not others failed.

        Every part must be safe to repeat: the request is tried again when no answer comes. A part that is throttled is
        sent again after the time that Dataverse asks for, a few times, and not past the deadline.
        """
        deadline = self.clock() + self.timeout_seconds if deadline is None else deadline
        answers = await self._batch(parts, deadline)
        for _ in range(BATCH_TRIES - 1):
            waiting = [n for n, answer in enumerate(answers) if answer.status in (429, 503)]
            wait = max((retry_after(answers[n].headers) or THROTTLED_SECONDS for n in waiting), default=0.0)
            if not waiting or self.clock() + wait >= deadline:
                break
            log.info("batch_wait parts=%d seconds=%.1f", len(waiting), wait)
            await self.sleep(wait)
            for n, answer in zip(waiting, await self._batch([parts[n] for n in waiting], deadline), strict=True):
                answers[n] = answer
        return answers

    async def _batch(self, parts: Sequence[Part], deadline: float) -> list[Answer]:
        headers = {"Content-Type": batch.CONTENT_TYPE, "Prefer": "odata.continue-on-error"}
        answers = await self._call(Request("POST", f"{API}/$batch", headers, batch.encode(parts)), deadline)
        if not isinstance(answers, list) or len(answers) != len(parts):
            raise DataverseError("BatchAnswer", "not one answer for each request of the batch", kind=Kind.TRANSIENT)
        return answers

    async def statuses(self, table: Table, ids: Sequence[str], *, deadline: float | None = None) -> list[int]:
        """How Dataverse answers for each of these rows: 200, 403 (no right to read it), 404, or else. 100 in a request.

        404 is given only where Dataverse says that the row does not exist; for another 404, such as a gateway's, 0.
        """
        parts = [Part("GET", f"{API}/{table.entity_set}({id_})?$select={table.key}") for id_ in ids]
        found: list[int] = []
        for start in range(0, len(parts), MAX_ASKED):
            found += map(_status, await self.batch(parts[start : start + MAX_ASKED], deadline=deadline))
        return found

    async def count_rows(self, tables: Sequence[str]) -> int:
        """How many rows these tables have together, as of within the last 24 hours (RetrieveTotalRecordCount)."""
        names = ",".join(f"'{table}'" for table in tables)
        answer = await self.get(f"{API}/RetrieveTotalRecordCount(EntityNames=[{names}])")
        try:
            found = answer["EntityRecordCountCollection"]
            counts = dict(zip(found["Keys"], found["Values"], strict=True))
            return sum(int(counts[table]) for table in tables)
        except (KeyError, TypeError, ValueError):
            raise _not_documented("RetrieveTotalRecordCount without a number for each table") from None

    async def update_many(
        self, table: str, entity_set: str, targets: Sequence[Mapping[str, Any]], *, tag: str, deadline: float | None
    ) -> None:
        """UpdateMultiple: all of these rows of a table, or none if one is refused (dataverse.md 4.5).

        A deadlock and a lock's time-out count as such a refusal: not tried again, and not as an outage.
        """
        body = {"Targets": [{"@odata.type": f"Microsoft.Dynamics.CRM.{table}", **target} for target in targets]}
        url = f"{API}/{entity_set}/Microsoft.Dynamics.CRM.UpdateMultiple?tag={tag}"
        await self._call(Request("POST", url, json=body, refusals=LOCKED), deadline)

    async def query(self, url: str, *, deadline: float | None = None) -> list[Row]:
        """All rows of any query of the Web API."""
        return [row async for page in self.pages(url, deadline=deadline) for row in page]

    async def write(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> str:
        """POST, PATCH or DELETE of one row; gives the id of the row that a POST created. PATCH never creates one.

        A POST is not tried again when no answer comes: the row may have been created.
        """
        headers = {**(headers or {}), "If-Match": "*"} if method == "PATCH" else headers or {}
        response = await self._call(Request(method, url, headers, json=body, repeatable=method != "POST"))
        return str(response.get("id", ""))

    async def page(self, url: str, size: int | None = None, *, deadline: float | None = None) -> tuple[list[Row], str]:
        """One page of a query, and the path of the next page, empty at the end; the path can be kept and read later."""
        answer = await self.answer(
            url, {"Prefer": f"odata.maxpagesize={size},{self.headers['Prefer']}"} if size else {}, deadline=deadline
        )
        return answer["value"], self.path_of(answer.get("@odata.nextLink"))

    async def answer(self, url: str, headers: Mapping[str, str], *, deadline: float | None = None) -> dict[str, Any]:
        """The answer to a query: a page of rows as `value`, and links, which `path_of` makes paths of."""
        answer: dict[str, Any] = await self._call(_Query("GET", url, headers), deadline)
        return answer

    def path_of(self, link: object) -> str:
        """A link that an answer gives, as a path that can be kept and read later; empty for none."""
        address = httpx.URL(link if isinstance(link, str) else "")
        if not str(address):
            return ""
        if address.copy_with(raw_path=b"/") != self.http.base_url.copy_with(raw_path=b"/"):
            # Whoever is there must not get our token.
            raise DataverseError("ForeignLink", "the next page is said to be on another host", kind=Kind.PERMANENT)
        return address.raw_path.decode()

    async def pages(self, url: str, *, deadline: float | None = None) -> AsyncIterator[list[Row]]:
        """All rows of a query, page by page."""
        while url:
            rows, url = await self.page(url, deadline=deadline)
            yield rows

    def _may_repeat(self, request: Request, error: VendorError) -> bool:
        return request.repeatable or bool(error.retry_after)

    def _pause(self, error: VendorError) -> float:
        return error.retry_after or THROTTLED_SECONDS

    def _read(self, request: Request, response: httpx.Response, call: spans.Call) -> Any:
        call.answered(vendor_text.request_id(response.headers.get("x-ms-service-request-id")))
        if response.status_code == 204:
            created = _CREATED.search(response.headers.get("OData-EntityId", ""))
            return {"id": created.group(1).lower()} if created else {}
        if response.status_code == 200:
            return _content(request, response)
        names = names_of(request.url, request.json or {})
        raise error_of(response.status_code, response.headers, response.content, names)


def _status(answer: Answer) -> int:
    """The status of a request for one row; 0 for a 404 that does not say that there is no such row."""
    if answer.status != httpx.codes.NOT_FOUND:
        return answer.status
    return answer.status if error_of(answer.status, answer.headers, answer.content).kind is Kind.GONE else 0


def _content(request: Request, response: httpx.Response) -> Any:
    """The content of HTTP 200. What is not as documented is an error: it says nothing about rows."""
    kind = response.headers.get("Content-Type", "")
    try:
        if kind.startswith("multipart/"):
            return batch.decode(kind, response.content)
        answer = response.json()
    except ValueError:
        raise DataverseError("NotJson", "HTTP 200 without JSON", kind=Kind.TRANSIENT) from None
    if not isinstance(answer, dict):
        raise _not_documented("JSON that is not an object")
    rows = answer.get("value")
    is_page = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if isinstance(request, _Query) and not (is_page and isinstance(answer.get("@odata.nextLink", ""), str)):
        raise _not_documented("another content than rows and the address of the next page")
    return answer


def _not_documented(what: str) -> DataverseError:
    return DataverseError("UnknownAnswer", f"HTTP 200 with {what}", kind=Kind.TRANSIENT)


def rows_url(table: Table, ids: Sequence[str], columns: Iterable[str]) -> str:
    """The query for these rows."""
    return (
        f"{API}/{table.entity_set}?$select={','.join(sorted({table.key, *columns}))}"
        "&$filter=Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)"
        f"&@p1='{table.key}'&@p2={quote(json.dumps(list(ids), separators=(',', ':')))}"
    )


def names_of(url: str, body: Mapping[str, Any]) -> frozenset[str]:
    """The columns that a request named, without values of filters: only these may be quoted from Dataverse's text."""
    query = httpx.QueryParams(url.partition("?")[2])
    rows = [body, *(row for row in body.get("Targets") or () if isinstance(row, Mapping))]
    columns = (name.partition("@")[0] for row in rows for name in row)
    return frozenset(name for name in (*query.get("$select", "").split(","), *columns) if name)


def error_of(
    status: int, headers: Mapping[str, str], content: bytes, names: Collection[str] = frozenset()
) -> DataverseError:
    """The error of an answer that is not success; `headers` by lower-case name, `names`: the request's columns."""
    try:
        error = json.loads(content)["error"]
        code, message = str(error.get("code") or ""), str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = "", ""
    code = vendor_text.dataverse_code(codes.normalise(code))
    return DataverseError(
        code or f"HTTP {status}",
        vendor_text.dataverse(code, message, names) if code or message else f"HTTP {status}",
        kind=Kind.THROTTLED if status == 429 else codes.dataverse(code, status),
        retry_after=retry_after(headers),
        request_id=vendor_text.request_id(headers.get("x-ms-service-request-id")),
    )
