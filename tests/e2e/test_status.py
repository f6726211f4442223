"""`msisync pause`, `status`, `resume` and `resync` as an operator uses them on a running system."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from emulators.marketo.objects import LEADS
from local.harness import Made, Rows, System, eventually
from local.harness.commands import Ended, run, run_here, start
from local.harness.showing import way_to


class Operator:
    """Somebody with a terminal."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._settings = system.stack.settings_file

    async def types(self, *words: str) -> Ended:
        """Run a command within this process."""
        return await run_here(self._settings, *words)

    async def looks(self) -> tuple[int, Any]:
        """`msisync status --json`, in a process of its own: exit code and what it says."""
        ended = await run(self._settings, "status", "--json")
        return ended.code, ended.json

    async def watches(self, frames: int) -> tuple[int, str]:
        """`msisync status --watch`, until Ctrl-C after so many frames."""
        process = await start(self._settings, "status", "--watch", "1")
        assert process.stdout
        seen = ""
        async with asyncio.timeout(300):
            while seen.count(" UTC\n") < frames:
                seen += (await process.stdout.readline()).decode().replace(" \n", "\n").rstrip(" ")
            process.send_signal(signal.SIGINT)
            await process.communicate()
        return process.returncode or 0, seen


@pytest.fixture
async def operator(system: System) -> AsyncIterator[Operator]:
    with way_to(system):
        yield Operator(system)
    await system.broker.set_status("person", "Active")


async def waiting(system: System, queue: str, number: int) -> None:
    counts = system.broker.counts
    name = system.broker.queue(queue)
    await eventually(
        counts, lambda seen: seen[name].active + seen[name].scheduled == number, what=f"{number} messages in {name}"
    )


async def rename(system: System, contact: Made, name: str) -> None:
    contact.values["firstname"] = name
    await system.dataverse("/seed", {"contact": [contact.row()]})
    await system.notify(contact)


async def test_a_pause_keeps_changes_until_it_ends(system: System, operator: Operator, rows: Rows) -> None:
    seller = rows.user()
    contact = rows.contact(None, seller)
    await system.save(rows, contact)
    await system.synced(contact)
    await system.broker.idle()

    paused = await operator.types("pause", "person")
    assert (paused.code, "resume person\n" in paused.out) == (0, True)  # with the invocation in use before it
    assert (await operator.types("pause", "person")).code == 0
    await rename(system, contact, "Paused")
    await waiting(system, "person", 1)
    code, seen = await operator.looks()
    person = seen["entities"]["person"]
    assert code == 1
    assert (person["status"], person["oldest_unknown"]) == ("ReceiveDisabled", "paused")
    assert person["waiting"] + person["scheduled"] == 1
    (told,) = (each for each in seen["attention"] if each["what"] == "persons is paused")
    assert told["remedy"].endswith(" resume person")
    assert (seen["verdict"]["code"], "persons is paused" in seen["verdict"]["sentence"]) == ("NeedsAttention", True)
    assert (person["last_hour"]["synced"] > 0, seen["entities"]["sales_person"]["last_hour"]["synced"] > 0) == (
        True,
        True,
    )
    assert (seen["not_looked_at"], seen["entities"]["company"]["waiting"]) == ({}, 0)
    record = await system.record(contact)
    assert record
    assert record["firstName"] != "Paused"

    resumed = await operator.types("resume")
    assert (resumed.code, "persons: active" in resumed.out) == (0, True)
    await system.changed(contact, firstName="Paused")
    await system.broker.idle()
    code, text = await operator.watches(2)
    assert code in (0, 1)  # earlier tests may have left something that needs attention
    assert "persons ‖" not in text
    assert "calls are used" in text


async def test_a_record_changed_in_marketo_by_hand_is_put_right(system: System, operator: Operator, rows: Rows) -> None:
    contact = rows.contact(firstname="Right")
    await system.save(rows, contact)
    (record,) = await system.synced(contact)
    await system.broker.idle()
    url = f"{system.stack.control()['marketo']}/records/{LEADS}"

    async def change_by_hand() -> None:
        answer: httpx.Response = await system.http.patch(url, json=[{"id": record["id"], "firstName": "By hand"}])
        answer.raise_for_status()

    await change_by_hand()
    shown = await operator.types("resync", "contact", "--query", f"contactid eq {contact.id}", "--json")
    assert (shown.code, shown.json["records"], shown.json["applied"]) == (1, {"contact": 1}, False)
    await system.changed(contact, firstName="By hand")
    await system.notify(contact)
    await system.changed(contact, firstName="Right")  # what was sent before is not what Marketo has

    await change_by_hand()
    unknown = Rows().contact()
    sent = await operator.types("resync", "person", f"{{{contact.id.upper()}}}", unknown.id, "--json")
    assert (sent.code, sent.json["records"], sent.json["unknown"]) == (1, {"contact": 1}, [unknown.id])
    await system.changed(contact, firstName="Right")
