"""Change tracking of the simulator: what has changed or was deleted since a delta link."""

from typing import Any

import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import Answer, Running
from emulators.dataverse.seeding import fixed_id

TRACKED = "odata.track-changes"
_DAY = 86_400.0


def _id(number: int) -> str:
    return fixed_id("account", str(number))


ROWS = {"account": [{"accountid": _id(n), "name": f"Account {n}"} for n in range(5)]}


async def _follow(api: Running, link: str, **headers: str) -> Answer:
    return await api.call("GET", link.removeprefix(constants.API_URL), **headers)


async def _all(api: Running, path: str, **headers: str) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of every page, and the delta link of the last one."""
    rows: list[dict[str, Any]] = []
    while True:
        answer = await _follow(api, path, **headers)
        assert answer.status == 200, answer.body
        body = answer.json()
        rows += body["value"]
        if "@odata.nextLink" not in body:
            return rows, body["@odata.deltaLink"]
        assert "@odata.deltaLink" not in body, "only the last page has the delta link"
        path = body["@odata.nextLink"]


async def test_a_first_request_tells_every_row_by_pages_and_a_link_with_which_nothing_is_new(api: Running) -> None:
    rows, link = await _all(api, "accounts?$select=accountid", prefer=f"{TRACKED},odata.maxpagesize=2")
    assert [row["accountid"] for row in rows] == [_id(n) for n in range(5)]
    assert all(row["@odata.etag"] for row in rows)
    assert "$deltatoken=" in link
    assert "$skiptoken" not in link
    assert (await _all(api, link))[0] == []


async def test_a_link_tells_what_was_created_changed_and_deleted_rows_first(api: Running) -> None:
    _, link = await _all(api, "accounts?$select=name", prefer=TRACKED)
    await api.call("PATCH", f"accounts({_id(3)})", {"name": "Another name"})
    await api.call("DELETE", f"accounts({_id(1)})")
    made = (await api.call("POST", "accounts", {"name": "New"})).row_id
    gone = (await api.call("POST", "accounts", {"name": "Soon gone"})).row_id
    await api.call("DELETE", f"accounts({gone})")
    rows, following = await _all(api, link, prefer="odata.maxpagesize=1")
    assert [(row["accountid"], row["name"]) for row in rows[:2]] == [(_id(3), "Another name"), (made, "New")]
    context = f"{constants.API_URL}$metadata#accounts/$deletedEntity"
    assert rows[2:] == [{"@odata.context": context, "id": id_, "reason": "deleted"} for id_ in (_id(1), gone)]
    assert (await _all(api, following))[0] == []
    assert len((await _all(api, link))[0]) == 4, "the same link may be followed again"


async def test_what_changes_between_two_pages_is_told_again_by_the_link_at_the_end(api: Running) -> None:
    first = (await api.call("GET", "accounts?$select=name", prefer=f"{TRACKED},odata.maxpagesize=2")).json()
    await api.call("PATCH", f"accounts({_id(0)})", {"name": "Meanwhile"})
    _, link = await _all(api, first["@odata.nextLink"], prefer=f"{TRACKED},odata.maxpagesize=2")
    assert [row["name"] for row in (await _all(api, link))[0]] == ["Meanwhile"]


async def test_a_row_whose_creation_was_undone_was_never_deleted(api: Running) -> None:
    _, link = await _all(api, "accounts?$select=name", prefer=TRACKED)
    refused = {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.account", "name": name} for name in ("A", "")]}
    refused["Targets"][1]["accountid"] = _id(0)
    answer = await api.call("POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", refused)
    assert answer.status == 412
    assert (await _all(api, link))[0] == []


@pytest.mark.parametrize("option", ["$filter=name eq 'A'", "$orderby=name", "$top=1", "$expand=primarycontactid"])
async def test_other_options_are_refused(api: Running, option: str) -> None:
    answer = await api.call("GET", f"accounts?{option.replace(' ', '%20')}", prefer=TRACKED)
    assert answer.status == 400
    assert "isn't supported when Change Tracking is enabled" in answer.json()["error"]["message"]


async def test_a_link_is_good_for_as_many_days_as_the_organisation_says(api: Running) -> None:
    _, link = await _all(api, "accounts?$select=name", prefer=TRACKED)
    api.environment.switches.clock_offset = 7 * _DAY - 60
    assert (await _follow(api, link)).status == 200
    api.environment.switches.clock_offset = 7 * _DAY + 60
    answer = await _follow(api, link)
    assert (answer.status, answer.code) == (400, "0x80060892")
    api.environment.switches.change_tracking_days = 30
    assert (await _follow(api, link)).status == 200


async def test_a_table_must_be_tracked_and_visible_as_a_whole(api: Running) -> None:
    api.environment.switches.no_change_tracking = ["account"]
    path = "EntityDefinitions(LogicalName='account')?$select=ChangeTrackingEnabled"
    assert (await api.call("GET", path)).json()["ChangeTrackingEnabled"] is False
    assert (await api.call("GET", "accounts", prefer=TRACKED)).status == 400
    api.environment.switches.no_change_tracking = []
    api.environment.switches.hidden_rows = [_id(1)]
    answer = await api.call("GET", "accounts", prefer=TRACKED)
    assert (answer.status, answer.code) == (403, "0x80040220")


@pytest.mark.parametrize("token", ["nonsense", "1!yesterday"])
async def test_a_link_that_nobody_gave_out_is_refused(api: Running, token: str) -> None:
    assert (await api.call("GET", f"accounts?$deltatoken={token}")).status == 400
