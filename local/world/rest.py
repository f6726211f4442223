"""Reads Marketo back through its REST API, as any client would: over TLS by its real name, 300 records a call."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from local.world.compare import Fields, Report, compare
from local.world.expectations import KEY_FIELDS, Expectations, Key
from local.world.model import SYNCED_TABLES

PATHS = {
    "sales_person": "salespersons",
    "company": "companies",
    "person": "leads",
    "opportunity": "opportunities",
    "opportunity_role": "opportunities/roles",
}
ROLE_FIELDS = ("externalOpportunityId", "leadId", "role", "externalCreatedDate")
MAX_VALUES = 300
# Marketo: 100 calls in 20 seconds and 10 at once, shared by everybody.
CALLS_PER_WINDOW, WINDOW_SECONDS, CONCURRENCY = 80, 20.0, 4
_TRY_LATER = {"604": 1.0, "606": WINDOW_SECONDS, "608": 1.0, "615": 0.5, "713": 1.0}
_TRIES = 6


class ReadError(Exception):
    """Marketo refuses a query. The message has its code and text."""


class MarketoReader:
    """A client that only reads. `endpoints` is the content of the stack's endpoints.json.

    Its calls count against the same limits as the product's: it stays below them and waits where it is refused.
    """

    def __init__(
        self, endpoints: Mapping[str, Any], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.calls = 0
        self._marketo = endpoints["marketo"]
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            base_url=self._marketo["url"],
            proxy=endpoints["https_proxy"],
            verify=ssl.create_default_context(cafile=endpoints["ca_bundle"]),
            trust_env=False,
            timeout=60.0,
        )
        self._recent: deque[float] = deque()
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._token = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def records(self, expectations: Expectations) -> dict[str, list[tuple[Key, Fields]]]:
        """Marketo's records of everything that is expected, or expressly not expected, with all mapped fields.

        Raises ReadError when Marketo refuses a query.
        """
        found: dict[str, list[tuple[Key, Fields]]] = {}
        for entity, key in KEY_FIELDS.items():
            fields = _fields_of(expectations, entity)
            rows = await self.query(entity, key, _keys(expectations, entity), fields)
            found[entity] = [(str(row.get(key)), row) for row in rows]
        persons = {row["id"]: key for key, row in found["person"]}
        rows = await self.query(
            "opportunity_role", "externalOpportunityId", _keys(expectations, "opportunity"), ROLE_FIELDS
        )
        found["opportunity_role"] = [(_role_key(row, persons), row) for row in rows]
        return found

    async def query(
        self, entity: str, filter_type: str, values: Iterable[str], fields: Iterable[str]
    ) -> list[dict[str, Any]]:
        """Every record of an entity that has one of the values, with these fields."""
        wanted = list(values)
        names = ",".join(fields)
        parts = (wanted[start : start + MAX_VALUES] for start in range(0, len(wanted), MAX_VALUES))
        pages = await asyncio.gather(*(self._pages(entity, filter_type, part, names) for part in parts))
        return [row for page in pages for row in page]

    async def _pages(self, entity: str, filter_type: str, values: Sequence[str], fields: str) -> list[dict[str, Any]]:
        form = {"filterType": filter_type, "filterValues": ",".join(values), "fields": fields, "batchSize": "300"}
        rows: list[dict[str, Any]] = []
        while True:
            answer = await self._call(f"/rest/v1/{PATHS[entity]}.json?_method=GET", form)
            page = answer.get("result") or []
            rows += page
            # Marketo: the last page may carry a token as well.
            if not page or not answer.get("nextPageToken"):
                return rows
            form["nextPageToken"] = answer["nextPageToken"]

    async def _call(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        for _ in range(_TRIES):
            async with self._slots:
                await self._pace()
                headers = {"Authorization": f"Bearer {await self._authorised()}"}
                response = await self._http.post(path, data=dict(form), headers=headers)
                self.calls += 1
            answer: dict[str, Any] = response.raise_for_status().json()
            if answer.get("success"):
                return answer
            error = (answer.get("errors") or [{}])[0]
            if error.get("code") in {"601", "602"}:
                self._token = ""
            elif error.get("code") in _TRY_LATER:
                await self._sleep(_TRY_LATER[error["code"]])
            else:
                break
        msg = f"{path}: {error.get('code')} {error.get('message')}"
        raise ReadError(msg)

    async def _pace(self) -> None:
        while True:
            now = time.monotonic()
            while self._recent and self._recent[0] <= now - WINDOW_SECONDS:
                self._recent.popleft()
            if len(self._recent) < CALLS_PER_WINDOW:
                self._recent.append(now)
                return
            await self._sleep(self._recent[0] + WINDOW_SECONDS - now)

    async def _authorised(self) -> str:
        if not self._token:
            form = {
                "grant_type": "client_credentials",
                "client_id": self._marketo["client_id"],
                "client_secret": self._marketo["client_secret"],
            }
            response = await self._http.post("/identity/oauth/token", data=form)
            self._token = response.raise_for_status().json()["access_token"]
        return self._token


async def verify(expectations: Expectations, endpoints: Mapping[str, Any]) -> Report:
    """Read Marketo and compare it with what is expected. `endpoints` is the content of endpoints.json."""
    async with MarketoReader(endpoints) as marketo:
        return compare(expectations, await marketo.records(expectations))


def _keys(expectations: Expectations, entity: str) -> list[str]:
    """The keys of an entity's expected records and of its rows that must not be there."""
    absent = (row_id for table, row_id in expectations.absent if SYNCED_TABLES[table][1] == entity)
    return list(dict.fromkeys([*map(str, expectations.records[entity]), *absent]))


def _fields_of(expectations: Expectations, entity: str) -> list[str]:
    names = dict.fromkeys(name for record in expectations.records[entity].values() for name in record.fields)
    if entity == "person":
        names["id"] = None
    names[KEY_FIELDS[entity]] = None
    return list(names)


def _role_key(row: Mapping[str, Any], persons: Mapping[int, Key]) -> Key:
    person = persons.get(row["leadId"], f"Marketo lead {row['leadId']}")
    return (row["externalOpportunityId"], str(person), row["role"])
