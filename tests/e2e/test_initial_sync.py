"""`msisync initial-sync` and `quick-sync` as an operator uses them on a running system."""

import csv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local.harness import Made, Rows, System, eventually
from local.harness.commands import Ended, run_here
from local.harness.showing import way_to

CARRIER = "carry_on_runs"


class Operator:
    """Somebody with a terminal, and the app's minute timer."""

    def __init__(self, system: System) -> None:
        self.system = system

    async def types(self, *words: str) -> Ended:
        """Run a command within this process."""
        return await run_here(self.system.stack.settings_file, *words)

    async def sees(self, *words: str) -> Any:
        """What `msisync initial-sync status --json` says."""
        return (await self.types("initial-sync", "status", *words, "--json")).json

    async def waits_for(self, state: str, run: str) -> Any:
        """Let minutes pass until the run is in this state."""

        async def minute() -> Any:
            await self.system.run_timer(function=CARRIER)
            return await self.sees(run)

        return await eventually(minute, lambda seen: seen["state"] == state, what=f"{run} to be {state}", seconds=240)


@pytest.fixture
async def operator(system: System) -> AsyncIterator[Operator]:
    with way_to(system):
        yield Operator(system)


def these(rows: list[Made]) -> tuple[str, ...]:
    """Options that choose these contacts alone."""
    return "--only", "contact", "--query", " or ".join(f"contactid eq {row.id}" for row in rows)


async def test_existing_rows_are_planned_started_watched_and_reported(
    system: System, operator: Operator, rows: Rows, tmp_path: Path
) -> None:
    seller = rows.user()
    account = rows.account(seller)
    contacts = [rows.contact(account, seller) for _ in range(20)]
    kept_out = rows.contact(account, seller, new_synctomkto=False)
    await system.seed(rows)

    scope = these([*contacts, kept_out])
    plan = (await operator.types("initial-sync", "plan", *scope, "--json")).json
    assert plan["tables"]["contact"]["rows"] == 21
    assert plan["tables"]["contact"]["expected"] == {"created": 20}
    assert await system.record(contacts[0]) is None, "a plan writes nothing"

    started = await operator.types("initial-sync", "start", *scope, "--apply", "--anyway", "--json")
    run = started.json["started"]
    assert (started.code, run is not None) == (0, True)
    refused = await operator.types("initial-sync", "start", *scope, "--apply", "--anyway")
    assert (refused.code, run in refused.err) == (2, True)
    assert run in (await operator.types("status")).out

    seen = await operator.waits_for("complete", run)
    assert seen["tables"]["contact"]["created"] == 20
    assert seen["tables"]["contact"]["skipped"] == {"Filtered": 1}
    for record in await system.synced(*contacts):
        assert record["externalCompanyId"] == account.id
    assert await system.record(kept_out) is None
    shown = await operator.types("initial-sync", "status", run)
    assert (shown.code, "complete" in shown.out) == (0, True)

    file = tmp_path / "report.csv"
    report = await operator.types("initial-sync", "report", run, "--csv", str(file))
    assert (report.code, "Filtered" in report.out) == (0, True)
    with file.open(newline="") as lines:
        assert [(row["id"], row["reason"]) for row in csv.DictReader(lines)] == [(kept_out.id, "Filtered")]


async def test_a_paused_run_sends_nothing_until_it_is_resumed(system: System, operator: Operator, rows: Rows) -> None:
    contact = rows.contact(None, rows.user())
    await system.seed(rows)
    run = (await operator.types("initial-sync", "start", *these([contact]), "--apply", "--anyway", "--json")).json[
        "started"
    ]
    paused = await operator.types("initial-sync", "pause", run)
    assert (paused.code, "initial-sync resume" in paused.out) == (0, True)
    await system.run_timer(function=CARRIER)
    assert (await operator.sees(run))["tables"]["contact"]["read"] == 0
    assert (await operator.types("initial-sync", "status", run)).code == 1
    assert (await operator.types("initial-sync", "resume", run)).code == 0
    await operator.waits_for("complete", run)
    await system.synced(contact)


async def test_a_new_field_reaches_the_records_that_marketo_has_and_no_other_field_is_sent(
    system: System, operator: Operator, rows: Rows
) -> None:
    contact, stranger = (rows.contact(None, rows.user(), jobtitle="Baker") for _ in range(2))
    await system.save(rows, contact)
    await system.synced(contact)
    contact.values.update(jobtitle="Miller", firstname="Nobody was told")
    await system.seed(rows)
    counted = await operator.types("quick-sync", "contact", "--fields", "title", "--json")
    assert (counted.code, counted.json["fields"]) == (1, ["title"])
    started = await operator.types("quick-sync", "contact", "--fields", "title", "--apply", "--json")
    assert started.code == 0
    seen = await operator.waits_for("complete", started.json["started"])
    assert seen["tables"]["contact"]["skipped"]["NotInMarketo"] >= 1
    record = await system.changed(contact, title="Miller")
    assert record["firstName"] == "Pat"
    assert await system.record(stranger) is None
