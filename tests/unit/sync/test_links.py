"""Who is the sales person, which is the company, what is the role: the rules, and the rows that are read for them."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.config.conditions import Row
from shared.config.sync_toml import OwnerPolicy, SyncConfig
from shared.model.entities import Table
from shared.model.outcome import Parent, Skipped
from shared.sync.links import Reference, Rules, User, lookup, skip_user
from shared.sync.lookups import FRESH_SECONDS, KEEP_SECONDS, References
from shared.sync.reference_state import Versions
from tests.support.values import guid, to

USER, TEAM, ADMIN, FIXED, ACCOUNT, OTHER_ACCOUNT, CONTACT, LEAD, OPPORTUNITY, ROLE = map(guid, range(1, 11))
GOOD = User(has_mail=True)


def owner(policy: OwnerPolicy, table: str, id_: str, **users: User | None) -> str | None:
    """The sales person of a row that this user or team owns."""
    known = {USER: users.get("user"), ADMIN: users.get("admin")}
    rules = Rules(policy, "Stakeholder", users=known, administrators={TEAM: ADMIN if "admin" in users else None})
    parent = rules.sales_person(to("_ownerid_value", table, id_))
    assert parent is None or (parent.entity, parent.table) == ("sales_person", "systemuser")
    return parent.id if parent else None


def test_a_lookup_is_its_table_and_its_id_in_lower_case() -> None:
    assert lookup(to("_ownerid_value", "team", "ABCDEF00-0000-0000-0000-000000000000"), "_ownerid_value") == (
        "team",
        "abcdef00-0000-0000-0000-000000000000",
    )
    assert lookup({"_ownerid_value": None}, "_ownerid_value") is None
    assert lookup({}, "_ownerid_value") is None


@pytest.mark.parametrize(
    ("user", "by_policy"),
    [
        (User(has_mail=True, disabled=True), {"none": None, "keep": USER, "fixed": FIXED}),
        (User(has_mail=False), {"none": None, "keep": None, "fixed": FIXED}),
        (None, {"none": None, "keep": None, "fixed": FIXED}),
    ],
    ids=["disabled", "without mail or application user", "gone"],
)
def test_for_an_unusable_user_stands_whom_the_policy_says(user: User | None, by_policy: dict[Any, str | None]) -> None:
    for policy, expected in by_policy.items():
        assert owner(OwnerPolicy(unusable_user=policy, fixed=FIXED), "systemuser", USER, user=user) == expected


def test_for_a_team_may_stand_nobody_or_a_fixed_user() -> None:
    assert owner(OwnerPolicy(team="none"), "team", TEAM, admin=GOOD) is None
    assert owner(OwnerPolicy(team="fixed", fixed=FIXED), "team", TEAM, admin=GOOD) == FIXED


def company(table: str, row: Row, **parents: Reference | None) -> str | None:
    known = {guid(int(name[1:])): parent for name, parent in parents.items()}
    parent = Rules(OwnerPolicy(), "x", contact_parents=known).company(table, row)
    assert parent is None or (parent.entity, parent.table) == ("company", "account")
    return parent.id if parent else None


def test_the_company_of_a_lead_is_the_account_that_it_is_linked_to() -> None:
    assert company("lead", to("_parentaccountid_value", "account", ACCOUNT)) == ACCOUNT
    assert company("lead", {"_parentaccountid_value": None}) is None


def test_the_company_of_a_contact_is_its_account_also_up_a_chain_of_contacts() -> None:
    column = "_parentcustomerid_value"
    assert company("contact", to(column, "account", ACCOUNT)) == ACCOUNT
    assert company("contact", to(column, "contact", guid(20)), _20=("account", ACCOUNT)) == ACCOUNT
    chain: dict[str, Reference | None] = {"_20": ("contact", guid(21)), "_21": ("contact", guid(22))}
    assert company("contact", to(column, "contact", guid(20)), **chain, _22=("account", ACCOUNT)) == ACCOUNT


def test_a_contact_whose_chain_ends_runs_in_a_circle_or_is_too_long_has_no_company() -> None:
    row = to("_parentcustomerid_value", "contact", guid(20))
    assert company("contact", row, _20=None) is None
    assert company("contact", row) is None
    assert company("contact", row, _20=("contact", guid(21)), _21=("contact", guid(20))) is None
    long: dict[str, Reference | None] = {f"_{n}": ("contact", guid(n + 1)) for n in range(20, 23)}
    assert company("contact", row, **long, _23=("account", ACCOUNT)) is None


def test_an_opportunity_has_the_company_that_its_contact_has_however_long_the_chain_may_be() -> None:
    chain: dict[str, Reference | None] = {f"_{n}": ("contact", guid(n + 1)) for n in range(20, 23)}
    of_contact = to("_parentcustomerid_value", "contact", guid(21))
    of_opportunity = to("_customerid_value", "contact", guid(20))
    assert company("contact", of_contact, **chain, _23=("account", ACCOUNT)) == ACCOUNT
    assert company("opportunity", of_opportunity, **chain, _23=("account", ACCOUNT)) == ACCOUNT
    longer: dict[str, Reference | None] = chain | {"_23": ("contact", guid(24))}
    assert company("opportunity", of_opportunity, **longer, _24=("account", ACCOUNT)) is None


@pytest.mark.parametrize(
    ("customer", "parent", "expected"),
    [
        (("account", ACCOUNT), ("account", OTHER_ACCOUNT), ACCOUNT),
        (("contact", guid(20)), ("account", OTHER_ACCOUNT), OTHER_ACCOUNT),
        (("contact", guid(20)), None, ACCOUNT),
        (("contact", guid(21)), None, None),
        (None, None, None),
    ],
    ids=["account", "parent account", "contact's account", "contact without account", "nothing"],
)
def test_the_company_of_an_opportunity_in_the_order_of_the_rules(
    customer: Reference | None, parent: Reference | None, expected: str | None
) -> None:
    row = (to("_customerid_value", *customer) if customer else {}) | (
        to("_parentaccountid_value", *parent) if parent else {}
    )
    assert company("opportunity", row, _20=("account", ACCOUNT), _21=None) == expected


def connection(one: Reference | None, two: Reference | None, **facts: Any) -> dict[str, Any]:
    ends = (to("_record1id_value", *one) if one else {}) | (to("_record2id_value", *two) if two else {})
    return {"statecode": 0} | ends | facts


OF_DEAL = ("opportunity", OPPORTUNITY)
ROLES = Rules(OwnerPolicy(), "Stakeholder", roles={ROLE: "Decision Maker", guid(30): "R" * 80, guid(31): ""})


@pytest.mark.parametrize("person", [("contact", CONTACT), ("lead", LEAD)])
def test_both_mirrored_rows_of_a_connection_give_the_same_ends_and_role(person: Reference) -> None:
    opportunity = ("opportunity", OPPORTUNITY)
    rows = [
        connection(person, opportunity, **to("_record1roleid_value", "connectionrole", ROLE)),
        connection(opportunity, person, **to("_record2roleid_value", "connectionrole", ROLE)),
    ]
    for row in rows:
        assert ROLES.parents("connection", row) == {
            "externalOpportunityId": Parent("opportunity", "opportunity", OPPORTUNITY),
            "leadId": Parent("person", *person),
        }
        assert ROLES.role("connection", row) == "Decision Maker"


def test_the_role_of_the_opportunitys_side_is_not_the_persons() -> None:
    row = connection(
        ("opportunity", OPPORTUNITY), ("contact", CONTACT), **to("_record1roleid_value", "connectionrole", ROLE)
    )
    assert ROLES.role("connection", row) == "Stakeholder"


@pytest.mark.parametrize(
    ("role", "name"),
    [(None, "Stakeholder"), (guid(99), None), (guid(31), "Stakeholder"), (guid(30), "R" * 50)],
)
def test_a_role_s_name_has_at_most_50_characters_if_it_is_seen(role: str | None, name: str | None) -> None:
    row = connection(("contact", CONTACT), ("opportunity", OPPORTUNITY), _record1roleid_value=role)
    assert ROLES.role("connection", row) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *((OF_DEAL, end) for end in (("account", ACCOUNT), ("systemuser", USER), ("opportunity", guid(40)), None)),
        (("contact", CONTACT), ("lead", LEAD)),
    ],
)
def test_a_connection_of_anything_but_an_opportunity_and_a_person_is_no_role(
    one: Reference, other: Reference | None
) -> None:
    for ends in ((one, other), (other, one)):
        assert ROLES.parents("connection", connection(*ends)) == Skipped("NotAStakeholder")


def test_an_inactive_connection_is_no_role() -> None:
    row = connection(("contact", CONTACT), ("opportunity", OPPORTUNITY), statecode=1)
    assert ROLES.parents("connection", row) == Skipped("Inactive")


def test_a_legacy_role_of_a_contact_is_a_role_and_of_an_account_none() -> None:
    row = {"statecode": 0} | to("_opportunityid_value", "opportunity", OPPORTUNITY)
    row |= to("_opportunityroleid_value", "relationshiprole", ROLE)
    of_contact = row | to("_customerid_value", "contact", CONTACT)
    assert ROLES.parents("customeropportunityrole", of_contact) == {
        "externalOpportunityId": Parent("opportunity", "opportunity", OPPORTUNITY),
        "leadId": Parent("person", "contact", CONTACT),
    }
    assert ROLES.role("customeropportunityrole", of_contact) == "Decision Maker"
    of_account = row | to("_customerid_value", "account", ACCOUNT)
    assert ROLES.parents("customeropportunityrole", of_account) == Skipped("NotAStakeholder")


def test_a_disabled_user_stays_a_sales_person_and_others_never_become_one() -> None:
    assert skip_user({"internalemailaddress": "sam@x.com", "isdisabled": True}) is None
    assert skip_user({"internalemailaddress": None}) == Skipped("UserWithoutMail")
    assert skip_user({"internalemailaddress": "a@x.com", "applicationid": guid(50)}) == Skipped("ApplicationUser")


class Dataverse:
    """Rows by entity set; remembers which ids were asked for."""

    def __init__(self, **sets: dict[str, Row]) -> None:
        self.sets = sets
        self.asked: list[tuple[str, int]] = []

    async def rows(self, table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Row]:
        assert len(ids) <= 300
        if ids:
            self.asked.append((table.entity_set, len(ids)))
        found = self.sets.get(table.entity_set, {})
        return {id_: found[id_] for id_ in ids if id_ in found}


class World:
    def __init__(self, policy: OwnerPolicy | None = None, **sets: dict[str, Row]) -> None:
        self.dataverse = Dataverse(**sets)
        self.now = 0.0
        client: Any = self.dataverse
        config = SyncConfig(owner=policy or OwnerPolicy())
        self.versions: Versions | None = Versions()
        self.hidden: set[str] = set()
        self.references = References(
            client, config, clock=lambda: self.now, versions=self.look, hidden_columns=self.hidden_columns
        )

    async def hidden_columns(self, table: str) -> set[str]:
        assert table == "systemuser"
        return self.hidden

    async def look(self) -> Versions | None:
        return self.versions

    async def rules(self, table: str, *rows: Row) -> Rules:
        return await self.references.rules_for(table, rows, 60.0)


async def test_owners_are_read_once_a_minute() -> None:
    world = World(systemusers={USER: {"internalemailaddress": "sam@x.com"}})
    row = to("_ownerid_value", "systemuser", USER)
    for _ in range(3):
        assert (await world.rules("account", row, row)).sales_person(row) == Parent("sales_person", "systemuser", USER)
    assert world.dataverse.asked == [("systemusers", 1)]
    world.dataverse.sets["systemusers"][USER] = {"internalemailaddress": "sam@x.com", "isdisabled": True}
    world.now += KEEP_SECONDS
    assert (await world.rules("account", row)).sales_person(row) is None


@pytest.mark.parametrize(
    ("facts", "usable"),
    [
        ({"accessmode": 0}, True), ({"accessmode": 2}, True), ({"accessmode": 4}, False), ({"accessmode": 5}, False),
        ({"isdisabled": True}, False), ({"applicationid": guid(9)}, False), ({"internalemailaddress": None}, False),
    ],
)  # fmt: skip
async def test_a_team_is_read_with_its_administrator_whose_row_decides(facts: dict[str, Any], usable: bool) -> None:
    user = {"internalemailaddress": "sam@x.com"} | facts
    world = World(teams={TEAM: to("_administratorid_value", "systemuser", ADMIN)}, systemusers={ADMIN: user})
    row = to("_ownerid_value", "team", TEAM)
    found = (await world.rules("account", row)).sales_person(row)
    assert found == (Parent("sales_person", "systemuser", ADMIN) if usable else None)


async def test_a_user_whose_address_is_hidden_is_not_a_user_without_one() -> None:
    world = World(systemusers={USER: {"internalemailaddress": None}})
    row = to("_ownerid_value", "systemuser", USER)
    assert (await world.rules("account", row)).parents("account", row) == {"externalSalesPersonId": None}
    world.hidden = {"internalemailaddress"}
    world.now += KEEP_SECONDS
    assert (await world.rules("account", row)).parents("account", row) == {}


async def test_teams_are_not_read_where_the_policy_does_not_ask_for_them() -> None:
    world = World(OwnerPolicy(team="none"))
    row = to("_ownerid_value", "team", TEAM)
    assert (await world.rules("account", row)).sales_person(row) is None
    assert world.dataverse.asked == []


async def test_chains_of_contacts_are_read_step_by_step_and_a_circle_ends() -> None:
    column = "_parentcustomerid_value"
    world = World(
        contacts={
            guid(20): to(column, "contact", guid(21)), guid(21): to(column, "account", ACCOUNT),
            guid(30): to(column, "contact", guid(31)), guid(31): to(column, "contact", guid(30)),
        }
    )  # fmt: skip
    rows = [to(column, "contact", guid(20)), to(column, "contact", guid(30))]
    rules = await world.rules("contact", *rows)
    assert [rules.company("contact", row) for row in rows] == [Parent("company", "account", ACCOUNT), None]
    assert world.dataverse.asked == [("contacts", 2), ("contacts", 2)]


async def test_the_chain_of_an_opportunity_s_contact_is_read_as_far_as_the_rules_follow_it() -> None:
    column = "_parentcustomerid_value"
    chain: dict[str, Row] = {guid(n): to(column, "contact", guid(n + 1)) for n in range(20, 23)}
    world = World(contacts=chain | {guid(23): to(column, "account", ACCOUNT)})
    row = to("_customerid_value", "contact", guid(20))
    rules = await world.rules("opportunity", row)
    assert rules.company("opportunity", row) == Parent("company", "account", ACCOUNT)
    assert world.dataverse.asked == [("contacts", 1)] * 4


def stakeholder(role: str | None = ROLE) -> Row:
    """A connection of a contact with an opportunity, in this role."""
    played = to("_record1roleid_value", "connectionrole", role) if role else {}
    return connection(("contact", CONTACT), ("opportunity", OPPORTUNITY), **played)


async def test_the_names_of_roles_are_asked_for_by_id_and_only_those_that_are_not_known() -> None:
    world = World(connectionroles={ROLE: {"name": "Decision Maker"}, guid(31): {"name": "Champion"}})
    await world.rules("account", stakeholder())
    await world.rules("connection", stakeholder(None))
    assert world.dataverse.asked == []
    for _ in range(2):
        assert (await world.rules("connection", stakeholder())).role("connection", stakeholder()) == "Decision Maker"
    rules = await world.rules("connection", stakeholder(), stakeholder(guid(31)))
    assert rules.role("connection", stakeholder(guid(31))) == "Champion"
    assert world.dataverse.asked == [("connectionroles", 1), ("connectionroles", 1)]


async def test_a_role_that_cannot_be_seen_has_no_name_and_is_asked_for_once_a_minute() -> None:
    world = World(connectionroles={})
    for _ in range(5):
        assert (await world.rules("connection", stakeholder())).role("connection", stakeholder()) is None
        world.now += KEEP_SECONDS / 5
    assert world.dataverse.asked == [("connectionroles", 1)]
    world.dataverse.sets["connectionroles"][ROLE] = {"name": "Champion"}
    assert (await world.rules("connection", stakeholder())).role("connection", stakeholder()) == "Champion"


async def test_a_new_version_lets_every_process_ask_again_and_so_does_a_record_that_wants_it() -> None:
    world = World(systemusers={USER: {"internalemailaddress": None}})
    row = to("_ownerid_value", "systemuser", USER)
    assert (await world.rules("account", row)).sales_person(row) is None
    world.dataverse.sets["systemusers"][USER] = {"internalemailaddress": "sam@x.com"}
    assert (await world.rules("account", row)).sales_person(row) is None
    world.versions = Versions(rows=1)
    assert (await world.rules("account", row)).sales_person(row)
    assert len(world.dataverse.asked) == 2
    world.dataverse.sets["systemusers"][USER] = {"internalemailaddress": None}
    world.now += FRESH_SECONDS
    assert (await world.references.rules_for("account", [row], 60.0, fresh=True)).sales_person(row) is None


async def test_without_storage_nobody_knows_whether_what_is_kept_is_right_so_it_is_read_for_each_batch() -> None:
    world = World(systemusers={USER: {"internalemailaddress": "sam@x.com"}})
    row = to("_ownerid_value", "systemuser", USER)
    world.versions = None
    for _ in range(3):
        assert (await world.rules("account", row)).sales_person(row)
    assert world.dataverse.asked == [("systemusers", 1)] * 3


@pytest.mark.parametrize(
    "owner", [to("_ownerid_value", "systemuser", USER), to("_ownerid_value", "team", TEAM)], ids=["user", "team"]
)
async def test_an_owner_that_cannot_be_seen_leaves_the_link_as_it_is(world: World, owner: Row) -> None:
    assert (await world.rules("account", owner)).parents("account", owner) == {}
    fixed = World(OwnerPolicy(team="fixed", unusable_user="fixed", fixed=FIXED))
    assert (await fixed.rules("account", owner)).parents("account", owner) == {
        "externalSalesPersonId": Parent("sales_person", "systemuser", FIXED)
    }


async def test_an_administrator_that_cannot_be_seen_leaves_the_link_and_a_team_without_one_clears_it() -> None:
    row = to("_ownerid_value", "team", TEAM)
    world = World(teams={TEAM: to("_administratorid_value", "systemuser", ADMIN)})
    assert (await world.rules("account", row)).parents("account", row) == {}
    world = World(teams={TEAM: {"_administratorid_value": None}})
    assert (await world.rules("account", row)).parents("account", row) == {"externalSalesPersonId": None}
