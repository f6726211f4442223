"""Marketo's record against what the engine would send: equal values in other clothes are no differences."""

from typing import Any

from shared.cli.show.facts import SALES_PERSON_EMAIL, Difference, Person, Relation, Role, Subject
from shared.cli.show.marketo import differences, merge_roles
from shared.model.outcome import Parent

USER = Parent("sales_person", "systemuser", "9b1d9f40-1c52-ef11-a316-000d3a5b7c02")
ACCOUNT = Parent("company", "account", "7a1d9f40-1c52-ef11-a316-000d3a5b7c01")


def person(record: dict[str, Any], *relations: Relation, **facts: Any) -> Person:
    subject = Subject("contact", "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", exists=True)
    return Person(subject, relations=list(relations), records=[record], **{"mapped": {}, **facts})


def owner(**facts: Any) -> Relation:
    given = {"exists": True, "in_marketo": True, "email": "sam@contoso.example"}
    given |= {"email_in_marketo": "Sam@Contoso.example"}
    return Relation("externalSalesPersonId", USER, "the row's owner", **{**given, **facts})


def company(parent: Parent | None = ACCOUNT, **facts: Any) -> Relation:
    return Relation("externalCompanyId", parent, "…", **{"exists": True, "in_marketo": True, **facts})


def fields_of(given: Person) -> list[str]:
    return [each.field for each in differences(given)]


def test_mapped_fields_are_compared_and_others_left_alone() -> None:
    record = {"firstName": "Pat", "title": None, "leadScore": 7}
    assert list(differences(person(record, mapped={"firstName": "Pat", "title": "Boss"}))) == [
        Difference("title", "Boss", None)
    ]


def test_links_hold_the_key_of_the_parent_in_any_case() -> None:
    right = {"externalSalesPersonId": USER.id.upper(), "externalCompanyId": ACCOUNT.id}
    assert fields_of(person(right, owner(), company())) == []
    assert fields_of(person({}, owner(), company())) == ["externalSalesPersonId", "externalCompanyId"]


def test_a_parent_that_is_kept_out_leaves_the_link_empty_unless_marketo_has_it_from_before() -> None:
    kept_out = company(kept_out="new_synctomkto is No", in_marketo=False)
    assert fields_of(person({"externalCompanyId": None}, kept_out)) == []
    before = company(kept_out="new_synctomkto is No", in_marketo=True)
    assert fields_of(person({"externalCompanyId": None}, before)) == ["externalCompanyId"]


def test_a_parent_that_is_missing_in_marketo_is_said_to_be() -> None:
    (found,) = differences(person({}, company(in_marketo=False)))
    assert "company is not in Marketo" in found.why


def test_an_owner_that_went_is_a_difference_and_a_company_that_stays_is_a_note() -> None:
    record = {"externalSalesPersonId": USER.id, "externalCompanyId": ACCOUNT.id}
    given = person(record, Relation("externalSalesPersonId", None, "no owner"), company(None))
    assert fields_of(given) == ["externalSalesPersonId"]
    assert ACCOUNT.id in given.notes[0]


def test_the_sales_person_must_have_the_users_address() -> None:
    record = {"externalSalesPersonId": USER.id}
    (found,) = differences(person(record, owner(email_in_marketo="old@contoso.example")))
    assert (found.field, found.expected, found.actual) == (
        SALES_PERSON_EMAIL, "sam@contoso.example", "old@contoso.example",
    )  # fmt: skip
    assert "Marketo tab" in found.why


def test_a_role_that_is_missing_is_a_difference_and_one_that_is_left_over_is_none() -> None:
    deal, other = ACCOUNT.id, USER.id
    expected = [Role(deal, "Influencer", True, False, "Deal"), Role(deal, "Champion", True, False, "Deal")]
    rows = [
        {"externalOpportunityId": deal.upper(), "role": "Champion"},
        {"externalOpportunityId": other, "role": "Champion"},
    ]
    roles = merge_roles(expected, rows)
    assert [(role.opportunity, role.role, role.expected, role.actual) for role in roles] == [
        (deal, "Influencer", True, False), (deal, "Champion", True, True), (other, "Champion", False, True),
    ]  # fmt: skip
    assert fields_of(person({"id": 1}, roles=roles)) == ["role Influencer in Deal"]


def test_without_a_record_nothing_differs() -> None:
    given = person({}, owner(), mapped={"title": "Boss"})
    given.records = []
    assert fields_of(given) == []
