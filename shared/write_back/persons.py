"""Marketo's side: the persons that may have changed, and the values that persons have, 300 a call."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from ..azure.shared_state import State
from ..marketo.answers import UNKNOWN_ANSWER
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.codes import Kind
from ..model.errors import MarketoError
from ..model.ids_and_times import as_guid, moment
from ..model.record import timestamp
from ..sync.routing import chunked
from .plan import KIND, PERSON, Plan

log = logging.getLogger(__name__)

ROW = "changes"
#: Calls at a time: the sync needs the others.
READERS = 2
#: The first run looks back so far; a new token begins so long before what was read last.
OVERLAP = timedelta(minutes=5)
#: Deletions are read so often: nothing waits for them.
DELETIONS_EVERY = timedelta(hours=1)
#: Marketo keeps these activities for 90 days (marketo.md 6.1), and may forget deletions after 14.
RETENTION = timedelta(days=89)
#: A paging token that is expired, too old or not one: of the code there is no proof, so it is asked for once more.
_BAD_TOKEN = frozenset({"701", "704", "1001", "1003"})
_NO_SUCH_FIELD = frozenset({"1006"})
#: Beside these, 603: without Read-Only Activity in the user's role the sweep works, so no circuit is opened.
_ANSWERED = _BAD_TOKEN | _NO_SUCH_FIELD | {"603"}

#: The type of a deletion, the only one whose stream is not asked for by type (marketo.md 6.1).
DELETE_LEAD = 37
#: The attribute of a merge that names the persons that are gone.
MERGE_IDS = "Merge IDs"
_ID = re.compile(r"\b[1-9][0-9]{0,17}\b")

Values = Mapping[str, Any]
Cursors = Mapping[str, Mapping[str, str]]


@dataclass
class Persons:
    """Values of persons by the GUID in their key field; who has none, or another system's id, is left out."""

    marketo: MarketoClient
    _readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READERS), init=False)

    async def by(
        self, filter_type: str, values: Sequence[str], plan: Plan, deadline: float, more: Iterable[str] = ()
    ) -> dict[str, Values]:
        """Persons whose `filter_type` has one of these values. Raises MarketoError 1006 when a field is gone.

        `more`: fields that are read beside the plan's.
        """
        unique, fields = filter_type != "email", list(dict.fromkeys(("id", self.key, *plan.fields, *sorted(more))))

        async def read(part: Sequence[str]) -> list[dict[str, Any]]:
            async with self._readers:
                return await self.marketo.read(
                    PERSON, filter_type, part, fields, unique=unique, refusals=_NO_SUCH_FIELD, deadline=deadline
                )

        parts = await asyncio.gather(*map(read, chunked(values, MAX_FILTER_VALUES)))
        rows = sorted((row for part in parts for row in part), key=lambda row: -int(row.get("id") or 0))
        # Of two with one key the older is meant.
        return {id_: row for row in rows if (id_ := as_guid(str(row.get(self.key) or "")))}

    @property
    def key(self) -> str:
        """The field that holds the GUID."""
        return self.marketo.key_of(PERSON)


