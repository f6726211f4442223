"""Dataverse's Web API, as far as the product uses it: rows by id, small tables, single requests, who am I."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from shared import codes
from shared.codes import Kind
from shared.dataverse.auth import DataverseAuth
from shared.errors import DataverseError
from shared.guard import Guard, Unguarded
from shared.telemetry import spans
from shared.telemetry.spans import Call

log = logging.getLogger(__name__)

API = "/api/data/v9.2"
#: Ids in one In query: 300 of them take 14 KB of the 32 KB of URL (dataverse.md 4.3).
MAX_IDS = 300
TRANSIENT_TRIES = 3
TIMEOUT_SECONDS = 60.0

Row = dict[str, Any]
_CREATED = re.compile(r"\(([0-9a-fA-F-]{36})\)$")
Sleep = Callable[[float], Awaitable[None]]

_HEADERS = {
    "Accept": "application/json",
    "OData-Version": "4.0",
    "OData-MaxVersion": "4.0",
    "If-None-Match": "null",
    "Prefer": 'odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"',
}


class DataverseClient:
    """Reads of one environment, authorised, tried again where that helps, classified where it does not."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        auth: DataverseAuth,
        *,
        clock: Callable[[], float],
        sleep: Sleep,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or Unguarded()
        self._http = http
        self._auth = auth
        self._clock = clock
        self._sleep = sleep

    async def rows(
        self, entity_set: str, key: str, ids: Sequence[str], columns: Iterable[str], *, deadline: float | None = None
    ) -> dict[str, Row]:
        """The current rows of these ids (at most 300), by id; those that do not exist are missing.

        Lookup columns carry their table in an annotation, see shared/relations.py.
        """
        select = ",".join(sorted({key, *columns}))
        url = (
            f"{API}/{entity_set}?$select={select}"
            "&$filter=Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)"
            f"&@p1='{key}'&@p2={quote(json.dumps(list(ids), separators=(',', ':')))}"
        )
        return {str(row[key]).lower(): row async for row in self._pages(url, deadline)}

    async def all_rows(self, entity_set: str, columns: Iterable[str]) -> list[Row]:
        """Every row of a small table."""
        return [row async for row in self._pages(f"{API}/{entity_set}?$select={','.join(sorted(columns))}", None)]

    async def organization_id(self) -> str:
        """The id of the organisation that the credentials sign in to, lower case."""
        return str((await self.get(f"{API}/WhoAmI"))["OrganizationId"]).lower()

    async def get(self, url: str) -> Any:
        """The answer to any GET of the Web API (`url` from API on)."""
        return await self._call("GET", url, None)

    async def query(self, url: str) -> list[Row]:
        """All rows of any query of the Web API."""
        return [row async for row in self._pages(url, None)]

    async def write(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """POST, PATCH or DELETE of one row; gives the id of the row that a POST created. PATCH never creates one.

        Not tried again when nobody answered: the row may have been created.
        """
        response = await self._call(method, url, None, body=body, headers=headers)
        return str(response.get("id", ""))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def pages(self, url: str) -> AsyncIterator[list[Row]]:
        """The same, one page at a time."""
        while url:
            answer = await self.get(url)
            yield answer["value"]
            url = answer.get("@odata.nextLink", "")

    async def _pages(self, url: str, deadline: float | None) -> AsyncIterator[Row]:
        while url:
            answer = await self._call("GET", url, deadline)
            for row in answer["value"]:
                yield row
            url = answer.get("@odata.nextLink", "")

    async def _call(
        self,
        method: str,
        url: str,
        deadline: float | None,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request, tried again as its kind of error allows, never past `deadline` (of the injected clock)."""
        async with self._guard.call("dataverse") as most:
            return await self._tried(method, url, body, headers or {}, deadline, most=min(TRANSIENT_TRIES, most))

    async def _tried(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        deadline: float | None,
        *,
        most: int,
    ) -> Any:
        deadline = self._clock() + TIMEOUT_SECONDS if deadline is None else deadline
        refreshed = False
        tries = 0
        while True:
            token = await self._auth.token()
            try:
                with spans.calling("dataverse", method, url) as call:
                    return await self._send(method, url, token, body, headers, call=call)
            except DataverseError as error:
                tries += 1
                if error.kind is Kind.TOKEN and not refreshed:
                    refreshed = True
                    self._auth.refuse(token)
                    continue
                wait = _wait(error, tries, most)
                if wait is None or self._clock() + wait >= deadline or (method == "POST" and not error.retry_after):
                    raise
                log.info("dataverse_wait code=%s seconds=%.1f", error.code, wait)
                await self._sleep(wait)

    async def _send(
        self, method: str, url: str, token: str, body: Mapping[str, Any] | None, more: Mapping[str, str], *, call: Call
    ) -> Any:
        headers = {**_HEADERS, **more, "Authorization": f"Bearer {token}"}
        if method == "PATCH":
            headers["If-Match"] = "*"
        try:
            response = await self._http.request(method, url, headers=headers, json=body)
        except httpx.HTTPError as error:
            raise DataverseError("Unreachable", f"no answer: {type(error).__name__}", kind=Kind.TRANSIENT) from None
        call.answered(response.headers.get("x-ms-service-request-id", ""))
        if response.status_code == 204:
            created = _CREATED.search(response.headers.get("OData-EntityId", ""))
            return {"id": created.group(1).lower()} if created else {}
        if response.status_code == 200:
            try:
                return response.json()
            except ValueError:
                raise DataverseError("NotJson", "HTTP 200 without JSON", kind=Kind.TRANSIENT) from None
        raise _error(response)


def _wait(error: DataverseError, tries: int, most: int) -> float | None:
    if error.kind is Kind.THROTTLED:
        return error.retry_after or 5.0
    if error.kind is Kind.TRANSIENT and tries < most:
        return random.uniform(0.5, 1.0) * (1 << tries)  # noqa: S311  (jitter)
    return None


def _error(response: httpx.Response) -> DataverseError:
    try:
        error = response.json()["error"]
        code, message = str(error.get("code", "")), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = "", ""
    retry_after = response.headers.get("Retry-After", "")
    return DataverseError(
        codes.normalise(code) if code else f"HTTP {response.status_code}",
        message or f"HTTP {response.status_code}",
        kind=Kind.THROTTLED if response.status_code == 429 else codes.dataverse(code, response.status_code),
        retry_after=float(retry_after) if retry_after.replace(".", "", 1).isdigit() else None,
        request_id=response.headers.get("x-ms-service-request-id", ""),
    )
