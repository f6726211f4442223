"""Checks of what Sales Insight needs, on answers that the end-to-end tests do not get."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from shared.cli.doctor.fields import CHECKS
from shared.cli.doctor.runner import Subject
from shared.cli.finding import Finding, Severity
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.entities import Entity
from shared.model.errors import MarketoError
from tests.support.values import guid

RULES = SyncConfig.model_validate(
    {"lead": {"fields": {}}, "write_back": {"priority": "Priority Rating", "urgency": "Urgency Rating"}}
)
FIELDS = {"priority": MarketoField("integer"), "urgency": MarketoField("integer")}


class Systems:
    """Both systems: `mail` by user and by sales person, the fields of persons, and what reading them gives."""

    def __init__(self, **given: Any) -> None:
        self.of_users: Mapping[str, str] = given.get("users", {})
        self.of_sellers: Mapping[str, str | None] = given.get("sellers", {})
        self.known = given.get("known", FIELDS)
        self.error: MarketoError | None = given.get("error")

    def key_of(self, entity: Entity) -> str:
        return entity.key

    async def query(self, _url: str) -> list[dict[str, Any]]:
        return [{"systemuserid": id_.upper(), "internalemailaddress": mail} for id_, mail in self.of_users.items()]

    async def describe(self, _entity: Entity) -> dict[str, MarketoField]:
        return dict(self.known)

    async def read(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        if self.error:
            raise self.error
        return [{"externalSalesPersonId": id_, "email": mail} for id_, mail in self.of_sellers.items()]

    async def columns(self, _table: str, _language: int) -> dict[str, Column]:
        return {}


async def find(check: str, **given: Any) -> Finding:
    systems = Systems(**given)
    context: Any = SimpleNamespace(config=RULES, dataverse=systems, marketo=systems, metadata=systems)
    return await next(each.run for each in CHECKS if each.id == check)(Subject(context))


async def test_sales_persons_with_the_e_mail_of_their_user_are_fine_whatever_its_case() -> None:
    found = await find(
        "sales-person-mail", users={guid(1): "Sam@x.com", guid(2): "b@x.com"}, sellers={guid(1): "sam@X.com "}
    )
    assert (found.severity, found.text) == (Severity.OK, "the same for 1 sales person, of 2 users looked at")


async def test_without_a_sales_person_in_marketo_there_is_nothing_to_compare() -> None:
    found = await find("sales-person-mail", users={guid(1): "sam@x.com"}, sellers={})
    assert found.severity is Severity.OK
    assert found.text == "nothing to compare: of 1 user looked at, none is a sales person in Marketo yet"
    assert (await find("sales-person-mail", users={})).severity is Severity.OK


async def test_a_sales_person_with_another_e_mail_is_named_with_both() -> None:
    users = {guid(1): "sam@x.com", guid(2): "ann@x.com", guid(3): "eva@x.com"}
    found = await find(
        "sales-person-mail", users=users, sellers={guid(1): "old@x.com", guid(2): None, guid(3): "eva@x.com"}
    )
    assert found.severity is Severity.ATTENTION
    assert found.details == ("ann@x.com in Dynamics, nothing in Marketo", "sam@x.com in Dynamics, old@x.com in Marketo")
    assert "2 of 3 sales persons" in found.text


async def test_fields_that_marketo_lacks_are_named() -> None:
    found = await find("insight-fields", known={"priority": FIELDS["priority"]})
    assert (found.severity, found.details) == (Severity.ATTENTION, ("urgency: Marketo has no such lead field",))


@pytest.mark.parametrize("code", ["1003", "1006"])
async def test_fields_that_marketo_describes_and_does_not_give_are_reported(code: str) -> None:
    found = await find("insight-fields", error=MarketoError(code, "Invalid field", kind=Kind.CONFIGURATION))
    assert (found.severity, f"{code}: Invalid field" in found.text) == (Severity.ATTENTION, True)


async def test_another_error_of_marketo_is_no_answer_about_the_fields() -> None:
    with pytest.raises(MarketoError):
        await find("insight-fields", error=MarketoError("606", "limit", kind=Kind.THROTTLED))
    assert (await find("insight-fields")).text == "2 can be read"


async def test_columns_that_dynamics_lacks_cannot_be_written() -> None:
    found = await find("insight-columns")
    assert (found.severity, found.text) == (Severity.ATTENTION, "2 of 2 cannot be written")
    assert found.remedy
