"""Rows are deleted in Dynamics: Marketo follows as sync.toml says, also when the worker is killed, up to the brake."""

import json
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from local.harness import Made, Rows, System, eventually, running_system
from local.harness.operating import command_line
from local.harness.showing import settings_of, way_to
from shared.cli.command import Command, Exit, Result
from shared.cli.context import Context
from shared.cli.doctor import notes
from shared.cli.doctor.runner import Subject
from shared.cli.lifecycle import COMMAND as RELEASE
from shared.cli.show.command import COMMAND as SHOW
from shared.cli.status.command import COMMAND as STATUS
from shared.dataverse.client import API
from shared.model.entities import TABLES

DELETES = "/rest/v1/leads/delete.json"
BRAKE = 20
#: Timers run when a test asks for it, and waiting times are short.
ENVIRONMENT = {
    "RELEASE_SCHEDULE": "0 0 0 1 1 *",
    "RECONCILE_SCHEDULE": "0 0 0 1 1 *",
    "WRITE_BACK_SCHEDULE": "0 0 0 1 1 *",
    "BURST_WINDOW_SECONDS": "1",
    "CIRCUIT_SECONDS": "1",
    "MARKETO_LONGEST_CALL_SECONDS": "3",
    "MARKETO_CALLS_PER_20_SECONDS": "100",
}


def own_config(directory: Path) -> Path:
    """The default sync.toml; persons and companies are deleted, and a lower brake."""
    text = Path("sync.toml").read_text(encoding="utf-8")
    for usual, ours in (
        ('# person = "unlink"', 'person = "delete" #'),
        ('company = "keep" ', 'company = "delete" '),
        ("delete_brake = 500", f"delete_brake = {BRAKE}"),
    ):
        assert usual in text
        text = text.replace(usual, ours, 1)
    config = directory / "own.toml"
    config.write_text(text, encoding="utf-8")
    return config


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    directory = tmp_path_factory.mktemp("deletes")
    environment = {**ENVIRONMENT, "SYNC_CONFIG": str(own_config(directory))}
    async with running_system(
        directory / "stack", functions_environment=environment, queues={"dynamics-changes": {"lock_seconds": 5}}
    ) as running:
        yield running


@contextmanager
def context_of(system: System) -> Iterator[Context]:
    """An operator of this stack."""
    with way_to(system):
        yield Context({**settings_of(system), "SYNC_CONFIG": str(system.stack.settings_file.parents[1] / "own.toml")})


async def run(system: System, command: Command, *arguments: str) -> Result:
    with context_of(system) as context:
        given: Namespace = command_line(command, *arguments)
        try:
            return await command.run(context, given, Console(quiet=True))
        finally:
            await context.close()


async def delete(system: System, *rows: Made) -> None:
    """Delete these rows in Dynamics, with the notifications of that."""
    with context_of(system) as context:
        for made in rows:
            await context.dataverse.write("DELETE", f"{API}/{TABLES[made.table][1].entity_set}({made.id})")
        await context.close()
    await system.notify(*rows, message="Delete")


async def there(system: System, *rows: Made) -> set[str]:
    found: set[str] = set()
    for table in {made.table for made in rows}:
        found |= (await system.records(table, of=[made for made in rows if made.table == table])).keys()
    return found


async def gone(system: System, *rows: Made) -> None:
    await eventually(lambda: there(system, *rows), lambda left: not left, seconds=60, what="deletions in Marketo")


async def people(system: System, count: int) -> list[Made]:
    """Contacts that are in Marketo, with their account."""
    rows = Rows()
    account = rows.account(rows.user())
    persons = [rows.contact(account) for _ in range(count)]
    await system.save(rows, *rows)
    await system.synced(*rows, seconds=120)
    await system.broker.idle()
    return [account, *persons]


async def calls(system: System, path: str) -> int:
    stats = await system.marketo("/stats")
    return int(sum(stats["calls"].get(path, {}).get("POST", {}).values()))


async def test_the_worker_is_killed_after_the_delete_and_before_its_answer(own: System) -> None:
    account, *persons = await people(own, 12)
    await own.fault("hang", path=DELETES, verb="POST", when="after", seconds=60)
    await delete(own, *persons[:10])
    await gone(own, *persons[:10])
    await own.stack.kill_functions()
    await own.stack.start_functions()
    await own.broker.idle(seconds=60)
    assert await there(own, account, *persons) == {made.id for made in (account, *persons[10:])}
    assert not await own.broker.dead_letters()


async def test_an_opportunity_goes_with_its_roles_and_a_company_after_its_persons(own: System) -> None:
    rows = Rows()
    account = rows.account()
    contact, deal = rows.contact(account), rows.opportunity(account)
    rows.connection(deal, contact, "Decision Maker")
    await own.seed(rows)
    await own.notify(*rows)
    await own.synced(account, contact, deal)
    await eventually(lambda: own.roles(deal), what="a role")
    await delete(own, deal)
    await gone(own, deal)
    assert await own.roles(deal) == []
    await own.stack.kill_functions(function="sync_persons")
    await delete(own, contact, account)
    # Marketo keeps the company as long as its person is there.
    path = "/rest/v1/companies/delete.json"
    await eventually(lambda: calls(own, path), what="a look whether the company is in use")
    assert await there(own, account, contact) == {account.id, contact.id}
    await own.stack.start_functions(function="sync_persons")
    await gone(own, contact)
    await gone(own, account)
    assert not await own.broker.dead_letters()


async def test_the_brake_stops_what_is_too_much_until_an_operator_releases_it(own: System) -> None:
    _, *persons = await people(own, BRAKE + 10)
    await delete(own, *persons)
    await eventually(own.broker.dead_letters, lambda found: len(found) >= 10, seconds=60, what="dead letters")
    await own.broker.idle(seconds=60)
    letters = await own.broker.dead_letters()
    left = await there(own, *persons)
    assert {letter.code for letter in letters} == {"DeleteBrake"}
    assert len(letters) == len(left) >= 10
    status = await run(own, STATUS)
    assert status.exit is Exit.ATTENTION
    assert status.data["delete_brakes"]["person"]["stopped"] == len(letters)
    with context_of(own) as context:
        (check,) = (check for check in notes.CHECKS if check.id == "deletions")
        found = await check.run(Subject(context))
        assert "brake is on" in found.text
        await context.close()
    shown = await run(own, SHOW, left.copy().pop())
    assert shown.data["verdict"]["code"] == "DeadLettered"
    dry = await run(own, RELEASE, "person")
    assert (dry.exit, dry.data["selected"], dry.data["lifted"]) == (Exit.ATTENTION, len(letters), False)
    assert len(await there(own, *persons)) == len(left)
    released = await run(own, RELEASE, "person", "--apply")
    assert (released.exit, released.data["went"], released.data["lifted"]) == (Exit.OK, len(letters), True)
    json.dumps(dict(released.data))
    await gone(own, *persons)
    await own.broker.idle()
    status = await run(own, STATUS)
    assert (status.data["delete_brakes"], status.data["dead_letters"]["total"]) == ({}, 0)
    assert (await run(own, RELEASE, "person")).exit is Exit.OK
