"""A tracked table and an app that looks for missed changes in it, whose processes can be cut off at each step."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.virtual import MemoryTable
from shared.azure.shared_state import State, parsed
from shared.model.codes import Kind
from shared.model.entities import ALL_TABLES, TABLES, Table
from shared.model.errors import DataverseError
from shared.model.record import Record
from shared.sync.missed_changes import MissedChanges
from shared.sync.missed_changes_place import Place
from shared.sync.synced_versions import GONE, SyncedVersions
from tests.support.values import NOON, guid

ACCOUNTS = ALL_TABLES["account"]
PAGE = 2
#: They come after all rows: added to their versions.
DELETIONS = 1_000_000


class KilledError(BaseException):
    """The process ends here."""


class World:
    """A table with change tracking, the shared state and the queues, whose steps can be counted and cut off.

    `die_at`: the step, from 1 on, that is the last one of the process; `after`: its effect is still there.
    """

    def __init__(self, source: Table = ACCOUNTS) -> None:
        self.source = source
        self.table = MemoryTable(seconds=0)
        self.rows: dict[str, int] = {}
        self.deleted: dict[str, int] = {}
        self.values: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.oldest_token = 0
        self.tracked = True
        self.asked: list[str] = []
        self.errors: list[Exception] = []
        self.taken: list[Record] = []
        self.compared: list[str] = []
        self.now = NOON
        self.seconds = 0.0
        self.steps, self.die_at, self.after = 0, 0, False

    # -- Dynamics

    def write(self, *numbers: int, **values: Any) -> None:
        for number in numbers:
            self.version += 1
            self.rows[guid(number)] = self.version
            self.deleted.pop(guid(number), None)
            self.values[guid(number)] = values

    def delete(self, number: int) -> None:
        self.version += 1
        if self.rows.pop(guid(number), None):
            self.deleted[guid(number)] = self.version

    async def user_id(self) -> str:
        return guid(77)

    async def is_tracked(self, _table: str) -> bool:
        return self.tracked

    async def answer(self, link: str, _headers: Any, *, deadline: float | None = None) -> dict[str, Any]:
        assert deadline is not None
        self.asked.append(link)
        if self.errors:
            raise self.errors.pop(0)
        given_ = {name: int(found[0]) for name, found in parse_qs(urlsplit(link).query).items() if "token" in name}
        since, start = given_.get("$deltatoken"), given_.get("starttoken", self.version)
        if since is not None and since < self.oldest_token:
            raise DataverseError("0x80060892", "expired", kind=Kind.CONFIGURATION)
        told = [(v, id_, True) for id_, v in self.rows.items() if v > (since or 0)]
        told += [(DELETIONS + v, id_, False) for id_, v in self.deleted.items() if since is not None and v > since]
        left = sorted(each for each in told if each[0] > given_.get("skiptoken", 0))
        page, rest = left[:PAGE], left[PAGE:]
        base = f"/api/data/v9.2/{self.source.entity_set}?"
        found = {"value": [self._row(*each) for each in page]}
        if not rest:
            return await self._answered({**found, "@odata.deltaLink": f"{base}$deltatoken={start}"})
        more = f"$deltatoken={since}&" if since is not None else ""
        link = f"{base}{more}skiptoken={page[-1][0]}&starttoken={start}"
        return await self._answered({**found, "@odata.nextLink": link})

    async def _answered(self, found: dict[str, Any]) -> dict[str, Any]:
        await self._step(lambda: None)
        return found

    def path_of(self, link: str | None) -> str:
        return link or ""

    def _row(self, version: int, id_: str, there: bool) -> dict[str, Any]:
        if not there:
            return {"@odata.context": "…#accounts/$deletedEntity", "id": id_.upper(), "reason": "deleted"}
        return {"@odata.etag": f'W/"{version}"', self.source.key: id_.upper(), **self.values[id_]}

    # -- the app

    async def take_up(self, records: Sequence[Record], opportunities: Sequence[Record]) -> None:
        def take() -> None:
            self.taken += records
            self.compared += [record.id for record in opportunities]

        await self._step(take)

    async def _step(self, effect: Callable[[], Any]) -> Any:
        self.steps += 1
        dies = self.steps == self.die_at
        if dies and not self.after:
            raise KilledError
        done = effect()
        if dies:
            raise KilledError
        return done

    def state(self) -> State:
        state = State(self.table)
        swap = state.swap

        async def stepped(kind: str, name: str, etag: str, value: Any) -> str:
            if not self.after and self.steps + 1 == self.die_at:
                await self._step(lambda: None)
            written = await swap(kind, name, etag, value)
            await self._step(lambda: None)
            return written

        state.swap = stepped  # type: ignore[method-assign]
        return state

    def versions(self) -> SyncedVersions:
        return SyncedVersions(self.state(), now=lambda: self.now)

    def process(self, **more: Any) -> MissedChanges:
        itself: Any = self
        return MissedChanges(
            state=self.state(), dataverse=itself, metadata=itself, versions=self.versions(), sources=[self.source],
            take_up=self.take_up, clock=lambda: self.seconds, now=lambda: self.now, **{"time_budget": 180.0, **more},
        )  # fmt: skip

    async def tick(self, **more: Any) -> None:
        await self.process(**more).tick()

    async def synced(self, *numbers: int) -> None:
        """The live path has read these rows as they are."""
        read = {(self.source.name, guid(number)): self.rows.get(guid(number), GONE) for number in numbers}
        await self.versions().note(TABLES[self.source.name][0].name, read, {}, {})

    async def place(self) -> Place:
        found = parsed(Place, await self.state().read("missed_changes", self.source.name))
        assert found
        return found

    @property
    def sent(self) -> list[str]:
        return [f"{record.operation} {int(record.id[-4:], 16)}" for record in self.taken]
