"""Dataverse's Web API, as far as the product uses it: rows by id, small tables, choice labels, who am I."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from shared import codes
from shared.codes import Kind
from shared.dataverse.auth import DataverseAuth
from shared.errors import DataverseError

log = logging.getLogger(__name__)

API = "/api/data/v9.2"
#: Ids in one In query: 300 of them take 14 KB of the 32 KB of URL (dataverse.md 4.3).
MAX_IDS = 300
TRANSIENT_TRIES = 3
TIMEOUT_SECONDS = 60.0

Row = dict[str, Any]
Sleep = Callable[[float], Awaitable[None]]

_HEADERS = {
    "Accept": "application/json",
    "OData-Version": "4.0",
    "OData-MaxVersion": "4.0",
    "If-None-Match": "null",
    "Prefer": 'odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"',
}
_CHOICE_KINDS = ("Picklist", "State", "Status", "MultiSelectPicklist", "Boolean")
_OPTIONS = {
    "Picklist": "OptionSet($select=Options),GlobalOptionSet($select=Options)",
    "MultiSelectPicklist": "OptionSet($select=Options),GlobalOptionSet($select=Options)",
    "Boolean": "OptionSet($select=TrueOption,FalseOption)",
}


class DataverseClient:
    """Reads of one environment, authorised, tried again where that helps, classified where it does not."""

    def __init__(
        self, http: httpx.AsyncClient, auth: DataverseAuth, *, clock: Callable[[], float], sleep: Sleep
    ) -> None:
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

    async def labels(self, table: str, columns: frozenset[str], language: int) -> dict[str, dict[int, str]]:
        """Choice labels by column and value, in `language`, else in any language that has one (dataverse.md 8)."""
        labels: dict[str, dict[int, str]] = {}
        for kind in _CHOICE_KINDS:
            if columns <= labels.keys():
                break
            answer = await self._get(
                f"{API}/EntityDefinitions(LogicalName='{table}')/Attributes"
                f"/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?$select=LogicalName&$expand="
                + _OPTIONS.get(kind, "OptionSet($select=Options)"),
                None,
            )
            for attribute in answer["value"]:
                if attribute["LogicalName"] in columns:
                    options = attribute.get("OptionSet") or attribute.get("GlobalOptionSet") or {}
                    both = [option for name in ("TrueOption", "FalseOption") if (option := options.get(name))]
                    labels[attribute["LogicalName"]] = {
                        option["Value"]: _label(option["Label"], language) for option in options.get("Options") or both
                    }
        return labels

    async def organization_id(self) -> str:
        """The id of the organisation that the credentials sign in to, lower case."""
        return str((await self._get(f"{API}/WhoAmI", None))["OrganizationId"]).lower()

    async def _pages(self, url: str, deadline: float | None) -> Any:
        while url:
            answer = await self._get(url, deadline)
            for row in answer["value"]:
                yield row
            url = answer.get("@odata.nextLink", "")

    async def _get(self, url: str, deadline: float | None) -> Any:
        """One GET, tried again as its kind of error allows, never past `deadline` (of the injected clock)."""
        deadline = self._clock() + TIMEOUT_SECONDS if deadline is None else deadline
        refreshed = False
        tries = 0
        while True:
            token = await self._auth.token()
            try:
                return await self._send(url, token)
            except DataverseError as error:
                tries += 1
                if error.kind is Kind.TOKEN and not refreshed:
                    refreshed = True
                    self._auth.refuse(token)
                    continue
                wait = _wait(error, tries)
                if wait is None or self._clock() + wait >= deadline:
                    raise
                log.info("dataverse_wait code=%s seconds=%.1f", error.code, wait)
                await self._sleep(wait)

    async def _send(self, url: str, token: str) -> Any:
        try:
            response = await self._http.get(url, headers={**_HEADERS, "Authorization": f"Bearer {token}"})
        except httpx.HTTPError as error:
            raise DataverseError("Unreachable", f"no answer: {type(error).__name__}", kind=Kind.TRANSIENT) from None
        if response.status_code == 200:
            try:
                return response.json()
            except ValueError:
                raise DataverseError("NotJson", "HTTP 200 without JSON", kind=Kind.TRANSIENT) from None
        raise _error(response)


def _wait(error: DataverseError, tries: int) -> float | None:
    if error.kind is Kind.THROTTLED:
        return error.retry_after or 5.0
    if error.kind is Kind.TRANSIENT and tries < TRANSIENT_TRIES:
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


def _label(label: Mapping[str, Any], language: int) -> str:
    localized = label.get("LocalizedLabels") or []
    wanted = [entry["Label"] for entry in localized if entry.get("LanguageCode") == language]
    user = (label.get("UserLocalizedLabel") or {}).get("Label")
    return str(next(iter(wanted), None) or user or next((e["Label"] for e in localized), ""))
