"""What an answer of change tracking says, and what is asked for."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.dataverse.change_tracking import changes, first_link, version_of
from shared.model.errors import DataverseError
from tests.support.values import guid

DELTA = "/api/data/v9.2/accounts?$select=accountid&$deltatoken=1%2101"
GONE = {"@odata.context": "https://o/$metadata#accounts/$deletedEntity", "id": guid(2).upper(), "reason": "deleted"}


class Dataverse:
    """Gives one answer, and keeps what it was asked."""

    def __init__(self, **answer: Any) -> None:
        self.given = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def answer(self, link: str, headers: Mapping[str, str], *, deadline: float | None = None) -> Any:
        del deadline
        self.asked.append((link, dict(headers)))
        return self.given

    def path_of(self, link: str | None) -> str:
        return link or ""


def dataverse(**answer: Any) -> Any:
    return Dataverse(**{"value": [], "@odata.deltaLink": DELTA} | answer)


async def test_a_first_request_and_its_pages_ask_for_a_link_and_a_delta_link_does_not() -> None:
    asked = dataverse()
    first = first_link("accounts", ["name", "accountid"])
    assert first == "/api/data/v9.2/accounts?$select=accountid,name"
    for link in (first, f"{first}&$skiptoken=abc", DELTA, DELTA.replace("$delta", "%24delta")):
        await changes(asked, link)
    prefers = [headers.get("Prefer", "") for _, headers in asked.asked]
    assert all(prefer.startswith("odata.track-changes,odata.include-annotations=") for prefer in prefers[:2])
    assert prefers[2:] == ["", ""]


async def test_rows_and_deletions_are_told_apart() -> None:
    row = {"@odata.etag": 'W/"5"', "accountid": guid(1)}
    found = await changes(dataverse(value=[row, GONE]), DELTA)
    assert (found.rows, found.deleted, found.link, found.is_last) == ([row], [guid(2)], DELTA, True)


async def test_a_page_that_is_not_the_last_one_leads_to_the_next() -> None:
    found = await changes(dataverse(**{"@odata.nextLink": "/next"}), DELTA)
    assert (found.link, found.is_last) == ("/next", False)


async def test_an_answer_without_a_link_is_of_a_table_that_is_not_tracked() -> None:
    with pytest.raises(DataverseError, match="NoDeltaLink"):
        await changes(dataverse(**{"@odata.deltaLink": None}), DELTA)


@pytest.mark.parametrize("id_", [None, "", "accounts(1)"])
async def test_a_deletion_without_an_id_says_nothing(id_: str | None) -> None:
    with pytest.raises(DataverseError, match="UnknownAnswer"):
        await changes(dataverse(value=[{**GONE, "id": id_}]), DELTA)


@pytest.mark.parametrize(
    ("etag", "version"), [('W/"5948260"', 5948260), ('"5"', None), ('W/"x"', None), (None, None), (5, None)]
)
def test_the_version_of_a_row_is_the_number_of_its_etag(etag: object, version: int | None) -> None:
    assert version_of({"@odata.etag": etag}) == version
    assert version_of({}) is None
