"""Rows as commands find them: a lead, the contact that it has become, the row that it was merged into; other tables."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from shared.cli.show.dynamics import Dynamics
from shared.cli.show.facts import Search
from shared.config.sync_toml import SyncConfig
from shared.model.entities import COMPANY, OPPORTUNITY, Table
from shared.model.outcome import Parent
from tests.support.values import guid, to
from tests.support.vendors import Vendors

LEAD, CONTACT, OTHER = guid(1), guid(2), guid(3)
TABLE = {"fields": {"email": "emailaddress1"}}
CONFIG = SyncConfig.model_validate({"lead": TABLE, "contact": TABLE})


class Systems(Vendors):
    """Dataverse and its metadata, with one lead, and the contacts that come from it."""

    columns: Collection[str] = ("emailaddress1", "new_synctomkto")

    def __init__(self, lead: dict[str, Any], contacts: Sequence[dict[str, Any]]) -> None:
        self.lead, self.contacts = lead, contacts

    async def rows(self, table: Table, *_: Any, **__: Any) -> dict[str, Any]:
        return {LEAD: {"leadid": LEAD, **self.lead}} if table.name == "lead" else {}

    async def query(self, _url: str, **_: Any) -> Sequence[dict[str, Any]]:
        return self.contacts


SYNCED = {"contactid": CONTACT, "new_synctomkto": True, **to("_originatingleadid_value", "lead", LEAD)}
FILTERED = {**SYNCED, "new_synctomkto": False}
QUALIFIED = {"statecode": 1}
MERGED = {"merged": True, **to("_masterid_value", "lead", OTHER)}


@pytest.mark.parametrize(
    ("lead", "contacts", "qualified", "winner"),
    [
        ({"statecode": 0}, [], False, ""), ({"statecode": 0}, [FILTERED], False, ""),
        ({"statecode": 0}, [SYNCED], True, f"contact {CONTACT}"),
        (QUALIFIED, [], False, ""), (QUALIFIED, [FILTERED], True, f"contact {CONTACT}"),
        (QUALIFIED | to("_parentcontactid_value", "contact", OTHER), [], True, f"contact {OTHER}"),
        (MERGED, [], False, f"lead {OTHER}"),
    ],
)  # fmt: skip
async def test_a_lead_goes_on_as_its_contact_if_it_has_one(
    lead: dict[str, Any], contacts: list[dict[str, Any]], qualified: bool, winner: str
) -> None:
    systems: Any = Systems(lead, contacts)
    (person,) = await Dynamics(systems, systems, CONFIG).find(LEAD)
    assert (person.subject.qualified, person.subject.winner) == (qualified, winner)


ACCOUNT, DEAL, USER = guid(4), guid(5), guid(6)
OTHERS = SyncConfig.model_validate(
    {
        "contact": TABLE,
        "account": {"fields": {"company": "name"}},
        "opportunity": {"fields": {"name": "name"}},
        "systemuser": {"fields": {"email": "internalemailaddress"}},
        "connection": {"fields": {}},
    }
)
OWNED, CUSTOMER = to("_ownerid_value", "systemuser", USER), to("_customerid_value", "account", ACCOUNT)
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "accounts": {ACCOUNT: {"accountid": ACCOUNT, "name": "Acme", "statecode": 0, **OWNED}},
    "opportunities": {DEAL: {"opportunityid": DEAL, "name": "Deal", "statecode": 1, **OWNED, **CUSTOMER}},
    "systemusers": {
        USER: {"systemuserid": USER, "fullname": "Sam", "internalemailaddress": "s@x.example", "isdisabled": False},
    },
}  # fmt: skip


class Others(Systems):
    """Dataverse with an account, an opportunity of it, and the user who owns both."""

    columns = ("name", "fullname", "statecode", "emailaddress1")

    def __init__(self) -> None:
        super().__init__({}, [])
        self.asked: list[str] = []

    async def rows(self, table: Table, ids: Any, *_: Any, **__: Any) -> dict[str, Any]:
        self.asked.append(table.entity_set)
        return {id_: row for id_, row in ROWS.get(table.entity_set, {}).items() if id_ in ids}


@pytest.mark.parametrize(
    ("id_", "shown", "state", "email"),
    [
        (ACCOUNT, f"account Acme ({ACCOUNT})", "active", ""), (DEAL, f"opportunity Deal ({DEAL})", "won", ""),
        (USER, f"systemuser Sam ({USER})", "enabled", "s@x.example"),
    ],
)  # fmt: skip
async def test_an_id_that_no_person_has_is_looked_for_in_the_other_tables(
    id_: str, shown: str, state: str, email: str
) -> None:
    systems: Any = Others()
    (found,) = await Dynamics(systems, systems, OTHERS).find(id_)
    assert str(found.subject) == shown
    assert (found.details["state"], found.details["email"], found.subject.kept_out) == (state, email, "")
    assert "connections" not in systems.asked, "a role has no key in Marketo"


async def test_an_address_is_looked_for_among_persons_alone() -> None:
    systems: Any = Others()
    assert await Dynamics(systems, systems, OTHERS).find("s@x.example") == []
    assert systems.asked == []


async def test_other_rows_have_the_links_of_their_entity() -> None:
    systems: Any = Others()
    links = {}
    for id_ in (ACCOUNT, DEAL, USER):
        dynamics = Dynamics(systems, systems, OTHERS)
        search = Search(await dynamics.find(id_))
        await dynamics.relate(search)
        await dynamics.look_up(search)
        links[id_] = {each.field: (each.parent, each.how, each.name) for each in search.persons[0].relations}
    seller = (Parent("sales_person", "systemuser", USER), "the row's owner", "Sam")
    company = (Parent("company", "account", ACCOUNT), "the row's account", "Acme")
    assert links[ACCOUNT] == {link.field: seller for link in COMPANY.links}
    assert links[DEAL] == dict(zip((link.field for link in OPPORTUNITY.links), (seller, company), strict=True))
    assert links[USER] == {}
