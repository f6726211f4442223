"""The Web API of the simulator: who may ask, and reading rows."""

import json
from urllib.parse import quote

import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import Running
from emulators.dataverse.seeding import seed

FORMATTED = "@OData.Community.Display.V1.FormattedValue"
TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"
NAVIGATION = "@Microsoft.Dynamics.CRM.associatednavigationproperty"
ACME = "ac000000-0000-4000-a000-000000000004"
ANNA = "0a000000-0000-4000-a000-000000000001"
ALL = 'odata.include-annotations="*"'


ROWS = {
    "account": [{"accountid": ACME, "name": "Acme", "revenue": 1500}],
    "contact": [
        {
            "contactid": ANNA, "firstname": "Anna", "lastname": "Berg", "statecode": 1,
            "_parentcustomerid_value": ACME, "_parentcustomerid_value" + TABLE: "account",
            "new_interests": "100000000,100000003",
        }
    ],
}  # fmt: skip


async def test_without_a_valid_token_the_answer_tells_where_to_sign_in(api: Running) -> None:
    for token in (None, "nonsense"):
        answer = await api.call("GET", "WhoAmI", token=token)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == (
            f"Bearer authorization_uri=https://login.microsoftonline.com/{constants.TENANT_ID}/oauth2/authorize, "
            "resource_id=https://contoso.crm4.dynamics.com/"
        )


@pytest.mark.parametrize("names", ["['account','contact','lead']", "@p"])
async def test_the_rows_of_tables_are_counted(api: Running, names: str) -> None:
    query = "?@p=[%22account%22,%22contact%22,%22lead%22]" if names == "@p" else ""
    answer = await api.call("GET", f"RetrieveTotalRecordCount(EntityNames={names}){query}")
    found = json.loads(answer.body)["EntityRecordCountCollection"]
    assert found == {"Count": 3, "IsReadOnly": False, "Keys": ["account", "contact", "lead"], "Values": [1, 1, 0]}


async def test_tables_that_do_not_exist_cannot_be_counted(api: Running) -> None:
    assert (await api.call("GET", "RetrieveTotalRecordCount(EntityNames=['accounts'])")).status == 400


async def test_tokens_expire(api: Running) -> None:
    token = api.access_token()
    api.environment.switches.clock_offset = 3599
    assert (await api.call("GET", "WhoAmI", token=token)).status == 200
    api.environment.switches.clock_offset = 3601
    assert (await api.call("GET", "WhoAmI", token=token)).status == 401


async def test_who_am_i_and_the_organisation(api: Running) -> None:
    who = (await api.call("GET", "WhoAmI")).json()
    assert who["UserId"] == constants.SYNC_USER_ID
    assert who["OrganizationId"] == constants.ORGANIZATION_ID
    path = "RetrieveCurrentOrganization(AccessType=@p1)?@p1=Microsoft.Dynamics.CRM.EndpointAccessType'Default'"
    detail = (await api.call("GET", path)).json()["Detail"]
    assert detail["UniqueName"] == constants.ORGANIZATION_UNIQUE_NAME
    assert detail["TenantId"] == constants.TENANT_ID
    places = dict(zip(detail["Endpoints"]["Keys"], detail["Endpoints"]["Values"], strict=True))
    assert places["WebApplication"] == "https://contoso.crm4.dynamics.com/"


async def test_an_application_without_its_user_is_no_member(api: Running) -> None:
    token = api.simulator.login.access_token_for(None)
    del api.environment.store.rows["systemuser"][constants.APPLICATION_USER_ID]
    answer = await api.call("GET", "WhoAmI", token=token)
    assert (answer.status, answer.code) == (403, "0x80072560")
    user = {"domainname": "app", "applicationid": constants.CLIENT_ID, "lastname": "app"}
    ids = seed(api.environment, {"systemuser": [user]})["systemuser"]
    assert (await api.call("GET", "WhoAmI", token=token)).json()["UserId"] == ids[0]


async def test_a_row_with_its_annotations(api: Running) -> None:
    select = "fullname,statecode,_parentcustomerid_value,_ownerid_value,new_interests,versionnumber"
    row = (await api.call("GET", f"contacts({ANNA})?$select={select}", prefer=ALL)).json()
    assert row["contactid"] == ANNA
    assert row["fullname"] == "Anna Berg"
    assert (row["statecode"], row["statecode" + FORMATTED]) == (1, "Inactive")
    assert row["_parentcustomerid_value"] == ACME
    assert row["_parentcustomerid_value" + TABLE] == "account"
    assert row["_parentcustomerid_value" + FORMATTED] == "Acme"
    assert row["_parentcustomerid_value" + NAVIGATION] == "parentcustomerid_account"
    assert row["_ownerid_value" + NAVIGATION] == "ownerid"
    assert row["_ownerid_value" + FORMATTED] == "Marketo Sync"
    assert row["new_interests" + FORMATTED] == "Robotics; Packaging"
    assert row["@odata.etag"] == f'W/"{row["versionnumber"]}"'
    assert "firstname" not in row


