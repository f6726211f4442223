"""The persons of a world: leads and contacts with every kind of parent."""

from dataclasses import dataclass, field

from local.world import words
from local.world.maker import Maker, full_name
from local.world.model import Reference, Row, lookup

LEAD_STATES = ((0, 1), (0, 2), (1, 3), (2, 4), (2, 5), (2, 6), (2, 7))  # state, status reason
SOURCES = tuple(range(1, 11))
RATINGS = (1, 2, 3)
#: What the contacts' parents are, in turn. A number is a chain of so many contacts between a contact and its account.
_CONTACT_PARENTS = (
    "account",
    1,
    "account",
    "none",
    2,
    "account",
    "circle",
    3,
    "account",
    "orphan",
    "account",
    "account",
)
_LEAD_PARENTS = ("text", "account", "both", "account", "none", "text")


@dataclass
class People:
    """Who there is, for deals to refer to."""

    #: Leads and contacts that may play a role.
    stakeholders: list[Reference] = field(default_factory=list)
    #: Contacts by the number of contacts between them and their account.
    chained: dict[int, list[str]] = field(default_factory=lambda: {n: [] for n in range(4)})
    #: Contacts that lead to no account, and those whose parents go round in a circle.
    unattached: list[str] = field(default_factory=list)
    circling: list[str] = field(default_factory=list)


def add_persons(maker: Maker, accounts: list[str], count: int) -> People:
    """Add leads and contacts, half of each."""
    people = People()
    for number in range(count // 2):
        lead = _lead(maker, number, _LEAD_PARENTS[number % len(_LEAD_PARENTS)], maker.pick(accounts))
        people.stakeholders.append(("lead", lead["leadid"]))
    for number in range(count - count // 2):
        contact = _contact_in_turn(maker, people, number, maker.pick(accounts))
        people.stakeholders.append(("contact", contact["contactid"]))
    return people


def add_troubled_persons(maker: Maker, account: str, other_account: str) -> list[Reference]:
    """Three children of the troubled account, then a lead and a contact with addresses that Marketo does not take."""
    contact = _contact(maker, 0, "account", account)
    beneath = _contact(maker, 1, "contact", contact["contactid"])
    lead = _lead(maker, 1, "account", account)
    bad_lead = _lead(maker, 1, "account", other_account)
    bad_lead["emailaddress1"] = "call reception first"
    bad_contact = _contact(maker, 2, "account", other_account)
    bad_contact["emailaddress1"] = "jürgen.weiß@example.com"  # Marketo: ASCII only
    contacts = (contact, beneath, bad_contact)
    first, second, bad = (("contact", row["contactid"]) for row in contacts)
    return [first, second, ("lead", lead["leadid"]), ("lead", bad_lead["leadid"]), bad]


def _contact_in_turn(maker: Maker, people: People, number: int, account: str) -> Row:
    kind = _CONTACT_PARENTS[number % len(_CONTACT_PARENTS)]
    if isinstance(kind, int) and people.chained[kind - 1]:
        row = _contact(maker, number, "contact", maker.pick(people.chained[kind - 1]))
        people.chained[kind].append(row["contactid"])
    elif kind == "none":
        row = _contact(maker, number, None, None)
        people.unattached.append(row["contactid"])
    elif kind == "orphan":
        row = _contact(maker, number, "contact", maker.pick(people.unattached))
        people.unattached.append(row["contactid"])
    elif kind == "circle":
        row = _close_circle(maker, people, number)
    else:
        row = _contact(maker, number, "account", account)
        people.chained[0].append(row["contactid"])
    return row


def _close_circle(maker: Maker, people: People, number: int) -> Row:
    """Every second one of these contacts becomes the parent of the one before, and that one its own."""
    if len(people.circling) % 2 == 0:
        row = _contact(maker, number, None, None)
    else:
        other = people.circling[-1]
        row = _contact(maker, number, "contact", other)
        maker.world.rows["contact"][other].update(lookup("parentcustomerid", "contact", row["contactid"]))
    people.circling.append(row["contactid"])
    return row


def _lead(maker: Maker, number: int, parent: str, account: str) -> Row:
    state, status = LEAD_STATES[number % len(LEAD_STATES)] if number % 3 == 0 else (0, 1 + number % 2)
    linked = parent in {"account", "both"}
    text = maker.pick(words.COMPANY_STARTS) + " (as typed)" if parent in {"text", "both"} else None
    return maker.add(
        "lead",
        subject=maker.pick(words.PROJECTS),
        companyname=text,
        leadsourcecode=maker.choice(SOURCES),
        leadqualitycode=maker.choice(RATINGS),
        statecode=state,
        statuscode=status,
        **lookup("parentaccountid", "account", account if linked else None),
        **_person(maker, "lead", number),
    )


def _contact(maker: Maker, number: int, parent_table: str | None, parent: str | None) -> Row:
    inactive = number % 20 == 19
    return maker.add(
        "contact",
        department=maker.pick(words.DEPARTMENTS),
        birthdate=None if maker.chance(0.6) else f"19{maker.random.randrange(45, 99)}-0{number % 9 + 1}-28",
        statecode=1 if inactive else 0,
        statuscode=2 if inactive else 1,
        **lookup("parentcustomerid", parent_table, parent),
        **_person(maker, "contact", number),
    )


def _person(maker: Maker, table: str, number: int) -> Row:
    """What leads and contacts have in common. Some share a mailbox, some have no address at all."""
    first = maker.pick(words.FIRST_NAMES) if number % 29 != 28 else None
    last = maker.pick(words.LAST_NAMES) if number % 61 != 60 else ("Hohenzollern-" * 4)[:50]
    mail: str | None = f"{table}.{number}@Customer-{maker.random.randrange(900)}.example"
    if number % 17 == 3:
        mail = "office@shared-mailbox.example"
    elif number % 11 == 5:
        mail = None
    return {
        "firstname": first,
        "middlename": "X." if number % 7 == 0 else None,
        "lastname": last,
        "fullname": full_name(first, last),
        "salutation": maker.pick(words.SALUTATIONS),
        "jobtitle": maker.pick(words.JOBS),
        "emailaddress1": mail,
        "telephone1": maker.phone(),
        "mobilephone": maker.phone(),
        "fax": maker.phone(),
        "donotphone": (False, True, None)[number % 3],
        "donotbulkemail": number % 5 == 0,
        "description": maker.pick(words.NOTES),
        **maker.address(),
        **maker.owner(),
    }
