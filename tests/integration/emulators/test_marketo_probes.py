"""What a client that must not write anything learns about its permissions, over HTTP (marketo.md 1, 3 and 4)."""

from typing import Any

import pytest

from emulators.marketo.harness import Marketo

NOW = 1_780_000_000.0
NOBODY = "00000000-0000-0000-0000-000000000000"
# By object: path, a key that no record has, and the code with which an update of it is skipped.
PROBES: dict[str, tuple[str, dict[str, Any], str]] = {
    "salespersons": ("salespersons", {"externalSalesPersonId": NOBODY}, "1013"),
    "companies": ("companies", {"externalCompanyId": NOBODY}, "1013"),
    "leads": ("leads", {"externalPersonId": NOBODY}, "1004"),
    "opportunities": ("opportunities", {"externalOpportunityId": NOBODY}, "1013"),
    "roles": ("opportunities/roles", {"externalOpportunityId": NOBODY, "leadId": 1, "role": "x"}, "1013"),
}
FEEDS = (
    "activities/types", "activities/pagingtoken", "activities", "activities/leadchanges", "activities/deletedleads",
)  # fmt: skip
each_object = pytest.mark.parametrize("name", PROBES)


async def probe(marketo: Marketo, name: str, **values: Any) -> dict[str, Any]:
    """Ask to update a record that does not exist."""
    path, key, _ = PROBES[name]
    options = {"lookupField": "externalPersonId"} if name == "leads" else {"dedupeBy": "dedupeFields"}
    return await marketo.sync(path, [{**key, **values}], action="updateOnly", **options)


async def stored(marketo: Marketo) -> dict[str, int]:
    """Return how many records of each object there are."""
    counts = (await marketo.control.get("/stats")).json()["stored"]
    assert isinstance(counts, dict)
    return counts


@each_object
async def test_updating_what_does_not_exist_writes_nothing(marketo: Marketo, name: str) -> None:
    await marketo.switch(missing_company="implicit", missing_sales_person="implicit", role_parent_code="1003")
    links = {"externalCompanyId": "c", "externalSalesPersonId": "s"} if name in {"leads", "opportunities"} else {}
    answer = await probe(marketo, name, **links)
    assert answer["success"]
    (entry,) = answer["result"]
    assert entry.pop("seq", 0) == 0
    assert entry.pop("status") == "skipped"
    assert [reason["code"] for reason in entry.pop("reasons")] == [PROBES[name][2]]
    assert entry == {}
    assert set((await stored(marketo)).values()) == {0}
    token = (await marketo.get("activities/pagingtoken", sinceDatetime="2020-01-01T00:00:00Z"))["nextPageToken"]
    assert (await marketo.get("activities/leadchanges", fields="email", nextPageToken=token))["result"] == []


@each_object
@pytest.mark.parametrize("switch", ["denied_objects", "read_only_objects"])
async def test_a_missing_permission_refuses_before_input_is_read(marketo: Marketo, name: str, switch: str) -> None:
    await marketo.switch(**{switch: [name]}, native_crm_sync=True)
    path, _, _ = PROBES[name]
    for answer in (
        await probe(marketo, name),
        await probe(marketo, name, noSuchField=1),
        await marketo.sync(path, [], action="noSuchAction"),
        await marketo.sync(f"{path}/delete", []),
    ):
        assert "result" not in answer
        assert [error["code"] for error in answer["errors"]] == ["603"]
    described = await marketo.get(f"{path}/describe")
    assert described["success"] is (switch == "read_only_objects")
    await marketo.switch(**{switch: []}, native_crm_sync=False)
    assert (await probe(marketo, name))["success"]


@each_object
async def test_native_crm_sync_refuses_writes_of_its_objects_as_a_whole(marketo: Marketo, name: str) -> None:
    await marketo.switch(native_crm_sync=True)
    path, _, _ = PROBES[name]
    answers = [await probe(marketo, name, noSuchField=1), await marketo.sync(path, [])]
    if name == "leads":
        assert answers[0]["success"]
        assert answers[1]["errors"][0]["code"] == "701"
    else:
        assert [answer["errors"][0]["code"] for answer in answers] == ["1018", "1018"]
    assert (await marketo.get(f"{path}/describe"))["success"]


async def test_activities_have_a_permission_of_their_own(marketo: Marketo) -> None:
    await marketo.switch(denied_objects=["activities"])
    assert [(await marketo.get(path))["errors"][0]["code"] for path in FEEDS] == ["603"] * 5
    assert (await marketo.get("leads/describe2"))["success"]
    assert (await marketo.get("stats/usage"))["success"]
    await marketo.switch(denied_objects=["leads"])
    assert (await marketo.get("activities/types"))["success"]
