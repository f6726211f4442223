"""Builds a world: users, teams, connection roles and accounts here, people and deals in the modules beside it."""

from local.world import words
from local.world.deals import add_connections, add_opportunities, add_troubled_deals
from local.world.maker import Maker, full_name
from local.world.model import FULL, Row, Size, World, lookup
from local.world.people import add_persons, add_troubled_persons

INDUSTRIES = (1, 6, 7, 15, 16, 17, 20, 28, 33)
#: Numbers of whole rows that `troubles` takes out of the size.
TROUBLED_ACCOUNTS, TROUBLED_PERSONS, TROUBLED_OPPORTUNITIES, TROUBLED_CONNECTIONS = 1, 5, 2, 5
_APPLICATION = "0b8c1f6a-52f1-4a55-9d3c-6f0d2f3f6a01"


def build(seed: int = 1, size: Size = FULL, *, troubles: bool = True) -> World:
    """Build the organisation of this seed and size; the same arguments give the same rows.

    `troubles` adds what cannot reach Marketo as it is: two persons with an e-mail address that it does not take, an
    opportunity without a name, and an account with children of its own (`World.troubled_account`), which Marketo
    accepts unless it is made to refuse it. Raises ValueError for a size too small to hold every special case.
    """
    least = Size(users=10, accounts=8, persons=80, opportunities=20, connections=40)
    if any(getattr(size, name) < getattr(least, name) for name in Size.__dataclass_fields__):
        msg = f"{size} is too small: every special case needs at least {least}"
        raise ValueError(msg)
    maker = Maker(seed, size)
    _add_users_and_teams(maker)
    roles = [maker.add("connectionrole", name=name, category=kind, **_ACTIVE) for name, kind in words.ROLES]
    reserved = TROUBLED_ACCOUNTS if troubles else 0
    accounts = [_account(maker, number)["accountid"] for number in range(size.accounts - reserved)]
    people = add_persons(maker, accounts, size.persons - (TROUBLED_PERSONS if troubles else 0))
    deals = size.opportunities - (TROUBLED_OPPORTUNITIES if troubles else 0)
    opportunities = add_opportunities(maker, accounts, people, deals)
    role_ids = [row["connectionroleid"] for row in roles]
    pairs = size.connections - (TROUBLED_CONNECTIONS if troubles else 0)
    add_connections(maker, pairs, opportunities=opportunities, people=people, accounts=accounts, roles=role_ids)
    if troubles:
        account = _account(maker, 1)["accountid"]
        maker.world.troubled_account = account
        troubled = add_troubled_persons(maker, account, accounts[0])
        add_troubled_deals(maker, account, troubled, good_deal=opportunities[0], people=people, roles=role_ids)
    return maker.world


_ACTIVE: Row = {"statecode": 0, "statuscode": 1}


def _add_users_and_teams(maker: Maker) -> None:
    users = [_user(maker, number) for number in range(maker.world.size.users)]
    application, mailless, disabled, silent, disabled_mailless = (("systemuser", u["systemuserid"]) for u in users[:5])
    usual = [("systemuser", user["systemuserid"]) for user in users[5:]]
    administrators = {
        "Inside Sales": usual[0],
        "Key Accounts Süd": usual[-1],
        "Nobody's Team": None,
        "Former Region North": disabled,
        "Night Jobs": silent,
        "Integrations": application,
        "Front Desk": mailless,
    }
    teams = []
    for name, administrator in administrators.items():
        row = maker.add("team", name=name, teamtype=0, **lookup("administratorid", *(administrator or (None, None))))
        teams.append(("team", row["teamid"]))
    maker.set_owners(usual, [*teams, disabled, application, mailless, silent, disabled_mailless, *teams])


def _user(maker: Maker, number: int) -> Row:
    """The first five are the special ones: an application, no e-mail, disabled, non-interactive, disabled again."""
    first = maker.pick(words.FIRST_NAMES)
    last = maker.pick(words.LAST_NAMES) if number != 8 else None
    mail: str | None = f"Seller.{number:04}@contoso.example"
    if number in {1, 4}:
        mail = None
    if number == 6:
        # Dataverse takes 256 characters, Marketo 255.
        first = ("Maximiliana " * 22)[:255] + "!"
    return maker.add(
        "systemuser",
        domainname=f"seller.{number:04}@contoso.onmicrosoft.com",
        firstname=first,
        lastname=last,
        fullname=full_name(first, last),
        internalemailaddress=mail,
        isdisabled=number in {2, 4} or number % 37 == 36,
        accessmode=4 if number in {0, 3} else number % 3,
        applicationid=_APPLICATION if number == 0 else None,
        title=maker.pick((None, "Dr.", "Vertriebsleiterin")),
        jobtitle=maker.pick(words.JOBS),
        address1_telephone1=maker.phone(),
        mobilephone=maker.phone(),
        address1_fax=maker.phone(),
    )


def _account(maker: Maker, number: int) -> Row:
    """Account 5 has no name, account 6 nothing but its name."""
    name = f"{maker.pick(words.COMPANY_STARTS)} {maker.pick(words.COMPANY_MIDDLES)} {maker.pick(words.COMPANY_ENDS)}"
    if number == 6:
        return maker.add("account", name="Briefkasten AG", **_ACTIVE, **maker.owner())
    if number == 7:
        name = ("Gesellschaft für angewandte Fördertechnik und Lagerlogistik " * 3)[:160]
    return maker.add(
        "account",
        name=None if number == 5 else name,
        telephone1=maker.phone(),
        websiteurl=None if maker.chance(0.3) else f"https://www.example.com/{number}",
        industrycode=maker.choice(INDUSTRIES),
        sic=None if maker.chance(0.5) else f"{maker.random.randrange(100, 9999):04}",
        revenue=maker.pick((None, 0, 1_250_000, 48_000_000.55, 999_999_999_999.99)),
        numberofemployees=maker.pick((None, 0, 1, 250, 480_000)),
        description=("Lange Geschichte. " * 111)[:2000] if number % 50 == 9 else maker.pick(words.NOTES),
        **maker.address(lines=True),
        **(_ACTIVE if number % 25 != 24 else {"statecode": 1, "statuscode": 2}),
        **maker.owner(),
    )
