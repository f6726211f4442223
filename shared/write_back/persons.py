"""Marketo's side: the persons that may have changed, and the values that persons have, 300 a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..marketo.answers import UNKNOWN_ANSWER
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.codes import Kind
from ..model.errors import MarketoError
from ..model.ids_and_times import guid, moment
from ..model.record import timestamp
from ..sync.routing import chunked
from .plan import KIND, PERSON, Plan

if TYPE_CHECKING:
    from ..azure.shared_state import State

log = logging.getLogger(__name__)

ROW = "changes"
#: Calls at a time: the sync needs the others.
READERS = 2
#: The first run looks back so far; a new token begins so long before what was read last.
OVERLAP = timedelta(minutes=5)
#: Marketo keeps these activities for 90 days (marketo.md 6.1).
RETENTION = timedelta(days=89)
#: A paging token that is expired, too old or not one: of the code there is no proof, so it is asked for once more.
_BAD_TOKEN = frozenset({"701", "704", "1001", "1003"})
_NO_SUCH_FIELD = frozenset({"1006"})
#: The user's role lacks Read-Only Activity: the sweep works all the same, so no circuit is opened.
_NOT_ALLOWED = frozenset({"603"})
_ANSWERED = _BAD_TOKEN | _NO_SUCH_FIELD | _NOT_ALLOWED

Values = Mapping[str, Any]
Cursors = Mapping[str, Mapping[str, str]]


class Persons:
    """Values of persons by the GUID in their key field; who has none, or another system's id, is left out."""

    def __init__(self, marketo: MarketoClient) -> None:
        self._marketo = marketo
        self._readers = asyncio.Semaphore(READERS)

    async def by(self, filter_type: str, values: Sequence[str], plan: Plan, deadline: float) -> dict[str, Values]:
        """Persons whose `filter_type` has one of these values. Raises MarketoError 1006 when a field is gone."""
        parts = await asyncio.gather(
            *(self._read(filter_type, part, plan, deadline) for part in chunked(values, MAX_FILTER_VALUES))
        )
        found: dict[str, Values] = {}
        for row in sorted((row for part in parts for row in part), key=lambda row: -int(row.get("id") or 0)):
            id_ = _guid(row.get(self.key))
            if id_:
                found[id_] = row  # of two with one key the older is meant
        return found

    @property
    def key(self) -> str:
        """The field that holds the GUID."""
        return self._marketo.key_of(PERSON)

    async def _read(self, filter_type: str, values: Sequence[str], plan: Plan, deadline: float) -> list[dict[str, Any]]:
        fields = ("id", self.key, *plan.fields)
        async with self._readers:
            return await self._marketo.read(
                PERSON, filter_type, values, fields,
                unique=filter_type != "email", refusals=_NO_SUCH_FIELD, deadline=deadline,
            )  # fmt: skip


@dataclass(slots=True)
class Changed:
    """Marketo's ids of persons that may have changed, some more than `enough` at most. `more`: there are others.

    `is_over`: whether the time is up in which pages are read.

    `cursors`: where each stream goes on once these are written. `lost`: the token was none, so some may be missing.
    """

    enough: int
    is_over: Callable[[], bool]
    ids: set[str] = field(default_factory=set)
    cursors: dict[str, dict[str, str]] = field(default_factory=dict)
    more: bool = False
    lost: bool = False


class Feed:
    """Two streams, each with a token of its own: Sales Insight's activities, and logged changes of its fields."""

    def __init__(self, marketo: MarketoClient, state: State, *, now: Callable[[], datetime]) -> None:
        self._marketo = marketo
        self._state = state
        self._now = now

    async def cursors(self) -> Cursors:
        """Where each stream goes on; none before the first run."""
        return await self._state.read(KIND, ROW)

    async def next(
        self, plan: Plan, cursors: Cursors, at_most: int, *, is_over: Callable[[], bool], deadline: float
    ) -> tuple[Changed, bool]:
        """The next persons, and whether the instance can tell changed fields. Raises MarketoError.

        Once the time `is_over`, each stream ends with the page at hand: long runs of pages that name nobody, as after
        the import of a list, are read in several runs.
        """
        changed, tells = Changed(at_most, is_over), bool(plan.logged)
        fresh = "" if cursors else await self._token(self._now() - OVERLAP, deadline)
        for stream, path in _streams(plan).items():
            cursor = cursors.get(stream) or {"token": fresh, "since": timestamp(self._now() - OVERLAP)}
            try:
                changed.cursors[stream] = await self._stream(path, cursor, changed, deadline)
            except MarketoError as error:
                if stream != "fields" or error.code not in _BAD_TOKEN | _NO_SUCH_FIELD:
                    raise
                log.warning("lead_changes_refused %s", error)
                tells = False
        return changed, tells

    async def store(self, cursors: Cursors) -> None:
        """What the pages so far have named is written."""
        if cursors:
            await self._state.change(KIND, ROW, lambda value: {**value, **cursors})

    async def _stream(self, path: str, cursor: Mapping[str, str], changed: Changed, deadline: float) -> dict[str, str]:
        """Read pages until there are no more, or enough, empty ones too. Gives where the stream goes on."""
        began = timestamp(self._now())
        token, renewed = cursor["token"], False
        while True:
            try:
                if not token:
                    raise MarketoError("1003", "no token yet", kind=Kind.CONFIGURATION)
                page = await self._marketo.get(
                    f"{path}&nextPageToken={quote(token)}", refusals=_ANSWERED, deadline=deadline
                )
            except MarketoError as error:
                if renewed or error.code not in _BAD_TOKEN:
                    raise
                renewed, changed.lost = True, changed.lost or bool(token)
                token = await self._token(moment(cursor.get("since")) or self._now(), deadline)
                log.warning("paging_token_renewed path=%s %s", path.partition("?")[0], error)
                continue
            changed.ids.update(str(entry["leadId"]) for entry in page.get("result") or [] if _counts(entry))
            token = str(page.get("nextPageToken") or token)
            more = bool(page.get("moreResult"))
            if not more or len(changed.ids) >= changed.enough or changed.is_over():
                changed.more |= more
                return {"token": token, "since": cursor["since"] if more else began}

    async def _token(self, since: datetime, deadline: float) -> str:
        since = max(since - OVERLAP, self._now() - RETENTION)
        path = f"/rest/v1/activities/pagingtoken.json?sinceDatetime={quote(timestamp(since))}"
        token = (await self._marketo.get(path, refusals=_ANSWERED, deadline=deadline)).get("nextPageToken")
        if not token or not isinstance(token, str):
            raise MarketoError(UNKNOWN_ANSWER, "no paging token in the answer", kind=Kind.TRANSIENT)
        return token


def _streams(plan: Plan) -> dict[str, str]:
    """The path of each stream that this instance has."""
    streams = {}
    if plan.activities:
        streams["activities"] = f"/rest/v1/activities.json?activityTypeIds={','.join(map(str, plan.activities))}"
    if plan.logged:
        streams["fields"] = f"/rest/v1/activities/leadchanges.json?fields={','.join(plan.logged)}"
    return streams


def _counts(entry: Mapping[str, Any]) -> bool:
    """Not a new lead: it has nothing of Sales Insight yet, and leadchanges gives all of them."""
    return bool(entry.get("leadId")) and entry.get("fields") != []


def _guid(value: object) -> str:
    try:
        return guid(value) or ""
    except ValueError:
        return ""
