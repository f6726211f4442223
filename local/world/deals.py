"""The opportunities of a world and the connections that say who plays which role in them."""

from itertools import cycle

from local.world import words
from local.world.maker import Maker
from local.world.model import Reference, Row, lookup
from local.world.people import People

OPEN, WON, LOST = 0, 1, 2
_STATES = ((OPEN, 1), (WON, 3), (OPEN, 2), (LOST, 4), (OPEN, 1), (LOST, 5), (OPEN, 1))  # state, status reason
#: Who the customer is, in turn, and whether the account column is filled as well.
_CUSTOMERS = (
    "account", "account", "contact", "account only", "contact and account", "account", "chained", "unattached",
    "account", "circling",
)  # fmt: skip
#: What the connections are, in turn.
_CONNECTIONS = (
    "contact", "lead", "no role", "contact", "second role", "long role", "lead", "again", "contact", "own role",
    "account", "contact", "inactive", "user", "contact", "two persons", "lead", "no role",
)  # fmt: skip
_TYPE_CODES = {"account": 1, "contact": 2, "opportunity": 3, "lead": 4, "systemuser": 8}


def add_opportunities(maker: Maker, accounts: list[str], people: People, count: int) -> list[str]:
    """Add opportunities and return their ids."""
    kinds = cycle(_CUSTOMERS)
    return [_opportunity(maker, people, accounts, next(kinds), number)["opportunityid"] for number in range(count)]


def _opportunity(maker: Maker, people: People, accounts: list[str], kind: str, number: int) -> Row:
    account, other = maker.pick(accounts), maker.pick(accounts)
    contacts = {
        "contact": people.chained[0],
        "contact and account": people.chained[1],
        "chained": [*people.chained[1], *people.chained[2]],
        "unattached": people.unattached,
        "circling": people.circling[: len(people.circling) // 2 * 2],
    }
    if kind in contacts:
        contact = maker.pick(contacts[kind])
        parent = other if kind == "contact and account" else None
        return _deal(maker, number, ("contact", contact), parent)
    return _deal(maker, number, ("account", account), None if kind == "account only" else account)


def _deal(maker: Maker, number: int, customer: Reference, parent_account: str | None) -> Row:
    """Closed ones may still have a step, open ones an actual value: neither may reach Marketo then."""
    state, status = _STATES[number % len(_STATES)]
    name = f"{maker.pick(words.PROJECTS)} #{number}"
    if number % 40 == 11:
        name = ("Rahmenvertrag für Wartung, Ersatzteile und Schulung; " * 6)[:300]  # Marketo: 255
    closed = state != OPEN
    return maker.add(
        "opportunity",
        name=name,
        description=("Protokoll: " * 182)[:2000] if number % 50 == 13 else maker.pick(words.NOTES),
        statecode=state,
        statuscode=status,
        stepname=maker.pick(words.STEPS),
        estimatedvalue=maker.pick((None, 0, 12_500, 98_765.43)),
        actualvalue=maker.pick((None, 11_000.5, 120_000)) if closed else maker.pick((None, 777)),
        closeprobability=maker.pick((None, 0, 35, 100)),
        estimatedclosedate=None if maker.chance(0.1) else maker.day(),
        actualclosedate=maker.day() if closed and maker.chance(0.9) else None,
        **lookup("customerid", *customer),
        **lookup("parentaccountid", "account", parent_account),
        **lookup("parentcontactid", "contact", customer[1] if customer[0] == "contact" else None),
        **maker.owner(),
    )


def add_connections(
    maker: Maker, count: int, *, opportunities: list[str], people: People, accounts: list[str], roles: list[str]
) -> None:
    """Add connections of every kind, each as its two rows."""
    contacts = [person for person in people.stakeholders if person[0] == "contact"]
    leads = [person for person in people.stakeholders if person[0] == "lead"]
    user, sales_role = maker.usual_owners[0], _other_role(maker, words.SALES_TEAM_ROLE)
    own_role = _other_role(maker, words.OWN_ROLE)
    last = (("opportunity", opportunities[0]), contacts[0], roles[0])
    kinds = cycle(_CONNECTIONS)
    for _ in range(count):
        kind = next(kinds)
        deal = ("opportunity", maker.pick(opportunities))
        person = maker.pick(leads if kind == "lead" else contacts)
        role: str | None = maker.pick(roles)
        match kind:
            case "no role":
                role = None
            case "second role":
                deal, person, before = last
                role = roles[(roles.index(before) + 1) % len(roles)]
            case "again":
                deal, person, role = last
            case "long role":
                role = roles[5 + int(maker.chance(0.5))]
            case "account":
                person = ("account", maker.pick(accounts))
            case "user":
                person, role = user, sales_role
            case "two persons":
                deal = maker.pick(leads)
        _pair(maker, deal, person, role, own_role if kind == "own role" else None, inactive=kind == "inactive")
        if role in roles and kind in {"contact", "lead", "second role"}:
            last = (deal, person, role)


def add_troubled_deals(
    maker: Maker, account: str, troubled: list[Reference], *, good_deal: str, people: People, roles: list[str]
) -> None:
    """An opportunity of the troubled account, one without a name, and roles that wait for all of these."""
    deal = _deal(maker, 0, ("account", account), account)
    nameless = _deal(maker, 2, ("contact", people.chained[0][0]), None)
    nameless["name"] = None
    first, _, lead, bad_lead, bad_contact = troubled
    good = people.stakeholders[0]
    ends = (
        (deal["opportunityid"], good),
        (good_deal, first),
        (deal["opportunityid"], lead),
        (good_deal, bad_contact),
        (nameless["opportunityid"], bad_lead),
    )
    for opportunity, person in ends:
        _pair(maker, ("opportunity", opportunity), person, roles[0], None, inactive=False)


def _other_role(maker: Maker, role: tuple[str, int]) -> str:
    row = maker.add("connectionrole", name=role[0], category=role[1], statecode=0, statuscode=1)
    return str(row["connectionroleid"])


def _pair(
    maker: Maker, first: Reference, second: Reference, role: str | None, own_role: str | None, *, inactive: bool
) -> None:
    """Add a connection and its mirror. `role` is what the second one plays, `own_role` what the first one does."""
    state = {"statecode": 1, "statuscode": 2} if inactive else {"statecode": 0, "statuscode": 1}
    master = maker.chance(0.5)  # users start from either end
    row = maker.add(
        "connection", ismaster=master, **_ends(first, own_role, second, role), **state, **maker.owner()
    )  # fmt: skip
    mirror = {**row, **_ends(second, role, first, own_role), "connectionid": maker.id(), "ismaster": not master}
    row |= lookup("relatedconnectionid", "connection", mirror["connectionid"])
    mirror |= lookup("relatedconnectionid", "connection", row["connectionid"])
    maker.world.rows["connection"][mirror["connectionid"]] = mirror


def _ends(first: Reference, first_role: str | None, second: Reference, second_role: str | None) -> Row:
    return {
        "record1objecttypecode": _TYPE_CODES[first[0]],
        "record2objecttypecode": _TYPE_CODES[second[0]],
        **lookup("record1id", *first),
        **lookup("record2id", *second),
        **lookup("record1roleid", "connectionrole", first_role),
        **lookup("record2roleid", "connectionrole", second_role),
    }
