"""What the way back of Sales Insight's fields asks of the Marketo simulator, over HTTP (marketo.md 6.1, 6.2 and 7)."""

from typing import Any

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import code, seed

NOW = 1_780_000_000.0
DAY = 86_400
FIELDS = "id,externalPersonId,priority,relativeScore"


async def token(marketo: Marketo) -> str:
    answer = await marketo.get("activities/pagingtoken", sinceDatetime="2020-01-01T00:00:00Z")
    return str(answer["nextPageToken"])


async def people(marketo: Marketo, *keys: str) -> list[int]:
    return await seed(marketo, "leads", *({"externalPersonId": key} for key in keys))


async def tell(marketo: Marketo, path: str, content: Any) -> int:
    return (await marketo.control.post(path, json=content)).status_code


async def pages(marketo: Marketo, path: str, **params: Any) -> list[list[dict[str, Any]]]:
    found, more, following = [], True, await token(marketo)
    while more:
        answer = await marketo.get(path, nextPageToken=following, **params)
        found.append(answer["result"])
        following, more = answer["nextPageToken"], answer["moreResult"]
    return found


async def test_a_score_change_is_logged_with_what_follows_from_it(marketo: Marketo) -> None:
    (lead_id,) = await people(marketo, "p")
    scored = {
        "externalPersonId": "p", "activityTypeId": 22, "primaryAttributeValue": "Lead Score",
        "attributes": {"Change Value": "+5", "New Value": "42"}, "recalculated": {"relativeScore": 3, "priority": 1},
    }  # fmt: skip
    assert await tell(marketo, "/activities", scored) == 200
    ((entry,),) = await pages(marketo, "activities", activityTypeIds="22,46")
    assert (entry["leadId"], entry["activityTypeId"], entry["primaryAttributeValue"]) == (lead_id, 22, "Lead Score")
    assert await pages(marketo, "activities/leadchanges", fields="priority,relativeScore") == [[]]
    (lead,) = (await marketo.get("leads", filterType="id", filterValues=lead_id, fields=FIELDS))["result"]
    assert (lead["priority"], lead["relativeScore"]) == (1, 3)


async def test_tiers_are_recalculated_without_a_trace(marketo: Marketo) -> None:
    first, second = await people(marketo, "p", "q")
    before = (await marketo.get("leads", filterType="id", filterValues=first, fields="updatedAt"))["result"]
    marketo.instance.clock.advance(60)
    assert await tell(marketo, "/recalculate", [{"id": first, "priority": 9}, {"externalPersonId": "q"}]) == 200
    leads = (await marketo.get("leads", filterType="id", filterValues=f"{first},{second}", fields=FIELDS))["result"]
    assert [lead["priority"] for lead in leads] == [9, None]
    assert (await marketo.get("leads", filterType="id", filterValues=first, fields="updatedAt"))["result"] == before
    assert await pages(marketo, "activities/leadchanges", fields="priority") == [[]]
    assert await pages(marketo, "activities", activityTypeIds="12,13,22,46") == [[]]
    assert await tell(marketo, "/recalculate", [{"id": first, "city": "Ulm"}]) == 400


async def test_an_ordinary_change_of_a_calculated_field_is_logged(marketo: Marketo) -> None:
    (lead_id,) = await people(marketo, "p")
    await marketo.control.patch("/records/leads", json=[{"id": lead_id, "relativeUrgency": 2}])
    ((change,),) = await pages(marketo, "activities/leadchanges", fields="priority,relativeUrgency")
    assert (change["leadId"], [field["name"] for field in change["fields"]]) == (lead_id, ["relativeUrgency"])


async def test_a_merged_person_is_gone_and_the_merger_is_logged(marketo: Marketo) -> None:
    winner, loser, other = await people(marketo, "p", "q", "r")
    assert await tell(marketo, "/merge", {"winner": {"id": winner}, "losers": [{"externalPersonId": "q"}]}) == 200
    left = (await marketo.get("leads", filterType="id", filterValues=f"{winner},{loser},{other}", fields=FIELDS))[
        "result"
    ]
    assert [lead["id"] for lead in left] == [winner, other]
    assert code(await marketo.get(f"lead/{loser}")) == "1004"
    kinds = {kind["name"]: kind["id"] for kind in (await marketo.get("activities/types"))["result"]}
    ((entry,),) = await pages(marketo, "activities", activityTypeIds=kinds["Merge Leads"])
    assert entry["leadId"] == winner
    assert {"name": "Merge IDs", "value": f"[{loser}]"} in entry["attributes"]
    assert await tell(marketo, "/merge", {"winner": {"id": winner}, "losers": [{"id": winner}]}) == 400