@dataclass(slots=True)
class Changed:
    """Marketo's ids of persons that may have changed, some more than `enough` at most. `more`: there are others.

    `is_over`: whether the time is up in which pages are read.

    `merged`: those of them that others were merged into, each with those others. `deleted`: ids of persons that were
    deleted; they are not among the others.

    `cursors`: where each stream goes on once these are written. `lost`: the token was none, so some may be missing.
    """

    enough: int
    is_over: Callable[[], bool]
    ids: set[str] = field(default_factory=set)
    merged: dict[str, set[str]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    cursors: dict[str, dict[str, str]] = field(default_factory=dict)
    more: bool = False
    lost: bool = False

    def take(self, entry: Mapping[str, Any], merges: int) -> None:
        """Learn from an activity; `merges`: the type of those that tell of a merge."""
        type_, person = entry.get("activityTypeId"), str(entry["leadId"])
        if type_ == DELETE_LEAD:
            self.deleted.add(person)
            return
        self.ids.add(person)
        if merges and type_ == merges:
            self.merged.setdefault(person, set()).update(_losers(entry))


@dataclass(frozen=True)
class Feed:
    """Three streams, each with a token of its own: Sales Insight's activities and merges, logged changes of its fields,
    and deletions.
    """

    marketo: MarketoClient
    state: State
    _: KW_ONLY
    now: Callable[[], datetime]

    async def cursors(self) -> Cursors:
        """Where each stream goes on; none before the first run."""
        return await self.state.read(KIND, ROW)

    async def next(
        self, plan: Plan, cursors: Cursors, at_most: int, *, is_over: Callable[[], bool], deadline: float
    ) -> tuple[Changed, bool]:
        """The next persons, and whether the instance can tell changed fields. Raises MarketoError.

        Once the time `is_over`, each stream ends with the page at hand: long runs of pages that name nobody, as after
        the import of a list, are read in several runs.
        """
        changed, tells = Changed(at_most, is_over), bool(plan.logged)
        fresh = "" if cursors else await self._token(self.now() - OVERLAP, deadline)
        for stream, path in _streams(plan).items():
            cursor = cursors.get(stream) or {"token": fresh, "since": timestamp(self.now() - OVERLAP)}
            if stream == "deletions" and cursors.get(stream) and not self._is_time(cursor):
                continue
            try:
                changed.cursors[stream] = await self._stream(path, cursor, changed, plan.merges, deadline)
            except MarketoError as error:
                if stream != "fields" or error.code not in _BAD_TOKEN | _NO_SUCH_FIELD:
                    raise
                log.warning("lead_changes_refused %s", error)
                tells = False
        return changed, tells

    async def store(self, cursors: Cursors) -> None:
        """What the pages so far have named is written."""
        if cursors:
            await self.state.change(KIND, ROW, lambda value: {**value, **cursors})

    def _is_time(self, cursor: Mapping[str, str]) -> bool:
        """Whether the last page was read long enough ago; or in the future, by a clock that was wrong."""
        since = moment(cursor.get("since"))
        return since is None or abs(self.now() - since) >= DELETIONS_EVERY

    async def _stream(
        self, path: str, cursor: Mapping[str, str], changed: Changed, merges: int, deadline: float
    ) -> dict[str, str]:
        """Read pages until there are no more, or enough, empty ones too. Gives where the stream goes on."""
        began = timestamp(self.now())
        token, renewed = cursor["token"], False
        while True:
            try:
                if not token:
                    raise MarketoError("1003", "no token yet", kind=Kind.CONFIGURATION)
                page = await self.marketo.get(
                    f"{path}&nextPageToken={quote(token)}", refusals=_ANSWERED, deadline=deadline
                )
            except MarketoError as error:
                if renewed or error.code not in _BAD_TOKEN:
                    raise
                renewed, changed.lost = True, changed.lost or bool(token)
                token = await self._token(moment(cursor.get("since")) or self.now(), deadline)
                log.warning("paging_token_renewed path=%s %s", path.partition("?")[0], error)
                continue
            for entry in filter(_counts, page.get("result") or []):
                changed.take(entry, merges)
            token = str(page.get("nextPageToken") or token)
            more = bool(page.get("moreResult"))
            if not more or len(changed.ids) >= changed.enough or changed.is_over():
                changed.more |= more
                return {"token": token, "since": cursor["since"] if more else began}

    async def _token(self, since: datetime, deadline: float) -> str:
        since = max(since - OVERLAP, self.now() - RETENTION)
        path = f"/rest/v1/activities/pagingtoken.json?sinceDatetime={quote(timestamp(since))}"
        token = (await self.marketo.get(path, refusals=_ANSWERED, deadline=deadline)).get("nextPageToken")
        if not token or not isinstance(token, str):
            raise MarketoError(UNKNOWN_ANSWER, "no paging token in the answer", kind=Kind.TRANSIENT)
        return token


def _streams(plan: Plan) -> dict[str, str]:
    """The path of each stream that this instance has."""
    types = (*plan.activities, *([plan.merges] if plan.merges else ()))
    activities, logged = ",".join(map(str, types)), ",".join(plan.logged)
    return {
        **({"activities": f"/rest/v1/activities.json?activityTypeIds={activities}"} if activities else {}),
        **({"fields": f"/rest/v1/activities/leadchanges.json?fields={logged}"} if logged else {}),
        **({"deletions": "/rest/v1/activities/deletedleads.json?batchSize=300"} if plan.merges else {}),
    }


def _losers(entry: Mapping[str, Any]) -> set[str]:
    """Who was merged away: a list of ids in JSON, by Adobe Experience Platform's mapping of activity 32."""
    attributes = entry.get("attributes") or []
    return {id_ for each in attributes if each.get("name") == MERGE_IDS for id_ in _ID.findall(str(each.get("value")))}


def _counts(entry: Mapping[str, Any]) -> bool:
    """Not a new lead: it has nothing of Sales Insight yet, and leadchanges gives all of them."""
    return bool(entry.get("leadId")) and entry.get("fields") != []
