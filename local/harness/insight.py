"""People whom both systems have, and what Sales Insight finds out about them: for tests of the write-back."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableClient

from emulators.marketo.activities import CHANGE_SCORE, INTERESTING_MOMENT
from emulators.marketo.objects import LEADS
from local.harness.rows import Made, Rows
from local.harness.system import System
from shared.write_back.due import DUE

TIMER = "write_back_msi"
#: The columns of lead and contact by the guide's names of Marketo's fields, as the simulated organisation has them.
COLUMNS = {
    "msiLastInterestingMomentType": "new_last_interesting_moment_type",
    "msiLastInterestingMomentDate": "new_last_interesting_moment_date",
    "msiLastInterestingMomentDesc": "new_last_interesting_moment_desc",
    "msiLastInterestingMomentSource": "new_last_interesting_moment_source",
    "priority": "new_priority",
    "relativeUrgency": "new_urgency_value",
    "relativeScoring": "new_relative_score_value",
}
_STATE_TABLE = "state"
_KIND = "write_back"


@dataclass
class Calls:
    """What both systems were asked meanwhile, counted by them: Marketo's calls by path, Dataverse's by request."""

    marketo: dict[str, int] = field(default_factory=dict)
    dataverse: dict[str, int] = field(default_factory=dict)

    @property
    def of_marketo(self) -> int:
        """All REST calls of Marketo."""
        return sum(self.marketo.values())

    @property
    def of_dataverse(self) -> int:
        """All HTTP requests to the Web API."""
        return sum(self.dataverse.values())


@dataclass(frozen=True)
class Insight:
    """A running system and the write-back in it."""

    system: System

    # -- doing --------------------------------------------------------------------------------------------------

    async def know(self, *people: Made, **fields: Any) -> list[int]:
        """Give Marketo persons for these rows, which are in Dynamics; their ids there."""
        persons = [{"externalPersonId": made.id, "email": made.values["emailaddress1"], **fields} for made in people]
        return list((await self.system.marketo("/seed", {LEADS: persons}))[LEADS])

    async def people(self, count: int, table: str = "contact", **fields: Any) -> list[Made]:
        """So many rows that both systems have."""
        rows = Rows()
        made = [rows.contact() if table == "contact" else rows.lead() for _ in range(count)]
        await self.system.seed(rows)
        await self.know(*made, **fields)
        return made

    async def moment(self, person: Made, kind: str = "Web", text: str = "Looked at prices", **more: Any) -> None:
        """Let a person have an interesting moment."""
        details = {"primaryAttributeValue": kind, "attributes": {"Description": text, "Source": "Visit"}, **more}
        activity = {"externalPersonId": person.id, "activityTypeId": INTERESTING_MOMENT, **details}
        await self.system.marketo("/activities", activity)

    async def score(self, *people: Made, **calculated: Any) -> None:
        """Let scores change, and what Marketo calculates of them."""
        score = {"activityTypeId": CHANGE_SCORE, "primaryAttributeValue": "Lead Score", "recalculated": calculated}
        await self.system.marketo("/activities", [{**score, "externalPersonId": made.id} for made in people])

    async def recalculate(self, *people: Made, **calculated: Any) -> None:
        """Let Marketo calculate tiers as it does at night, without an activity."""
        await self.system.marketo("/recalculate", [{"externalPersonId": made.id, **calculated} for made in people])

    async def run(self, host: str = "a") -> None:
        """Let the timer's function run now."""
        await self.system.run_timer(host, function=TIMER)

    async def change_state(self, name: str, **values: Any) -> None:
        """Change what the app remembers, such as when its last sweep was: tests cannot wait a night."""
        async with self._state() as table:
            row = await table.get_entity(_KIND, name)
            row["Value"] = json.dumps({**json.loads(row["Value"]), **values})
            await table.upsert_entity(row)

    async def forget_due(self) -> None:
        """Let nothing be left of rows that could not be written: their time would come in the middle of a test."""
        async with self._state() as table:
            with suppress(ResourceNotFoundError):  # nothing is kept yet
                async for row in table.query_entities(f"PartitionKey eq '{DUE}'"):
                    await table.delete_entity(row)

    # -- looking ------------------------------------------------------------------------------------------------

    async def rows(self, people: Iterable[Made]) -> dict[Made, Mapping[str, Any]]:
        """The rows of Dynamics as they are."""
        wanted = list(people)
        found = {
            (table, row[f"{table}id"]): row
            for table in {made.table for made in wanted}
            for row in await self.system.dataverse(f"/rows/{table}")
        }
        return {made: found[made.table, made.id] for made in wanted}

    async def values(self, person: Made) -> dict[str, Any]:
        """What a person's row has of Sales Insight, by the guide's names."""
        row = (await self.rows([person]))[person]
        return {name: row.get(column) for name, column in COLUMNS.items()}

    async def scores(self, people: Iterable[Made]) -> list[Any]:
        """The relative scores that these rows have."""
        column = COLUMNS["relativeScoring"]
        return [row.get(column) for row in (await self.rows(people)).values()]

    async def state(self, name: str = "") -> dict[str, Any]:
        """What the app remembers of the write-back, by name, or one of it."""
        async with self._state() as table:
            try:
                rows = [row async for row in table.query_entities(f"PartitionKey eq '{_KIND}'")]
            except ResourceNotFoundError:
                rows = []
        found = {row["RowKey"]: json.loads(row["Value"]) for row in rows}
        return dict(found.get(name, {})) if name else found

    async def runs(self) -> list[dict[str, Any]]:
        """The last runs, the newest first."""
        return list((await self.state("runs")).get("runs", []))

    @asynccontextmanager
    async def counted(self) -> AsyncIterator[Calls]:
        """Count at both systems what comes meanwhile; the counts are there at the end."""
        calls = Calls()
        await self.system.marketo("/stats/reset", {})
        await self.system.dataverse("/stats/reset", {})
        yield calls
        by_path = (await self.system.marketo("/stats"))["calls"]
        calls.marketo.update(
            {path: sum(sum(results.values()) for results in verbs.values()) for path, verbs in by_path.items()}
        )
        calls.dataverse.update((await self.system.dataverse("/stats"))["calls"])

    def _state(self) -> TableClient:
        connection = self.system.endpoints["storage"]["connection_string"]
        return TableClient.from_connection_string(connection, _STATE_TABLE)