async def test_annotations_come_only_when_asked_for(api: Running) -> None:
    path = f"contacts({ANNA})?$select=statecode,_parentcustomerid_value"
    assert not any("@" in name for name in (await api.call("GET", path)).json() if not name.startswith("@"))
    prefer = f'odata.include-annotations="{TABLE[1:]}"'
    row = (await api.call("GET", path, prefer=prefer)).json()
    assert {name for name in row if "@" in name[1:]} == {"_parentcustomerid_value" + TABLE}


async def test_labels_follow_the_language_of_the_user(api: Running) -> None:
    api.environment.switches.language = 1031
    row = (await api.call("GET", f"contacts({ANNA})?$select=statecode", prefer=ALL)).json()
    assert row["statecode" + FORMATTED] == "Inaktiv"


async def test_money_brings_its_currency_along(api: Running) -> None:
    row = (await api.call("GET", f"accounts({ACME})?$select=revenue", prefer=ALL)).json()
    assert (row["revenue"], row["revenue" + FORMATTED]) == (1500, "€1,500.00")
    assert row["_transactioncurrencyid_value"] == constants.CURRENCY_ID


@pytest.mark.parametrize("name", ["surname", "ownerid", "parentcustomerid", "parentcustomeridname", "FirstName"])
async def test_a_wrong_column_fails_the_query(api: Running, name: str) -> None:
    answer = await api.call("GET", f"contacts?$select=lastname,{name}")
    assert (answer.status, answer.code) == (400, "0x80060888")
    assert f"'{name}'" in answer.json()["error"]["message"]


async def test_what_is_not_there(api: Running) -> None:
    missing = await api.call("GET", f"contacts({ACME})")
    assert (missing.status, missing.code) == (404, "0x80040217")
    assert (await api.call("GET", "kontakte")).status == 404
    assert (await api.call("GET", "contacts(17)")).status == 400
    assert (await api.call("GET", "contacts?$skip=3")).status == 400


async def test_a_row_that_has_not_changed_is_not_sent_again(api: Running) -> None:
    etag = (await api.call("GET", f"contacts({ANNA})")).json()["@odata.etag"]
    assert (await api.call("GET", f"contacts({ANNA})", if_none_match=etag)).status == 304
    await api.call("PATCH", f"contacts({ANNA})", {"firstname": "Ann"})
    assert (await api.call("GET", f"contacts({ANNA})", if_none_match=etag)).status == 200


def people(count: int) -> list[dict[str, object]]:
    return [{"lastname": f"P{number:05}", "numberofchildren": number % 3} for number in range(count)]


async def test_pages_follow_their_links_and_miss_nothing(api: Running) -> None:
    ids = set(seed(api.environment, {"contact": people(25)})["contact"]) | {ANNA}
    prefer = "odata.maxpagesize=10"
    path = "contacts?$select=lastname&$orderby=numberofchildren%20desc,lastname"
    seen: list[tuple[int, str]] = []
    sizes = []
    while path:
        page = (await api.call("GET", path, prefer=prefer)).json()
        rows = [api.environment.store.rows["contact"][row["contactid"]] for row in page["value"]]
        seen += [(-(row.get("numberofchildren") or 0), row["contactid"]) for row in rows]
        sizes.append(len(rows))
        link = page.get("@odata.nextLink", "")
        assert link == "" or link.startswith("https://contoso.crm4.dynamics.com/api/data/v9.2/contacts?")
        path = link.partition("/v9.2/")[2]
        await api.call("POST", "contacts", {"lastname": "A late one"})
    assert sizes[:2] == [10, 10]
    assert ids <= {row_id for _, row_id in seen}
    assert [rank for rank, _ in seen] == sorted(rank for rank, _ in seen)
    assert len(seen) == len(set(seen))


async def test_no_page_has_more_than_5000_rows(api: Running) -> None:
    seed(api.environment, {"contact": people(5001)})
    page = (await api.call("GET", "contacts?$select=contactid&$count=true", prefer="odata.maxpagesize=9999")).json()
    assert len(page["value"]) == 5000
    assert page["@odata.count"] == 5000
    rest = await api.call("GET", page["@odata.nextLink"].partition("/v9.2/")[2])
    assert len(rest.json()["value"]) == 2


async def test_in_reads_many_rows_by_id(api: Running) -> None:
    ids = seed(api.environment, {"contact": people(300)})["contact"]
    flt = quote("Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)")
    wanted = [*ids[:200], ACME]
    path = f"contacts?$select=lastname&$filter={flt}&@p1={quote(repr('contactid'))}&@p2={quote(json.dumps(wanted))}"
    rows = (await api.call("GET", path)).json()["value"]
    assert {row["contactid"] for row in rows} == set(ids[:200])
    assert api.environment.stats.ids_read == 200


