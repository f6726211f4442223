"""Marketo's record against what the engine would send: equal values in other clothes are no differences."""

from typing import Any

from shared.cli.show.facts import SALES_PERSON_EMAIL, Difference, Person, Relation, Role, Search, Subject
from shared.cli.show.marketo import compare, differences, look, merge_roles
from shared.model.entities import Entity
from shared.model.outcome import Parent
from tests.support.vendors import Vendors

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


class Marketo(Vendors):
    """Records by entity; notes what is read."""

    def __init__(self, **records: list[dict[str, Any]]) -> None:
        self.records, self.reads = records, list[tuple[str, str, list[str]]]()

    async def read(self, entity: Entity, by: str, values: list[str], fields: tuple[str, ...], **_: Any) -> Any:
        self.reads.append((entity.name, by, sorted(set(fields) - {"createdAt", "updatedAt"})))
        return [row for row in self.records.get(entity.name, []) if row.get(by) in values]


async def test_another_row_is_read_by_its_own_key_and_nobody_is_looked_for_by_address() -> None:
    account = Person(
        Subject("account", ACCOUNT.id, "Acme", exists=True, differences=None), {"accountid": ACCOUNT.id},
        {"email": "info@acme.example"}, [owner(email_in_marketo="other@x.example")], {"company": "Acme"}, ("company",),
    )  # fmt: skip
    search = Search([account], {USER: Subject("systemuser", USER.id)})
    found = {"externalCompanyId": ACCOUNT.id, "company": "ACME", "externalSalesPersonId": USER.id}
    marketo: Any = Marketo(company=[found], sales_person=[{"externalSalesPersonId": USER.id, "email": "o@x.example"}])
    await look(marketo, search, ACCOUNT.id)
    await compare(marketo, search)
    assert account.subject.in_marketo == 1
    assert [each.field for each in account.subject.differences or ()] == ["company"], "addresses are of persons"
    assert sorted(marketo.reads) == [
        ("company", "externalCompanyId", ["company", "externalCompanyId", "externalSalesPersonId"]),
        ("sales_person", "externalSalesPersonId", ["email", "externalSalesPersonId"]),
    ]


async def test_a_row_without_links_is_compared_as_well() -> None:
    user = Person(
        Subject("systemuser", USER.id, exists=True, differences=None), {"a": 1}, mapped={"email": "a@x.example"}
    )
    search, key = Search([user]), "externalSalesPersonId"
    marketo: Any = Marketo(sales_person=[{key: USER.id, "email": "old@x.example"}])
    await look(marketo, search, USER.id)
    await compare(marketo, search)
    assert [each.field for each in user.subject.differences or ()] == ["email"]
