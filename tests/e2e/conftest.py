"""One running stack for the tests that break nothing for good, and a clean table for each of them."""

import sys
from collections.abc import AsyncIterator

import pytest

from emulators.dataverse.seeding import fixed_id
from emulators.marketo.switches import Switches
from local.harness import Made, Rows, System, running_system
from local.harness.secrets import secrets_in_logs
from local.parts import MarketoLimits
from local.world import words

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]

#: Seconds that a host's messages of dynamics-changes stay locked when it is killed.
CHANGES_LOCK_SECONDS = 5
#: Timers run when a test asks for it, waiting times are short, and Marketo's budget is not what is tested.
ENVIRONMENT = {
    "RELEASE_SCHEDULE": "0 0 0 1 1 *",
    "RECONCILE_SCHEDULE": "0 0 0 1 1 *",
    "WRITE_BACK_SCHEDULE": "0 0 0 1 1 *",
    "RUN_SCHEDULE": "0 0 0 1 1 *",
    "BURST_WINDOW_SECONDS": "1",
    "PARENT_CHECK_SECONDS": "1",
    "CIRCUIT_SECONDS": "1",
    "MARKETO_LONGEST_CALL_SECONDS": "3",
    "MARKETO_DAILY_CALLS": "1000000",
    "MARKETO_CALLS_PER_20_SECONDS": "100",
    "AzureFunctionsJobHost__extensions__serviceBus__sessionIdleTimeout": "00:00:01",
}
LIMITS = MarketoLimits(calls_per_20s=10_000, concurrency=100, daily=1_000_000)

#: Files with a stack of their own, which one process runs from start to end. The longest are begun first.
LONGEST = (
    *("test_demo", "test_reconcile", "test_runs", "test_missed_changes", "test_day_share", "test_deletes"),
    *("test_lifecycle_policies", "test_write_back_faults", "test_changed_schemas", "test_write_back"),
    *("test_session_locks", "test_doctor_breakages", "test_hosted_console"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the others stay in their order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests of the shared stack go to any process, which has its own; those of a file with a stack stay together.

    Said here, early, for xdist reads the groups in `pytest_collection_modifyitems`.
    """
    if "shared_system" not in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
async def shared_system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(
        tmp_path_factory.mktemp("e2e"),
        marketo=LIMITS,
        functions_environment=ENVIRONMENT,
        queues={"dynamics-changes": {"lock_seconds": CHANGES_LOCK_SECONDS}},
    ) as running:
        # The roles that connections of tests may have.
        roles = [
            {"connectionroleid": fixed_id("connectionrole", name), "name": name, "category": category}
            for name, category in (*words.ROLES, words.SALES_TEAM_ROLE, words.OWN_ROLE)
        ]
        await running.dataverse("/seed", {"connectionrole": roles})
        yield running
        found = await secrets_in_logs(running)
        assert not found, f"the hosts have logged {found}"


@pytest.fixture
async def system(shared_system: System) -> AsyncIterator[System]:
    """The shared stack with every part running, no faults, all switches in their usual place, no dead letters."""
    running = shared_system
    for name, part in running.stack.parts.items():
        if not part.running and (name == "functions-a" or not name.startswith("functions-")):
            await running.stack.start_part(name)
    await running.marketo("/switches", Switches().as_json())
    await running.forget_faults()
    unseen = {"secured_columns": {}, "hidden_rows": [], "no_bulk": [], "commit_gate": "", "renamed_options": {}}
    await running.dataverse("/switches", {"sign_in_errors": {}, **unseen})
    await running.clear_away()
    await running.broker.forget_dead_letters()
    yield running
    duplicates = (await running.marketo("/stats"))["duplicates"]["leads"]["externalPersonId"]
    assert not duplicates, f"Marketo has persons twice: {duplicates}"


@pytest.fixture
def rows() -> Rows:
    """Rows of Dynamics that a test makes; none at first."""
    return Rows()


async def persons(system: System, count: int = 12) -> list[Made]:
    """So many contacts of an account that is in Marketo already."""
    rows = Rows()
    account = rows.account(rows.user())
    await system.save(rows, account)
    await system.synced(account)
    made = [rows.contact(account) for _ in range(count)]
    await system.seed(rows)
    return made