async def test_a_url_over_32768_characters_is_refused(api: Running) -> None:
    assert (await api.call("GET", "contacts?$filter=" + "x" * 32_768)).status == 414


METADATA = "EntityDefinitions(LogicalName='lead')/Attributes"


async def test_metadata_of_a_table(api: Running) -> None:
    path = (
        "EntityDefinitions(LogicalName='opportunity')"
        "?$select=EntitySetName,PrimaryIdAttribute,PrimaryNameAttribute,ChangeTrackingEnabled,ObjectTypeCode"
    )
    found = (await api.call("GET", path)).json()
    assert found["EntitySetName"] == "opportunities"
    assert (found["PrimaryIdAttribute"], found["PrimaryNameAttribute"]) == ("opportunityid", "name")
    assert (found["ObjectTypeCode"], found["ChangeTrackingEnabled"]) == (3, True)
    assert (await api.call("GET", "EntityDefinitions(LogicalName='opportunityx')")).status == 404


async def test_metadata_of_columns_needs_a_cast_for_typed_properties(api: Running) -> None:
    plain = (await api.call("GET", f"{METADATA}?$select=LogicalName,AttributeType,AttributeOf,DisplayName")).json()
    by_name = {item["LogicalName"]: item for item in plain["value"]}
    moment = by_name["new_last_interesting_moment_desc"]
    assert moment["@odata.type"] == "#Microsoft.Dynamics.CRM.StringAttributeMetadata"
    assert moment["DisplayName"]["UserLocalizedLabel"]["Label"] == "Last Interesting Moment Description"
    assert by_name["parentaccountidname"]["AttributeOf"] == "parentaccountid"
    assert (await api.call("GET", f"{METADATA}?$select=LogicalName,MaxLength")).status == 400
    cast = f"{METADATA}/Microsoft.Dynamics.CRM.StringAttributeMetadata?$select=LogicalName,MaxLength"
    lengths = {item["LogicalName"]: item["MaxLength"] for item in (await api.call("GET", cast)).json()["value"]}
    assert lengths["mobilephone"] == 20
    assert "description" not in lengths


@pytest.mark.parametrize(
    ("cast", "column", "property_name", "expected"),
    [
        ("MemoAttributeMetadata", "description", "MaxLength", 2000),
        ("IntegerAttributeMetadata", "numberofemployees", "MaxValue", 1_000_000),
        ("MoneyAttributeMetadata", "revenue", "Precision", 2),
        ("DateTimeAttributeMetadata", "new_last_interesting_moment_date", "Format", "DateAndTime"),
        ("LookupAttributeMetadata", "customerid", "Targets", ["account", "contact"]),
        ("LookupAttributeMetadata", "ownerid", "Targets", ["systemuser", "team"]),
    ],
)
async def test_types_have_properties(
    api: Running, cast: str, column: str, property_name: str, expected: object
) -> None:
    path = f"{METADATA}/Microsoft.Dynamics.CRM.{cast}?$select=LogicalName,{property_name}"
    items = (await api.call("GET", path)).json()["value"]
    assert {item["LogicalName"]: item[property_name] for item in items}[column] == expected


async def test_option_sets_carry_labels_in_both_languages(api: Running) -> None:
    expand = "$expand=OptionSet($select=Options),GlobalOptionSet($select=Options)"
    path = f"{METADATA}/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?$select=LogicalName&{expand}"
    items = (await api.call("GET", path)).json()["value"]
    rating = next(item for item in items if item["LogicalName"] == "leadqualitycode")
    labels = {
        option["Value"]: {label["LanguageCode"]: label["Label"] for label in option["Label"]["LocalizedLabels"]}
        for option in rating["OptionSet"]["Options"]
    }
    assert labels[1] == {1033: "Hot", 1031: "Heiß"}
    status = await api.call(
        "GET", f"{METADATA}/Microsoft.Dynamics.CRM.StatusAttributeMetadata?$select=LogicalName&$expand=OptionSet"
    )
    states = {option["Value"]: option["State"] for option in status.json()["value"][0]["OptionSet"]["Options"]}
    assert states == {1: 0, 2: 0, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2}
    boolean = f"{METADATA}/Microsoft.Dynamics.CRM.BooleanAttributeMetadata?$select=LogicalName&$expand=OptionSet"
    flags = {item["LogicalName"]: item["OptionSet"] for item in (await api.call("GET", boolean)).json()["value"]}
    assert flags["donotphone"]["TrueOption"]["Label"]["UserLocalizedLabel"]["Label"] == "Do Not Allow"


async def test_metadata_can_be_filtered_by_type(api: Running) -> None:
    kind = quote("AttributeType eq Microsoft.Dynamics.CRM.AttributeTypeCode'Picklist'")
    items = (await api.call("GET", f"{METADATA}?$select=LogicalName&$filter={kind}")).json()["value"]
    names = {item["LogicalName"] for item in items}
    assert "leadqualitycode" in names
    assert "lastname" not in names
