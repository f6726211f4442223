"""A person field by field: what Dynamics has, what would be sent, what Marketo has, and which of them differ."""

from typing import Any

from shared.cli.finding import ok
from shared.cli.show.command import as_json
from shared.cli.show.facts import Person, Relation, Search, Subject, ValueRow
from shared.cli.show.text import render
from shared.cli.show.values import side_by_side
from shared.config.sync_toml import SyncConfig
from shared.model.outcome import LeftOut, Parent
from shared.write_back.values import Target
from tests.support.commands import printed
from tests.support.values import guid

ME, ACCOUNT = guid(1), Parent("company", "account", guid(2))
FIELDS = {
    "firstName": "firstname", "title": "jobtitle", "industry": {"column": "industrycode", "convert": "label"},
    "Email": "emailaddress1", "phone": ["telephone1", "mobilephone"], "gone": "fax",
}  # fmt: skip
CONFIG = SyncConfig.model_validate({"contact": {"fields": FIELDS}})
ROW = {
    "contactid": ME, "firstname": "Pat", "jobtitle": "Boss", "industrycode": 3, "emailaddress1": "nobody",
    "telephone1": None, "mobilephone": "123", "new_priority": 4, "new_urgency": "5",
}  # fmt: skip
RECORD = {
    "id": 17, "externalPersonId": ME, "externalCompanyId": ACCOUNT.id, "firstName": "Pat", "title": None,
    "industry": "Gold", "email": "pat@customer.example", "phone": "123", "priority": 2, "relativeUrgency": 5,
}  # fmt: skip
INSIGHT = {
    "contact": (
        Target("priority", "new_priority", "Integer"), Target("relativeUrgency", "new_urgency", "String", 10),
        Target("msiLastInterestingMomentDate", "new_moment", "DateTime"),
    )
}  # fmt: skip


def person(**facts: Any) -> Person:
    left_out = [LeftOut("email", "NotAnAddress", "no e-mail address", "text of 6 characters")]
    subject = Subject("contact", ME, "Pat Doe", exists=True, in_marketo=1, left_out=left_out)
    given: dict[str, Any] = {
        "row": ROW, "records": [RECORD], "fields": ("email", "firstName", "industry", "phone", "title"),
        "mapped": {"firstName": "Pat", "title": "Boss", "industry": "Gold", "phone": "123", "externalPersonId": ME},
        "details": {"email": "nobody", "state": "active", "modifiedon": None},
        "relations": [
            Relation("externalCompanyId", ACCOUNT, "the row's account", "Acme", exists=True, in_marketo=True)
        ],
    }  # fmt: skip
    return Person(subject, **{**given, **facts})


def rows(**facts: Any) -> dict[str, ValueRow]:
    return {row.field: row for row in side_by_side(person(**facts), CONFIG, INSIGHT)}


def test_keys_and_links_come_first_and_sales_insight_s_fields_last() -> None:
    assert list(rows()) == [
        "externalPersonId", "externalCompanyId", "firstName", "title", "industry", "email", "phone", "gone",
        "priority", "relativeUrgency", "msiLastInterestingMomentDate",
    ]  # fmt: skip


def test_what_differs_is_marked_with_all_three_values() -> None:
    found = rows()
    assert found["title"] == ValueRow("title", {"jobtitle": "Boss"}, "Boss", None, differs=True)
    assert found["industry"] == ValueRow("industry", {"industrycode": 3}, "Gold", "Gold", differs=False)
    assert found["phone"].dynamics == {"telephone1": None, "mobilephone": "123"}
    assert [name for name, row in found.items() if row.differs] == ["title", "priority"]


def test_sales_insight_s_fields_are_compared_the_other_way_round() -> None:
    found = rows()
    assert found["priority"] == ValueRow("priority", {"new_priority": 4}, 2, 2, differs=True, back=True)
    assert (found["relativeUrgency"].differs, found["relativeUrgency"].back) == (False, True)
    bad = rows(records=[{**RECORD, "priority": "high"}])["priority"]
    assert (bad.differs, bad.is_sent) == (False, False)
    assert "cannot hold it" in bad.note


def test_what_is_not_sent_says_why_and_is_no_difference() -> None:
    found = rows()
    assert (found["email"].is_sent, found["email"].marketo) == (False, "pat@customer.example")
    assert "NotAnAddress" in found["email"].note
    assert "msisync fields check" in found["gone"].note
    kept = rows(mapped={"firstName": "Pat"})["title"]
    assert (kept.is_sent, kept.differs) == (False, False)
    assert "keeps what it has" in kept.note


def test_without_a_record_in_marketo_nothing_differs() -> None:
    found = rows(records=[])
    assert not any(row.differs for row in found.values())
    assert found["title"].sent == "Boss"
    assert side_by_side(person(row={}), CONFIG, INSIGHT) == []


def test_another_table_has_its_own_key_links_and_fields() -> None:
    config = SyncConfig.model_validate({"account": {"fields": {"company": "name", "site": "websiteurl"}}})
    seller = Parent("sales_person", "systemuser", guid(3))
    account = Person(
        Subject("account", ME, "Acme", exists=True, in_marketo=1),
        row={"accountid": ME, "name": "Acme", "websiteurl": None},
        records=[{"externalCompanyId": ME, "externalSalesPersonId": None, "company": "ACME", "site": None}],
        fields=("company", "site"),
        mapped={"externalCompanyId": ME, "company": "Acme", "site": None},
        relations=[Relation("externalSalesPersonId", seller, "the row's owner", "Sam", in_marketo=True)],
    )
    found = side_by_side(account, config, INSIGHT)
    assert [row.field for row in found] == ["externalCompanyId", "externalSalesPersonId", "company", "site"]
    assert [row.field for row in found if row.differs] == ["externalSalesPersonId", "company"]
    assert found[0].dynamics == {"accountid": ME}


def test_people_read_one_line_each_and_three_where_the_sides_differ() -> None:
    given = person()
    given.verdict, given.values = ok("Pat is …", code="Synced"), side_by_side(given, CONFIG, INSIGHT)
    text = printed(lambda console: render(console, Search([given])), width=80)
    lines = [line.rstrip() for line in text.splitlines()]
    for expected in (
        "    firstName: Pat", "    industry: 3 → Gold", "    phone: empty / 123 → 123", "  * title",
        "      Dynamics  Boss  (jobtitle)", "      to send   Boss", "      Marketo   empty",
        "Values that Sales Insight writes into Dynamics", "      to write  2", "    relativeUrgency: 5",
    ):  # fmt: skip
        assert expected in lines
    assert max(map(len, lines)) <= 80


def test_the_json_has_them_where_they_were_asked_for() -> None:
    given = person()
    given.values = side_by_side(given, CONFIG, INSIGHT)
    (told,) = as_json(ME, Search([given]), given.verdict)["persons"]
    assert [row["field"] for row in told["values"]] == [row.field for row in given.values]
    assert told["values"][3] == {
        "field": "title", "dynamics": {"jobtitle": "Boss"}, "sent": "Boss", "marketo": None, "differs": True,
        "is_sent": True, "back": False, "note": "",
    }  # fmt: skip
