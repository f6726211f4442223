"""Columns that a switch takes away while the simulator runs, and gives back."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from emulators.dataverse.harness import Answer, RecordingQueues, Running, registration, running
from emulators.dataverse.seeding import seed
from emulators.functions.harness import until

METADATA = "EntityDefinitions(LogicalName='contact')/Attributes"


@pytest.fixture
async def api(queues: RecordingQueues) -> AsyncIterator[Running]:
    """The sample company, whose changes of contacts are posted."""
    async with running(queues=queues) as started:
        seed(started.environment, registration("contact", watched="lastname,jobtitle"))
        yield started


async def switch(api: Running, **switches: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{api.control_url}/switches", json=switches)


def missing(answer: Answer, name: str) -> bool:
    message = f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.contact'."
    return (answer.status, answer.code, answer.json()["error"]["message"]) == (400, "0x80060888", message)


async def attributes(api: Running) -> dict[str, dict[str, Any]]:
    answer = await api.call("GET", f"{METADATA}?$select=LogicalName,IsValidForRead")
    return {item["LogicalName"]: item for item in answer.json()["value"]}


async def posted(api: Running, queues: RecordingQueues) -> dict[str, Any]:
    """The body of the only post that is on its way."""
    await until(lambda: not api.simulator.delivery.pending)
    (body,) = queues.bodies()
    queues.sent.clear()
    return dict(body)


@pytest.mark.parametrize(
    "query",
    [
        "contacts?$select=lastname,jobtitle",
        "contacts?$select=lastname&$filter=jobtitle eq null",
        "contacts?$select=lastname&$orderby=jobtitle",
        "contacts?$filter=Microsoft.Dynamics.CRM.In(PropertyName=@p,PropertyValues=@v)&@p='jobtitle'&@v=[\"x\"]",
        "accounts?$select=name&$expand=primarycontactid($select=jobtitle)",
        "accounts?$select=name&$filter=primarycontactid/jobtitle eq 'x'",
    ],
)
async def test_a_query_that_names_a_removed_column_fails(api: Running, query: str) -> None:
    assert (await api.call("GET", query)).status == 200
    await switch(api, removed_columns={"contact": ["jobtitle"]})
    assert missing(await api.call("GET", query), "jobtitle")
    await switch(api, removed_columns={})
    assert (await api.call("GET", query)).status == 200


async def test_a_removed_lookup_is_gone_under_both_of_its_names(api: Running) -> None:
    await switch(api, removed_columns={"contact": ["parentcustomerid"]})
    assert missing(await api.call("GET", "contacts?$select=_parentcustomerid_value"), "_parentcustomerid_value")
    answer = await api.call("GET", "contacts?$select=lastname&$expand=parentcustomerid_account($select=name)")
    assert missing(answer, "parentcustomerid_account")
    unnamed = await api.call("GET", "contacts?$top=1")
    assert not any("parentcustomerid" in name for name in unnamed.json()["value"][0])


async def test_a_row_without_select_does_not_show_it(api: Running) -> None:
    await switch(api, removed_columns={"contact": ["jobtitle"]})
    (row,) = (await api.call("GET", "contacts?$top=1")).json()["value"]
    assert "jobtitle" not in row
    assert missing(await api.call("GET", f"contacts({row['contactid']})?$select=jobtitle"), "jobtitle")


async def test_a_write_that_names_it_changes_nothing(api: Running) -> None:
    (row,) = (await api.call("GET", "contacts?$top=1&$select=lastname")).json()["value"]
    address = f"contacts({row['contactid']})"
    await switch(api, removed_columns={"contact": ["jobtitle"]})
    target = {"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": row["contactid"]}
    for method, path, body in (
        ("PATCH", address, {"lastname": "New", "jobtitle": "x"}),
        ("POST", "contacts", {"lastname": "New", "jobtitle": "x"}),
        ("POST", "contacts/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [{**target, "jobtitle": "x"}]}),
    ):
        answer = await api.call(method, path, body)
        assert (answer.status, answer.code) == (400, "0x80048d19")
        assert "'jobtitle' does not exist on type 'Microsoft.Dynamics.CRM.contact'" in answer.json()["error"]["message"]
    assert (await api.call("GET", f"{address}?$select=lastname")).json()["lastname"] == row["lastname"]
    assert (await api.call("PATCH", address, {"lastname": "New"})).status == 204


async def test_metadata_does_not_list_it(api: Running) -> None:
    assert {"jobtitle", "gendercode", "gendercodename"} <= (await attributes(api)).keys()
    await switch(api, removed_columns={"contact": ["jobtitle", "gendercode"]})
    assert not {"jobtitle", "gendercode", "gendercodename"} & (await attributes(api)).keys()
    assert (await api.call("GET", f"{METADATA}(LogicalName='jobtitle')")).status == 404
    await switch(api, removed_columns={})
    assert "jobtitle" in await attributes(api)


async def test_a_step_cannot_filter_on_it_any_more(api: Running) -> None:
    steps = await api.call(
        "GET",
        "sdkmessageprocessingsteps?$select=name&$filter=" + quote("name eq 'contact Update'"),
    )
    address = f"sdkmessageprocessingsteps({steps.json()['value'][0]['sdkmessageprocessingstepid']})"
    await switch(api, removed_columns={"contact": ["jobtitle"]})
    refused = await api.call("PATCH", address, {"filteringattributes": "lastname,jobtitle"})
    assert refused.status == 400
    assert "'jobtitle' does not exist" in refused.json()["error"]["message"]
    assert (await api.call("PATCH", address, {"name": "Another name"})).status == 204
    assert (await api.call("PATCH", address, {"filteringattributes": "lastname"})).status == 204


async def test_notifications_do_not_carry_it(api: Running, queues: RecordingQueues) -> None:
    made = await api.call("POST", "contacts", {"lastname": "Berg", "jobtitle": "Buyer"})
    assert '"jobtitle"' in json.dumps(await posted(api, queues))
    await switch(api, removed_columns={"contact": ["jobtitle", "donotphone"]})
    assert (await api.call("PATCH", f"contacts({made.row_id})", {"lastname": "Dahl"})).status == 204
    body = await posted(api, queues)
    assert body["MessageName"] == "Update"
    await api.call("POST", "contacts", {"lastname": "Berg"})
    text = json.dumps(await posted(api, queues))
    assert '"lastname"' in text
    assert "donotphone" not in text


async def test_an_unreadable_column_can_be_written_and_not_read(api: Running) -> None:
    await switch(api, unreadable_columns={"contact": ["jobtitle"]})
    assert missing(await api.call("GET", "contacts?$select=jobtitle"), "jobtitle")
    assert (await attributes(api))["jobtitle"]["IsValidForRead"] is False
    assert (await api.call("POST", "contacts", {"lastname": "Berg", "jobtitle": "Buyer"})).status == 204
    await switch(api, unreadable_columns={})
    assert (await attributes(api))["jobtitle"]["IsValidForRead"] is True


@pytest.mark.parametrize(
    "wrong", [{"kontakt": ["jobtitle"]}, {"contact": ["surname"]}, {"contact": ["contactid"]}, {"contact": ["ownerid"]}]
)
async def test_only_columns_that_can_go_are_taken_away(api: Running, wrong: dict[str, list[str]]) -> None:
    assert (await switch(api, removed_columns=wrong)).status_code == 400
    assert (await api.call("GET", "contacts?$select=jobtitle&$top=1")).status == 200


async def test_a_renamed_option_has_its_new_label_everywhere(api: Running) -> None:
    account = api.environment.store.rows["account"]
    row = next(row for row in account.values() if row.get("industrycode") is not None)
    value, id_ = row["industrycode"], row["accountid"]
    renamed = {"account": {"industrycode": {str(value): "Renamed"}}}
    assert (await switch(api, renamed_options=renamed)).status_code == 200
    options = "EntityDefinitions(LogicalName='account')/Attributes(LogicalName='industrycode')"
    cast = f"{options}/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?$select=LogicalName&$expand=OptionSet"
    found = {each["Value"]: each["Label"] for each in (await api.call("GET", cast)).json()["OptionSet"]["Options"]}
    labels = {label["LanguageCode"]: label["Label"] for label in found[value]["LocalizedLabels"]}
    assert (labels[1033], found[value]["UserLocalizedLabel"]["Label"]) == ("Renamed", "Renamed")
    assert labels[1031] != "Renamed", "the other language keeps its label"
    assert all(label["UserLocalizedLabel"]["Label"] != "Renamed" for key, label in found.items() if key != value)
    shown = await api.call("GET", f"accounts({id_})?$select=industrycode", prefer='odata.include-annotations="*"')
    annotated = shown.json()
    assert annotated["industrycode"] == value
    assert annotated["industrycode@OData.Community.Display.V1.FormattedValue"] == "Renamed"
    await switch(api, renamed_options={})
    found = {each["Value"]: each["Label"] for each in (await api.call("GET", cast)).json()["OptionSet"]["Options"]}
    assert found[value]["UserLocalizedLabel"]["Label"] != "Renamed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"account": {"industrycode": {"4711": "X"}}}, {"account": {"industrycode": {"1": " "}}},
        {"account": {"name": {"1": "X"}}}, {"accounts": {"industrycode": {"1": "X"}}},
    ],
    ids=["no such value", "no label", "no choice", "no table"],
)  # fmt: skip
async def test_only_options_that_are_there_are_renamed(api: Running, wrong: Any) -> None:
    assert (await switch(api, renamed_options=wrong)).status_code == 400
