"""Everything that a test does to a running stack, and every look that it takes from the outside."""

import json
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables.aio import TableClient

from emulators.dataverse.notifications import Notification, Origin, notification
from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS
from emulators.waiting import eventually
from local.harness.broker import Broker
from local.harness.rows import Made, Rows
from local.stack import Stack

#: Marketo's object and its key, by the Dynamics table that feeds it.
OBJECTS = {
    "systemuser": (SALES_PERSONS, "externalSalesPersonId"),
    "account": (COMPANIES, "externalCompanyId"),
    "contact": (LEADS, "externalPersonId"),
    "lead": (LEADS, "externalPersonId"),
    "opportunity": (OPPORTUNITIES, "externalOpportunityId"),
}
PARKED_TABLE = "parked"
_BROKER_PART = "service-bus"

Record = dict[str, Any]


@dataclass
class System:
    """A running stack and the clients that look at it. `functions` is the URL of the first Functions host."""

    stack: Stack
    http: httpx.AsyncClient
    endpoints: dict[str, Any]
    broker: Broker

    # -- doing --------------------------------------------------------------------------------------------------

    async def seed(self, rows: Rows) -> None:
        """Put rows into Dynamics, without notifications."""
        await self.dataverse("/seed", rows.seed_body())

    async def notify(self, *rows: Made, message: str = "Update") -> None:
        """Send the notification of one change for each row, in this order, as one burst."""
        await self.broker.post("changes", [body_of(row, message) for row in rows])

    async def save(self, rows: Rows, *changed: Made, message: str = "Update") -> None:
        """Put rows into Dynamics, which sends a notification of each of those that are named."""
        await self.seed(rows)
        await self.notify(*changed, message=message)

    async def run_timer(self, host: str = "a", *, function: str = "release_deferred", expect: int | None = 200) -> None:
        """Run a timer's function now and wait for its end."""
        url = f"{self.hosts[host]}/admin/functions/{function}"
        answer = await self.http.post(url, params={"wait": "1"}, headers=self._admin)
        assert expect in {answer.status_code, None}, answer.text  # noqa: S101

    async def delete_in_marketo(self, path: str, records: list[dict[str, Any]], **how: str) -> None:
        """Delete records as a person in Marketo would, or another client of its REST API."""
        given = self.endpoints["marketo"]
        tls = ssl.create_default_context(cafile=self.endpoints["ca_bundle"])
        async with httpx.AsyncClient(
            base_url=given["url"], proxy=self.endpoints["https_proxy"], verify=tls, trust_env=False
        ) as http:
            form = {"client_id": given["client_id"], "client_secret": given["client_secret"]}
            answer = await http.post("/identity/oauth/token", data={"grant_type": "client_credentials", **form})
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            deleted = (await http.post(f"/rest/v1/{path}/delete.json", json={**how, "input": records})).json()
        assert [result["status"] for result in deleted["result"]] == ["deleted"] * len(records), deleted  # noqa: S101

    async def dataverse(self, path: str, content: Any = None) -> Any:
        """Call the Dataverse simulator's control API: POST with content, else GET."""
        return await self._control("dataverse", path, content)

    async def marketo(self, path: str, content: Any = None) -> Any:
        """Call the Marketo simulator's control API: POST with content, else GET."""
        return await self._control("marketo", path, content)

    async def fault(self, kind: str, **details: Any) -> None:
        """Queue a fault in Marketo."""
        await self.marketo("/faults", {"kind": kind, **details})

    async def held(self, gate: str, *, count: int = 1, part: str = "marketo") -> None:
        """Wait until so many calls are held at a gate of Marketo (or `part="dataverse"`); see emulators/gates.py."""
        await self._control(part, f"/gates/{gate}/held?count={count}", None)

    async def let_go(self, gate: str, *, count: int = 0, part: str = "marketo") -> None:
        """Open a gate, and wait until so many in all have passed it."""
        await self._control(part, f"/gates/{gate}/open", {})
        await self._control(part, f"/gates/{gate}/passed?count={count}", None)

    async def forget_faults(self) -> None:
        """Drop all faults of Marketo and Dataverse that have not struck, and open all gates."""
        (await self.http.delete(f"{self.stack.control()['marketo']}/faults")).raise_for_status()
        await self.dataverse("/faults", [])

    async def dataverse_faults(self) -> list[dict[str, Any]]:
        """The faults of Dataverse that have not struck as often as they should."""
        nothing = {"match": "^$", "times": 0}  # the simulator tells its faults only to who adds one
        return [fault for fault in await self.dataverse("/faults", nothing) if fault["times"] > 0]

    async def clear_away(self) -> None:
        """Remove what an earlier test may have left: parked rows, and messages that wait.

        What is being worked on may come to its end, which is quicker than a new broker.
        """
        with suppress(AssertionError):
            await eventually(self._to_do_now, lambda active: not active, seconds=1)
        counts = await self.broker.counts()
        if any(
            count.waiting or count.dead for name, count in counts.items() if name != self.broker.queue("dead_letters")
        ):
            await self.stop_service_bus()
            await self.restart_service_bus()
        async with self.table() as table:
            for row in await self.parked():
                await table.delete_entity(row)

    async def _to_do_now(self) -> int:
        dead = self.broker.queue("dead_letters")
        return sum(count.active for name, count in (await self.broker.counts()).items() if name != dead)

    async def restart_service_bus(self) -> None:
        """Let the broker come back after it was stopped, with empty queues."""
        await self.broker.disconnect()
        await self.stack.start_part(_BROKER_PART)

    async def stop_service_bus(self) -> None:
        """Stop the broker; its messages are gone."""
        await self.broker.disconnect()
        await self.stack.stop_part(_BROKER_PART)

    # -- looking ------------------------------------------------------------------------------------------------

    async def records(self, table: str, *, of: Iterable[Made] | None = None) -> dict[str, Record]:
        """Marketo's records of what a Dynamics table feeds, by external key; `of` some rows only."""
        name, key = OBJECTS[table]
        found = await self.marketo(f"/records/{name}", None if of is None else {key: [made.id for made in of]})
        return {row[key]: row for row in found if row.get(key)}

    async def record(self, made: Made) -> Record | None:
        """Marketo's record of a row."""
        return (await self.records(made.table, of=[made])).get(made.id)

    async def synced(self, *rows: Made, seconds: float = 60.0) -> list[Record]:
        """Wait until Marketo has all of these rows, and return its records in the same order."""
        tables = {made.table for made in rows}
        missing = list(rows)

        async def look() -> list[Made]:
            nonlocal missing
            for table in tables:
                found = await self.records(table, of=[made for made in missing if made.table == table])
                missing = [made for made in missing if made.table != table or made.id not in found]
            return missing

        await eventually(look, lambda left: not left, seconds=seconds, what=f"{len(rows)} records in Marketo")
        records = {table: await self.records(table, of=rows) for table in tables}
        return [records[made.table][made.id] for made in rows]

    async def changed(self, made: Made, **fields: Any) -> Record:
        """Wait until Marketo's record of a row has these values, and return it."""

        def is_right(record: Record | None) -> bool:
            return record is not None and all(record.get(name) == value for name, value in fields.items())

        found = await eventually(lambda: self.record(made), is_right, what=f"{made.table} {fields}")
        return found or {}

    async def roles(self, deal: Made) -> list[Record]:
        """Marketo's roles of an opportunity."""
        return list(await self.marketo(f"/records/{ROLES}", {"externalOpportunityId": [deal.id]}))

    async def has_roles(self, deal: Made, *expected: tuple[Made, str], seconds: float = 60.0) -> list[Record]:
        """Wait until an opportunity has exactly these roles (person, role)."""

        async def look() -> list[tuple[str | None, str]]:
            roles = await self.roles(deal)
            leads = await self.marketo(f"/records/{LEADS}", {"id": [role["leadId"] for role in roles]})
            persons = {lead["id"]: lead.get("externalPersonId") for lead in leads}
            return sorted((persons.get(role["leadId"]), role["role"]) for role in roles)

        wanted = sorted((person.id, role) for person, role in expected)
        await eventually(look, lambda seen: seen == wanted, seconds=seconds, what=f"roles {wanted}")
        return await self.roles(deal)

    async def received(self, table: str) -> int:
        """How many records Marketo was sent for what a table feeds, since the start."""
        stats = await self.marketo("/stats")
        return int(stats["records"].get(OBJECTS[table][0], {}).get("received", 0))

    async def parked(self) -> list[dict[str, Any]]:
        """The rows of the table of parked records, both kinds."""
        async with self.table() as table:
            try:
                return [dict(row) async for row in table.list_entities()]
            except ResourceNotFoundError:
                return []

    async def nothing_parked(self, *, seconds: float = 10.0) -> None:
        """Wait until nobody waits, and nobody is asked for. That a parent will not come stays noted.

        A note that nobody needs any more is for the timer.
        """

        async def look() -> list[dict[str, Any]]:
            rows = [row for row in await self.parked() if row.get("State") != "will not come"]
            if rows and all(row["RowKey"].startswith("!") for row in rows):
                await self.run_timer(expect=None)
            return rows

        await eventually(look, lambda rows: not rows, seconds=seconds, what="an empty table of parked records")

    def table(self) -> TableClient:
        """A client of the table of parked records."""
        return TableClient.from_connection_string(self.endpoints["storage"]["connection_string"], PARKED_TABLE)

    async def have_table(self) -> None:
        """Make the table of parked records, as the app does when it parks the first one."""
        async with self.table() as table:
            with suppress(ResourceExistsError):
                await table.create_table()

    async def host_stats(self, host: str = "a") -> Any:
        """The counters of a Functions host."""
        answer = await self.http.get(f"{self.hosts[host]}/admin/local/stats", headers=self._admin)
        return answer.raise_for_status().json()

    async def reset_host_stats(self, host: str = "a") -> None:
        """Let a host's counters and peaks begin anew."""
        answer = await self.http.post(f"{self.hosts[host]}/admin/local/stats/reset", headers=self._admin)
        answer.raise_for_status()

    @property
    def hosts(self) -> dict[str, str]:
        """URLs of the Functions hosts by name."""
        urls: dict[str, str] = self.stack.control()["functions"]
        return urls

    @property
    def webhook_key(self) -> str:
        """The key that receive_webhook asks for."""
        return str(self.endpoints["functions"]["webhook_key"])

    @property
    def _admin(self) -> dict[str, str]:
        return {"x-functions-key": self.endpoints["functions"]["admin_key"]}

    async def _control(self, part: str, path: str, content: Any) -> Any:
        url = self.stack.control()[part] + path
        answer = await (self.http.get(url) if content is None else self.http.post(url, json=content))
        return answer.raise_for_status().json()


def body_of(made: Made, message: str = "Update", **parts: Any) -> bytes:
    """The notification of a change of a row, as Dataverse writes it."""
    return notification_of(made, message, **parts).json().encode()


def notification_of(made: Made, message: str = "Update", **parts: Any) -> Notification:
    """The same with its properties and headers. `parts` go to `notifications.notification`."""
    origin = parts.pop("origin", None) or Origin(at=time.time())
    return notification(message, made.table, made.row(), origin, **parts)


@asynccontextmanager
async def running_system(directory: Path, *, copied: bool = True, **options: Any) -> AsyncIterator[System]:
    """Run a stack in `directory`; `options` are Stack's. Measurements have no copied workers: nor has production."""
    async with (
        Stack(directory=directory, empty=True, copied=copied, **options) as stack,
        httpx.AsyncClient(trust_env=False, timeout=300) as http,
    ):
        endpoints = json.loads(stack.endpoints_file.read_text())
        bus = endpoints["service_bus"]
        broker = Broker(bus["connection_string"], bus["queues"], http)
        try:
            yield System(stack, http, endpoints, broker)
        finally:
            await broker.disconnect()
