"""What is reported of a row: which kind of difference, in which fields, depending on the parents."""

from typing import Any

import pytest

from shared.model.entities import OPPORTUNITY_ROLE, PERSON
from shared.model.outcome import Parent
from shared.model.record import Record
from shared.sync.batch import Candidate
from shared.sync.comparison import Doubt, Kind, differences_of, differing, doubt_of, wrong_links
from tests.support.values import NOON, guid

OWNER, COMPANY = "externalSalesPersonId", "externalCompanyId"
SELLER, ACCOUNT = Parent("sales_person", "systemuser", guid(7)), Parent("company", "account", guid(8))


def sent(fields: dict[str, Any] | None = None, **parents: Parent | None) -> Doubt:
    company_fields = frozenset({"company"})
    return Doubt(
        Candidate([Record("contact", guid(1), NOON)], fields or {}, parents, company_fields=company_fields), "v"
    )


def test_fields_that_differ_are_named_in_order() -> None:
    values = {"b": "x", "a": 1, "same": "y", "empty": None}
    assert differing(values, {"b": "z", "same": "y ", "other": 3}) == ("a", "b")


def test_links_are_compared_as_far_as_marketo_can_change_them() -> None:
    stored = {OWNER: guid(9), COMPANY: guid(9)}
    assert wrong_links(PERSON, {OWNER: SELLER, COMPANY: ACCOUNT}, stored) == (OWNER, COMPANY)
    assert wrong_links(PERSON, {OWNER: None, COMPANY: None}, stored) == (OWNER,), "nobody leaves a company"
    assert wrong_links(PERSON, {}, stored) == (), "what is not known is not sent"
    assert wrong_links(PERSON, {OWNER: SELLER, COMPANY: ACCOUNT}, {OWNER: guid(7).upper(), COMPANY: guid(8)}) == ()


def test_of_a_person_in_a_company_the_company_s_fields_are_not_compared() -> None:
    assert doubt_of(PERSON, sent({"company": "A"}), [{"company": "B", COMPANY: guid(8)}]) is None
    assert doubt_of(PERSON, sent({"company": "A"}), [{"company": "B", COMPANY: None}])


def found(doubt: Doubt | None, *, there: tuple[Parent, ...] = (), never: tuple[Parent, ...] = ()) -> list[Any]:
    assert doubt
    return [(each.kind, each.fields) for each in differences_of(PERSON, doubt, there, never)]


def test_absent_doubled_and_different_rows() -> None:
    assert found(doubt_of(PERSON, sent({"city": "Ulm"}), [])) == [(Kind.MISSING, ())]
    assert found(doubt_of(PERSON, sent({"city": "Ulm"}), [{"id": 1}, {"id": 2}])) == [(Kind.DUPLICATE, ())]
    assert found(doubt_of(PERSON, sent({"city": "Ulm"}), [{"city": "Bern"}])) == [(Kind.DIFFERING, ("city",))]


@pytest.mark.parametrize(
    ("stored", "there", "never", "expected"),
    [
        (guid(9), (SELLER,), (), [(Kind.LINKED_WRONGLY, (OWNER,))]),
        (None, (SELLER,), (), [(Kind.LINKED_WRONGLY, (OWNER,))]),
        (None, (), (), [(Kind.PARENT_MISSING, (OWNER,))]),
        (guid(9), (), (), [(Kind.PARENT_MISSING, (OWNER,))]),
        (None, (), (SELLER,), []),
        (guid(9), (), (SELLER,), [(Kind.LINKED_WRONGLY, (OWNER,))]),
    ],
)
def test_a_link_depends_on_its_parent(stored: Any, there: Any, never: Any, expected: Any) -> None:
    """A parent that the filter excludes is not linked to: then Marketo should have nothing there."""
    doubt = doubt_of(PERSON, sent(externalSalesPersonId=SELLER), [{OWNER: stored}])
    assert found(doubt, there=there, never=never) == expected


def test_a_role_with_a_parent_that_never_comes_is_none() -> None:
    deal, person = Parent("opportunity", "opportunity", guid(2)), Parent("person", "contact", guid(3))
    parents: dict[str, Parent | None] = {"externalOpportunityId": deal, "leadId": person}
    role = Doubt(
        Candidate([Record("connection", guid(1), NOON)], {}, parents), "v", links=tuple(parents), is_absent=True
    )

    def kinds(**known: Any) -> list[tuple[Kind, tuple[str, ...]]]:
        return [(each.kind, each.fields) for each in differences_of(OPPORTUNITY_ROLE, role, **known)]

    assert kinds(there=(deal, person), never=()) == [(Kind.MISSING, ())]
    assert kinds(there=(deal,), never=()) == [(Kind.PARENT_MISSING, ("leadId",))]
    assert kinds(there=(deal,), never=(person,)) == []
