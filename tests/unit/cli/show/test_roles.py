"""The roles that `show person` expects in Marketo: those of the rows in Dynamics, by the engine's rules."""

from collections.abc import Iterable, Sequence
from typing import Any

from shared.cli.show.facts import Person, Role, Search, Subject
from shared.cli.show.roles import HIDDEN, look
from shared.config.sync_toml import OwnerPolicy, SyncConfig
from shared.model.outcome import Parent
from shared.sync.links import Rules
from tests.support.values import guid, to

CONTACT, DEAL, OTHER_DEAL, BUYER, ACCOUNT, TIE, MIRROR = map(guid, range(1, 8))
CONFIG = SyncConfig.model_validate({"connection": {"fields": {}}, "opportunity": {"fields": {"name": "name"}}})


def connection(deal: str, role: str | None = BUYER, *, mirrored: bool = False, **more: Any) -> dict[str, Any]:
    """A row of Dynamics that joins the contact and an opportunity; the mirrored row has its ends swapped."""
    person, other = (2, 1) if mirrored else (1, 2)
    row = to(f"_record{person}id_value", "contact", CONTACT) | to(f"_record{other}id_value", "opportunity", deal)
    return row | (to(f"_record{person}roleid_value", "connectionrole", role) if role else {}) | more


class Dynamics:
    """The connections of the contact, and the opportunities with the reason why they are not synced."""

    def __init__(self, *rows: dict[str, Any], deals: Iterable[str] = (DEAL, OTHER_DEAL), kept_out: str = "") -> None:
        self.rows = rows
        self.deals = {deal: {"name": f"Deal {deal[-1]}"} for deal in deals}
        self.reason = kept_out

    async def referring(self, table: str, lookups: Sequence[str], id_: str) -> list[dict[str, Any]]:
        assert id_ == CONTACT
        assert lookups == (("record1id", "record2id") if table == "connection" else ("customerid", "parentcontactid"))
        return [row for row in self.rows if ("opportunityid" in row) == (table == "opportunity")]

    async def rules_for(self, _table: str, _rows: object) -> Rules:
        return Rules(OwnerPolicy(), "Stakeholder", roles={BUYER: "Buyer"})

    async def rows_of(self, _table: str, ids: Iterable[str], _columns: object) -> dict[str, dict[str, Any]]:
        return {id_: self.deals[id_] for id_ in ids if id_ in self.deals}

    async def kept_out(self, _table: str, _row: object) -> str:
        return self.reason


async def roles(dynamics: Any, *, exists: bool = True, marketo: Sequence[Role] = ()) -> list[Role]:
    return (await searched(dynamics, exists=exists, marketo=marketo)).persons[0].roles


async def searched(dynamics: Any, *, exists: bool = True, marketo: Sequence[Role] = ()) -> Search:
    search = Search([Person(Subject("contact", CONTACT, exists=exists), roles=list(marketo))])
    await look(dynamics, CONFIG, search)
    return search


async def test_a_connection_and_its_mirrored_row_are_one_role_with_the_opportunitys_name() -> None:
    rows = [connection(DEAL, connectionid=TIE.upper()), connection(DEAL, mirrored=True, connectionid=MIRROR)]
    found = await roles(Dynamics(*rows))
    gives = (("connection", TIE), ("connection", MIRROR))
    assert found == [Role(DEAL, "Buyer", expected=True, actual=False, name="Deal 2", rows=gives)]


async def test_what_a_role_needs_in_marketo_is_known_before_the_queues_are_looked_into() -> None:
    dynamics = Dynamics(connection(DEAL, connectionid=TIE), connection(OTHER_DEAL), deals=[DEAL])
    dynamics.deals[DEAL] |= to("_parentaccountid_value", "account", ACCOUNT)
    search = await searched(dynamics)
    company = Parent("company", "account", ACCOUNT)
    assert (list(search.deals), search.deals[DEAL].parents) == ([DEAL], [company])
    ends = [Parent("opportunity", "opportunity", DEAL), Parent("person", "contact", CONTACT)]
    assert search.ties[TIE].parents == ends
    assert {DEAL, TIE, ACCOUNT, CONTACT} <= search.subjects.keys()


async def test_each_opportunity_has_its_role_and_one_without_a_name_gets_the_default() -> None:
    found = await roles(Dynamics(connection(DEAL), connection(OTHER_DEAL, None)))
    assert [(role.opportunity, role.role) for role in found] == [(DEAL, "Buyer"), (OTHER_DEAL, "Stakeholder")]


async def test_the_primary_contact_of_an_opportunity_has_a_role_there_if_nobody_else_is_its_customer() -> None:
    own = {"opportunityid": DEAL.upper(), **to("_parentcontactid_value", "contact", CONTACT)}
    of_another = {
        "opportunityid": OTHER_DEAL,
        **to("_customerid_value", "contact", guid(9)),
        **to("_parentcontactid_value", "contact", CONTACT),
    }
    found = await roles(Dynamics(own, of_another))
    assert found == [Role(DEAL, "Primary Contact", expected=True, actual=False, name="Deal 2")]


async def test_a_role_whose_row_cannot_be_read_is_shown_as_such() -> None:
    (role,) = await roles(Dynamics(connection(DEAL, guid(99))))
    assert role.role == HIDDEN


async def test_a_connection_that_was_deactivated_gives_no_role() -> None:
    assert await roles(Dynamics(connection(DEAL, statecode=1))) == []


async def test_a_role_in_an_opportunity_that_is_not_synced_or_not_there_is_not_expected() -> None:
    (role,) = await roles(Dynamics(connection(DEAL), kept_out="excluded by the filter"))
    assert (role.expected, role.why) == (False, "excluded by the filter")
    (role,) = await roles(Dynamics(connection(DEAL), deals=()))
    assert (role.expected, role.why) == (False, "the opportunity is not in Dynamics")


async def test_a_person_that_is_not_in_dynamics_has_only_the_roles_of_marketo() -> None:
    (role,) = await roles(Dynamics(), exists=False, marketo=[Role(DEAL, "Buyer", expected=False, actual=True)])
    assert role.actual
