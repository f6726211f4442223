"""What a burst is made of: a world of so many changed rows, and the order in which their changes are posted."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from local.world.build import build
from local.world.model import LOOKUP_TABLE, SYNCED_TABLES, Reference, Row, Size, World

#: Within so many changes of an import anything may overtake anything: Dataverse posts from many workers.
DISORDER = 200
#: When every row has been changed again.
LATER = "2026-11-01T09:00:00Z"
#: The smallest world with every special case in it.
LEAST_RECORDS = 600
#: Rows of these tables come after the rows of tables before them.
TIERS: Mapping[str, int] = {
    "systemuser": 0, "account": 1, "contact": 2, "lead": 2, "opportunity": 3, "connection": 4
}  # fmt: skip


def size_of(records: int) -> Size:
    """The share of each table in so many changes; a connection is two of them, its two mirrored rows.

    20,000 changes are 60 users, 2,000 accounts, 11,940 leads and contacts, 3,000 opportunities, 1,500 connections.
    """
    users = max(10, round(records * 0.003))
    accounts, opportunities, connections = round(records * 0.1), round(records * 0.15), round(records * 0.075)
    persons = records - users - accounts - opportunities - 2 * connections
    return Size(users=users, accounts=accounts, persons=persons, opportunities=opportunities, connections=connections)


def world_of(records: int, seed: int = 1) -> World:
    """The world of a burst, in which no row has anything that Marketo refuses. Nobody has changed the rows yet: they
    have just been imported.

    Raises ValueError for fewer than LEAST_RECORDS.
    """
    world = build(seed, size_of(records), troubles=False)
    for rows in world.rows.values():
        for row in rows.values():
            if "modifiedon" in row:
                row["modifiedon"] = row["createdon"]
    return world


def known_addresses(world: World, count: int) -> list[str]:
    """The e-mail addresses of so many persons, each of which no other person has, evenly spread."""
    persons = [row for table in ("contact", "lead") for row in world.rows[table].values()]
    times = Counter(str(row.get("emailaddress1") or "").lower() for row in persons)
    unique = sorted(address for address, number in times.items() if address and number == 1)
    return unique[:: max(1, len(unique) // count)][:count] if count else []


def edited(world: World) -> None:
    """Somebody has changed every row since it was made."""
    for rows in world.rows.values():
        for row in rows.values():
            if "modifiedon" in row:
                row["modifiedon"] = LATER


def in_import_order(world: World, chance: random.Random) -> list[Reference]:
    """As a bulk import makes them: users, then account by account with its people, deals and connections.

    A row with parents in several blocks comes in the last of them. Then neighbours change places, by up to DISORDER.
    """
    accounts = {account: number for number, account in enumerate(world.rows["account"])}
    blocks: dict[str, float] = {}
    for table in sorted(SYNCED_TABLES, key=lambda name: TIERS[name]):
        for row_id, row in world.rows[table].items():
            block = accounts.get(row_id)
            blocks[row_id] = _block_of_parents(table, row, blocks) if block is None else block
            if table != "systemuser" and blocks[row_id] < 0:
                blocks[row_id] = chance.randrange(len(accounts))
    ordered = sorted(world.synced(), key=lambda reference: (blocks[reference[1]], TIERS[reference[0]]))
    places = {reference: place + chance.uniform(0, DISORDER) for place, reference in enumerate(ordered)}
    return sorted(ordered, key=places.__getitem__)


def _block_of_parents(table: str, row: Row, blocks: Mapping[str, float]) -> float:
    """The number of the last account that the row comes after; -1 when it belongs to none."""
    parents = [blocks[row_id] for above, row_id in _lookups(row) if TIERS.get(above, 9) < TIERS[table]]
    return max(parents, default=-1)


def _lookups(row: Row) -> list[Reference]:
    suffix = len(LOOKUP_TABLE)
    return [(table, row[key[:-suffix]]) for key, table in row.items() if key.endswith(LOOKUP_TABLE) and table]


def shuffled(world: World, chance: random.Random) -> list[Reference]:
    """In no order at all."""
    return chance.sample(world.synced(), len(world.synced()))


def children_first(world: World, chance: random.Random) -> list[Reference]:
    """The worst: every connection before every opportunity, and so on down to the users."""
    return sorted(shuffled(world, chance), key=lambda reference: -TIERS[reference[0]])


ORDERS: Mapping[str, Callable[[World, random.Random], list[Reference]]] = {
    "import": in_import_order,
    "shuffled": shuffled,
    "worst": children_first,
}


def ordered_changes(world: World, order: str) -> Sequence[Reference]:
    """The changes of a world in one of ORDERS, the same for the same world."""
    return ORDERS[order](world, random.Random(world.seed))  # noqa: S311  (an order, the same for the same seed)
