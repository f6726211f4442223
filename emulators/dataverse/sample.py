"""A small company to look at: users, teams, accounts, leads, contacts, opportunities and connections."""

import random
from typing import Final

from emulators.dataverse import constants
from emulators.dataverse.columns import LOOKUP_TABLE
from emulators.dataverse.environment import Environment
from emulators.dataverse.seeding import fixed_id, seed
from emulators.dataverse.store import Row

_FIRST: Final = [
    "Åsa",
    "Birgit",
    "Carlos",
    "Dana",
    "Emil",
    "Farida",
    "Greta",
    "Henrik",
    "Ines",
    "Jonas",
    "Katrin",
    "Lars",
    "Maren",
    "Nils",
    "Olivia",
    "Pavel",
    "Ruth",
    "Samir",
    "Tilda",
    "Ugo",
]
_LAST: Final = [
    "Lindqvist",
    "Meyer",
    "Ortega",
    "O'Connor",
    "Novak",
    "Becker",
    "Dubois",
    "Rossi",
    "Kowalski",
    "Jansen",
    "Fischer",
    "Haddad",
    "Sørensen",
    "Weber",
    "Moreau",
    "Vik",
]
_COMPANIES: Final = [
    "Nordlys Robotics",
    "Alpenblick Logistik",
    "Hafen & Söhne",
    "Baltic Foods",
    "Meridian Insurance",
    "Grünwald Papier",
    "Costa Verde",
    "Fjord Marine",
    "Rheintal Maschinenbau",
    "Polaris Health",
    "Kestrel Analytics",
    "Sundby Energi",
    "Marais Textiles",
    "Tivoli Events",
    "Quarz Optik",
    "Lakeside Bank",
    "Viktoria Hotels",
    "Juniper Cloud",
    "Eisenhart Stahl",
    "Brightwater Labs",
]
_CITIES: Final = (
    ("Hamburg", "20095", "Germany"),
    ("Stockholm", "111 22", "Sweden"),
    ("Lyon", "69002", "France"),
    ("Wien", "1010", "Austria"),
)
_JOBS: Final = ("Head of Procurement", "CFO", "Plant Manager", "IT Director", "Marketing Lead", "Buyer")
_TOPICS: Final = ("Packing robots", "Sensor retrofit", "Service contract", "Line extension", "Pilot project")


def load(environment: Environment) -> None:
    """Put the sample company in. Nothing is registered, and nothing is posted."""
    chance = random.Random(7)  # noqa: S311 - the same company every time
    users, teams = _users(), _teams()
    accounts = [_account(number, chance) for number in range(len(_COMPANIES))]
    contacts = [_contact(number, chance, accounts) for number in range(60)]
    opportunities = [_opportunity(number, chance, accounts, contacts) for number in range(25)]
    seed(
        environment,
        {
            "systemuser": users,
            "team": teams,
            "account": accounts,
            "lead": [_lead(number, chance, accounts) for number in range(60)],
            "contact": contacts,
            "opportunity": opportunities,
            "connection": [_connection(number, chance, contacts, opportunities) for number in range(30)],
            "relationshiprole": [{"relationshiproleid": fixed_id("relationshiprole", "Buyer"), "name": "Buyer"}],
        },
    )


def _users() -> list[Row]:
    found: list[Row] = []
    for number in range(8):
        first, last = _FIRST[number], _LAST[number].replace("'", "")
        mail = f"{first}.{last}@contoso.example".lower().replace("å", "a")
        found.append(
            {
                "systemuserid": fixed_id("systemuser", str(number)),
                "domainname": mail,
                "internalemailaddress": mail,
                "firstname": first,
                "lastname": _LAST[number],
                "title": "Account Executive",
                "address1_telephone1": f"+49 40 555 01{number:02}",
                "isdisabled": number == 7,
                "_businessunitid_value": constants.BUSINESS_UNIT_ID,
            }
        )
    return found


def _teams() -> list[Row]:
    return [
        {
            "teamid": fixed_id("team", name),
            "name": name,
            "_administratorid_value": fixed_id("systemuser", str(number)),
            "_businessunitid_value": constants.BUSINESS_UNIT_ID,
        }
        for number, name in enumerate(("Nordic Sales", "Inside Sales"))
    ]


