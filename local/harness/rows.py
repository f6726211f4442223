"""Rows of Dynamics for a test, each with an id of its own, so that no test meets another one's records."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from emulators.dataverse.seeding import fixed_id
from local.world.model import KEYS, Row, lookup

#: Tables in the order in which their rows may be created.
ORDER = ("systemuser", "team", "connectionrole", "account", "contact", "lead", "opportunity", "connection")


@dataclass(frozen=True)
class Made:
    """A row that a test has made. Its values may be changed until it is seeded, and again to be seeded anew."""

    table: str
    id: str
    values: Row = field(hash=False, compare=False)

    def row(self) -> Row:
        """The row in Web API form."""
        return {KEYS[self.table]: self.id, **self.values}


class Rows:
    """Makes rows. Whatever is not given stays empty; relations are given as rows made before."""

    def __init__(self) -> None:
        self.made: list[Made] = []

    def __iter__(self) -> Iterator[Made]:
        return iter(self.made)

    def add(self, table: str, **values: object) -> Made:
        """Any row."""
        row = Made(table, str(uuid4()), dict(values))
        self.made.append(row)
        return row

    def user(self, **values: object) -> Made:
        """A seller with an e-mail address."""
        tag = uuid4().hex[:12]
        mail = f"seller.{tag}@contoso.example"
        return self.add(
            "systemuser",
            **{"domainname": mail, "internalemailaddress": mail, "firstname": "Sam", "lastname": f"S-{tag}", **values},
        )

    def team(self, administrator: Made | None, **values: object) -> Made:
        """A team that may own rows."""
        leader = lookup("administratorid", *_target(administrator))
        return self.add("team", **{"name": f"Team {uuid4().hex[:12]}", **leader, **values})

    def account(self, owner: Made | None = None, **values: object) -> Made:
        """An account."""
        return self.add("account", **{"name": f"Account {uuid4().hex[:12]}", **_owner(owner), **values})

    def contact(self, parent: Made | None = None, owner: Made | None = None, **values: object) -> Made:
        """A contact of an account or of another contact."""
        return self._person("contact", lookup("parentcustomerid", *_target(parent)), owner, values)

    def lead(self, account: Made | None = None, owner: Made | None = None, **values: object) -> Made:
        """A lead, with or without an account."""
        return self._person("lead", lookup("parentaccountid", *_target(account)), owner, values)

    def _person(self, table: str, parent: Row, owner: Made | None, values: Row) -> Made:
        tag = uuid4().hex[:12]
        person = {"firstname": "Pat", "lastname": f"P-{tag}", "emailaddress1": f"p.{tag}@customer.example"}
        return self.add(table, **{**person, **parent, **_owner(owner), **values})

    def opportunity(self, customer: Made | None = None, owner: Made | None = None, **values: object) -> Made:
        """An opportunity with an account or a contact."""
        parent = lookup("customerid", *_target(customer))
        return self.add("opportunity", **{"name": f"Deal {uuid4().hex[:12]}", **parent, **_owner(owner), **values})

    def connection(self, one: Made, other: Made, role: str | None = None, **values: object) -> Made:
        """A connection; `role` is what the other one plays. Dataverse makes the mirrored row itself."""
        played = lookup("record2roleid", "connectionrole", fixed_id("connectionrole", role) if role else None)
        ends = {**lookup("record1id", *_target(one)), **lookup("record2id", *_target(other))}
        return self.add("connection", **{**ends, **played, **values})

    def seed_body(self) -> dict[str, list[Row]]:
        """All rows as the Dataverse simulator's /seed takes them."""
        return {table: [made.row() for made in self.made if made.table == table] for table in ORDER}


def _target(made: Made | None) -> tuple[str | None, str | None]:
    return (made.table, made.id) if made else (None, None)


def _owner(owner: Made | None) -> Row:
    if owner is None:
        return {}
    user = owner.id if owner.table == "systemuser" else None
    team = owner.id if owner.table == "team" else None
    return {
        **lookup("ownerid", owner.table, owner.id),
        **lookup("owninguser", "systemuser", user),
        **lookup("owningteam", "team", team),
    }
