"""The world: the same for the same seed, with every special case in it, and fit for the organisation's schema."""

from collections import Counter

import pytest

from emulators.dataverse import seeding
from emulators.dataverse.environment import Environment
from local.world import FULL, SMALL, Size, World, build
from local.world.model import LOOKUP_TABLE, reference


@pytest.fixture(scope="module")
def world() -> World:
    return build(3, SMALL)


def test_the_same_seed_gives_the_same_rows() -> None:
    assert build(7, SMALL).rows == build(7, SMALL).rows
    assert build(7, SMALL).rows["contact"].keys() != build(8, SMALL).rows["contact"].keys()


@pytest.mark.parametrize("troubles", [True, False])
@pytest.mark.parametrize("size", [SMALL, FULL])
def test_it_has_the_size_that_was_asked_for(size: Size, troubles: bool) -> None:
    rows = build(1, size, troubles=troubles).rows
    assert len(rows["systemuser"]) == size.users
    assert len(rows["account"]) == size.accounts
    assert len(rows["lead"]) + len(rows["contact"]) == size.persons
    assert len(rows["opportunity"]) == size.opportunities
    assert len(rows["connection"]) == 2 * size.connections


def test_no_row_says_whether_it_is_to_be_synced(world: World) -> None:
    """An explicit No would mean "do not sync"."""
    assert not [row for rows in world.rows.values() for row in rows.values() if row.get("new_synctomkto") is not None]


def test_a_size_without_room_for_the_special_cases_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        build(1, Size(users=3, accounts=20, persons=120, opportunities=30, connections=60))


def test_dataverse_takes_every_row_as_it_is() -> None:
    """Types, lengths, choices, states and references are checked by the simulator, which also makes the mirrors."""
    world = build(1, FULL)
    environment = Environment()
    seeding.reset(environment)
    seeding.seed(environment, world.seed_body())
    for table, rows in world.rows.items():
        for row_id, row in rows.items():
            stored = environment.store.get(table, row_id)
            assert stored is not None
            differing = {name for name, value in row.items() if stored.get(name) != value}
            assert differing <= {"fullname"}, (table, row_id)  # the platform derives it
    assert len(environment.store.rows["connection"]) == len(world.rows["connection"])


def test_each_connection_is_two_rows_that_mirror_each_other(world: World) -> None:
    rows = world.rows["connection"]
    for row_id, row in rows.items():
        mirror = rows[row["_relatedconnectionid_value"]]
        assert mirror["_relatedconnectionid_value"] == row_id
        assert mirror["ismaster"] != row["ismaster"]
        assert reference(mirror, "record1id") == reference(row, "record2id")
        assert mirror["_record1roleid_value"] == row["_record2roleid_value"]
        assert mirror["createdon"] == row["createdon"]


def test_owners_are_users_of_every_kind_and_teams(world: World) -> None:
    owners = Counter(
        reference(row, "ownerid") for table in ("account", "lead", "contact", "opportunity")
        for row in world.rows[table].values()
    )  # fmt: skip
    users = [world.rows["systemuser"][owner[1]] for owner in owners if owner and owner[0] == "systemuser"]
    assert {user["isdisabled"] for user in users} == {True, False}
    assert any(user["applicationid"] for user in users)
    assert any(user["accessmode"] == 4 for user in users)
    assert any(not user["internalemailaddress"] for user in users)
    assert {owner[1] for owner in owners if owner and owner[0] == "team"} == world.rows["team"].keys()


def test_contacts_have_every_kind_of_parent(world: World) -> None:
    contacts = world.rows["contact"]

    def way_up(contact: str) -> tuple[int, str]:
        """How many contacts lie between this one and its end, and what that end is."""
        steps, seen = 0, {contact}
        parent = reference(contacts[contact], "parentcustomerid")
        while parent and parent[0] == "contact":
            if parent[1] in seen:
                return 0, "circle"
            seen.add(parent[1])
            steps += 1
            parent = reference(contacts[parent[1]], "parentcustomerid")
        return steps, "account" if parent else "nothing"

    assert {way_up(contact) for contact in contacts} >= {
        (0, "account"), (1, "account"), (2, "account"), (3, "account"), (0, "nothing"), (1, "nothing"), (0, "circle"),
    }  # fmt: skip


def test_texts_reach_beyond_marketo_and_beyond_ascii(world: World) -> None:
    assert any(len(user["firstname"]) > 255 for user in world.rows["systemuser"].values())
    assert any(len(row["name"] or "") > 255 for row in world.rows["opportunity"].values())
    assert any(len(row["name"]) > 50 for row in world.rows["connectionrole"].values())
    assert any(not row["lastname"].isascii() for row in world.rows["lead"].values())
    assert any(row["emailaddress1"] is None for row in world.rows["contact"].values())


def test_without_troubles_marketo_has_nothing_to_refuse() -> None:
    world = build(1, SMALL, troubles=False)
    assert not world.troubled_account
    mails = [row["emailaddress1"] for table in ("lead", "contact") for row in world.rows[table].values()]
    assert all(mail is None or (mail.isascii() and "@" in mail) for mail in mails)
    assert all(row["name"] for row in world.rows["opportunity"].values())


def test_only_its_own_children_refer_to_the_troubled_account(world: World) -> None:
    rows = [row for table in world.rows.values() for row in table.values()]
    names = [name.removesuffix(LOOKUP_TABLE) for row in rows for name in row if name.endswith(LOOKUP_TABLE)]
    children = {id(row) for row in rows for name in names if row.get(name) == world.troubled_account}
    assert len(children) == 3  # a contact, a lead, an opportunity; one more contact is below that contact