async def test_a_paging_token_may_be_too_old_forgotten_or_none(marketo: Marketo) -> None:
    first = await token(marketo)
    query = {"activityTypeIds": "46"}
    assert code(await marketo.get("activities", nextPageToken=first, **query)) == ""
    assert code(await marketo.get("activities", nextPageToken="ABC", **query)) == "1003"
    assert await tell(marketo, "/paging-tokens/forget", {}) == 200
    assert code(await marketo.get("activities", nextPageToken=first, **query)) == "1003"
    changes = await marketo.get("activities/leadchanges", nextPageToken=first, fields="city")
    assert code(changes) == "1003"
    marketo.instance.clock.advance(1)
    second = await token(marketo)
    marketo.instance.clock.advance(89 * DAY)
    await marketo.authorise()
    assert code(await marketo.get("activities", nextPageToken=second, **query)) == ""
    marketo.instance.clock.advance(2 * DAY)
    await marketo.authorise()
    assert code(await marketo.get("activities", nextPageToken=second, **query)) == "1003"


async def test_pages_are_as_short_as_the_instance_likes(marketo: Marketo) -> None:
    ids = await people(marketo, *(f"p{number}" for number in range(40)))
    moments = [{"leadId": ids[number], "activityTypeId": 46 if number in (0, 39) else 22} for number in range(40)]
    assert await tell(marketo, "/activities", moments) == 200
    await marketo.switch(activities_examined_per_page=10)
    found = await pages(marketo, "activities", activityTypeIds=46)
    assert [[entry["leadId"] for entry in page] for page in found] == [[ids[0]], [], [], [ids[39]]]


async def test_ten_kinds_of_activities_are_read_at_once_and_no_more(marketo: Marketo) -> None:
    start = await token(marketo)
    for count, expected in ((10, ""), (11, "1003")):
        kinds = ",".join(map(str, range(1, count + 1)))
        assert code(await marketo.get("activities", nextPageToken=start, activityTypeIds=kinds)) == expected


async def test_300_persons_a_call_by_either_id_and_no_more(marketo: Marketo) -> None:
    keys = [f"0a000000-0000-4000-a000-{number:012}" for number in range(301)]
    ids = await people(marketo, *keys)
    path = "/rest/v1/leads.json?_method=GET"
    for kind, values in (("id", ids), ("externalPersonId", keys)):
        for number, expected in ((300, ""), (301, "1003")):
            form = {"filterType": kind, "filterValues": ",".join(map(str, values[:number])), "fields": FIELDS}
            answer = (await marketo.rest.post(path, data=form)).json()
            assert code(answer) == expected
            assert expected or [lead["id"] for lead in answer["result"]] == ids[:300]
    long = await marketo.rest.get("/rest/v1/leads.json", params={"filterValues": ",".join(keys), "filterType": "x"})
    assert long.status_code == 414


async def test_an_unknown_name_among_the_fields_fails_the_query_or_is_left_out(marketo: Marketo) -> None:
    (lead_id,) = await people(marketo, "p")
    query = {"filterType": "id", "filterValues": str(lead_id), "fields": "id,relativeScoring"}
    assert code(await marketo.get("leads", **query)) == "1006"
    await marketo.switch(unknown_query_fields="ignore")
    assert (await marketo.get("leads", **query))["result"] == [{"id": lead_id}]


async def test_calls_are_counted_by_endpoint(marketo: Marketo) -> None:
    await pages(marketo, "activities", activityTypeIds=46)
    await marketo.get("activities", activityTypeIds=46, nextPageToken="ABC")
    calls = (await marketo.control.get("/stats")).json()["calls"]
    assert calls["/rest/v1/activities/pagingtoken.json"] == {"GET": {"ok": 1}}
    assert calls["/rest/v1/activities.json"] == {"GET": {"1003": 1, "ok": 1}}
