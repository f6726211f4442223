"""The changes of a burst: how many of what, and in which order."""

import pytest

from local.bench.burst import enqueue_times
from local.bench.population import DISORDER, LEAST_RECORDS, ORDERS, TIERS, ordered_changes, size_of, world_of
from local.world.model import LOOKUP_TABLE, Reference, World

RECORDS = 2000


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(RECORDS)


def inversions(world: World, changes: list[Reference]) -> list[int]:
    """How far each parent comes after a child of it, for all that do."""
    places = {change: place for place, change in enumerate(changes)}
    found = []
    for child, place in places.items():
        row = world.rows[child[0]][child[1]]
        parents = [
            (table, row[key.removesuffix(LOOKUP_TABLE)]) for key, table in row.items() if key.endswith(LOOKUP_TABLE)
        ]
        late = [places[parent] - place for parent in parents if parent in places and parent[0] != child[0]]
        found += [distance for distance in late if distance > 0]
    return found


def test_twenty_thousand_changes_have_the_shares_of_the_documented_burst() -> None:
    size = size_of(20_000)
    assert (size.users, size.accounts, size.persons, size.opportunities) == (60, 2_000, 11_940, 3_000)
    assert size.connections * 2 == 3_000


@pytest.mark.parametrize("records", [LEAST_RECORDS, RECORDS])
def test_a_world_has_exactly_as_many_changes_as_asked_for(records: int) -> None:
    assert len(world_of(records).synced()) == records


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_has_every_change_once_and_is_the_same_each_time(world: World, order: str) -> None:
    changes = ordered_changes(world, order)
    assert sorted(changes) == sorted(world.synced())
    assert changes == ordered_changes(world_of(RECORDS), order)


def test_in_an_import_parents_come_first_but_for_neighbours_that_change_places(world: World) -> None:
    late = inversions(world, list(ordered_changes(world, "import")))
    assert late
    # Places are shuffled within the window, and ties of the shuffle may add a few more.
    assert max(late) < 1.2 * DISORDER


def test_an_import_mixes_the_entities_along_its_whole_length(world: World) -> None:
    changes = ordered_changes(world, "import")
    quarters = [changes[start : start + RECORDS // 4] for start in range(0, RECORDS, RECORDS // 4)]
    for quarter in quarters:
        assert {"account", "contact", "lead", "opportunity", "connection"} <= {table for table, _ in quarter}


def test_in_the_worst_order_every_child_comes_before_every_parent(world: World) -> None:
    tiers = [TIERS[table] for table, _ in ordered_changes(world, "worst")]
    assert tiers == sorted(tiers, reverse=True)


def test_changes_get_the_time_of_the_batch_that_carried_them() -> None:
    changes = [("account", "a"), ("account", "b"), ("contact", "c")]
    assert enqueue_times(changes, [(10.0, 2), (11.5, 1)]) == dict(zip(changes, (10.0, 10.0, 11.5), strict=True))