def _owner(number: int) -> Row:
    if number % 9 == 8:
        return {"_ownerid_value": fixed_id("team", "Nordic Sales"), "_ownerid_value" + LOOKUP_TABLE: "team"}
    return {"_ownerid_value": fixed_id("systemuser", str(number % 8)), "_ownerid_value" + LOOKUP_TABLE: "systemuser"}


def _address(chance: random.Random) -> Row:
    city, code, country = chance.choice(_CITIES)
    return {
        "address1_line1": f"{chance.choice(('Hauptstraße', 'Storgatan', 'Rue Neuve'))} {chance.randint(1, 90)}",
        "address1_city": city,
        "address1_postalcode": code,
        "address1_country": country,
    }


def _account(number: int, chance: random.Random) -> Row:
    name = _COMPANIES[number]
    return {
        "accountid": fixed_id("account", str(number)),
        "name": name,
        "accountnumber": f"C-{1000 + number}",
        "websiteurl": f"https://{_slug(name)}.example",
        "telephone1": f"+46 8 555 {number:03}",
        "industrycode": chance.choice((7, 16, 20, 33)),
        "revenue": chance.randint(2, 900) * 100_000,
        "numberofemployees": chance.randint(10, 4000),
        **_address(chance),
        **_owner(number),
    }


def _slug(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isascii() and letter.isalnum())


def _person(kind: str, number: int, chance: random.Random) -> Row:
    first, last = _FIRST[(number * 7 + len(kind)) % len(_FIRST)], _LAST[number % len(_LAST)]
    return {
        f"{kind}id": fixed_id(kind, str(number)),
        "firstname": first,
        "lastname": last,
        "emailaddress1": f"{_slug(first)}.{_slug(last)}{number}@{_slug(chance.choice(_COMPANIES))}.example",
        "jobtitle": chance.choice(_JOBS),
        "telephone1": f"+49 40 555 {number:04}",
        "donotbulkemail": number % 11 == 10,
        **_address(chance),
        **_owner(number),
    }


def _lead(number: int, chance: random.Random, accounts: list[Row]) -> Row:
    row = _person("lead", number, chance) | {
        "subject": chance.choice(_TOPICS),
        "leadsourcecode": chance.randint(1, 10),
        "leadqualitycode": chance.randint(1, 3),
        "companyname": chance.choice(_COMPANIES),
    }
    if number % 3 == 0:
        row["_parentaccountid_value"] = chance.choice(accounts)["accountid"]
    return row


def _contact(number: int, chance: random.Random, accounts: list[Row]) -> Row:
    parent = accounts[number % len(accounts)]["accountid"]
    return _person("contact", number, chance) | {
        "department": chance.choice(("Purchasing", "Production", "Finance")),
        "_parentcustomerid_value": parent,
        "_parentcustomerid_value" + LOOKUP_TABLE: "account",
    }


def _opportunity(number: int, chance: random.Random, accounts: list[Row], contacts: list[Row]) -> Row:
    customer, kind = accounts[number % len(accounts)]["accountid"], "account"
    if number % 8 == 7:
        customer, kind = contacts[number]["contactid"], "contact"
    won = number % 6 == 5
    return {
        "opportunityid": fixed_id("opportunity", str(number)),
        "name": f"{chance.choice(_TOPICS)} {number + 1}",
        "_customerid_value": customer,
        "_customerid_value" + LOOKUP_TABLE: kind,
        "estimatedvalue": chance.randint(5, 400) * 1000,
        "estimatedclosedate": f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "closeprobability": 100 if won else chance.choice((10, 30, 60, 80)),
        "stepname": chance.choice(("1-Qualify", "2-Develop", "3-Propose")),
        **({"statecode": 1, "statuscode": 3, "actualclosedate": "2025-11-28", "actualvalue": 52_000} if won else {}),
        **_owner(number),
    }


def _connection(number: int, chance: random.Random, contacts: list[Row], opportunities: list[Row]) -> Row:
    role = chance.choice(("Stakeholder", "Decision Maker", "Influencer", "Champion"))
    return {
        "connectionid": fixed_id("connection", str(number)),
        "_record1id_value": opportunities[number % len(opportunities)]["opportunityid"],
        "_record1id_value" + LOOKUP_TABLE: "opportunity",
        "_record2id_value": contacts[(number * 2) % len(contacts)]["contactid"],
        "_record2id_value" + LOOKUP_TABLE: "contact",
        "_record2roleid_value": fixed_id("connectionrole", role),
    }
