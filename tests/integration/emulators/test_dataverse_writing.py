"""The Web API of the simulator: writing rows, one by one and in bulk."""

from typing import Any

import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import Answer, Running
from emulators.dataverse.seeding import fixed_id

TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"
ACME = "ac000000-0000-4000-a000-000000000004"
OTHER = "ac000000-0000-4000-a000-000000000005"
ANNA = "0a000000-0000-4000-a000-000000000001"
DEAL = "0d000000-0000-4000-a000-000000000001"
STAKEHOLDER = fixed_id("connectionrole", "Stakeholder")
CRLF = "\r\n"


ROWS = {
    "account": [{"accountid": ACME, "name": "Acme"}, {"accountid": OTHER, "name": "Other"}],
    "contact": [{"contactid": ANNA, "firstname": "Anna", "lastname": "Berg"}],
    "opportunity": [
        {"opportunityid": DEAL, "name": "Deal", "_customerid_value": ACME, "_customerid_value" + TABLE: "account"}
    ],
}


def row(api: Running, table: str, row_id: str) -> dict[str, Any]:
    return api.environment.store.rows[table][row_id]


async def test_create_answers_with_the_address_and_fills_in_the_rest(api: Running) -> None:
    body = {"firstname": "Bo", "lastname": "Dahl", "parentcustomerid_account@odata.bind": f"/accounts({ACME})"}
    answer = await api.call("POST", "contacts", body)
    assert answer.status == 204
    made = row(api, "contact", answer.row_id)
    assert made["fullname"] == "Bo Dahl"
    assert (made["statecode"], made["statuscode"]) == (0, 1)
    assert made["_ownerid_value"] == made["_owninguser_value"] == constants.SYNC_USER_ID
    assert made["_accountid_value"] == ACME
    assert made["createdon"] == made["modifiedon"]
    assert made["donotbulkemail"] is False


async def test_representation_is_sent_on_request(api: Running) -> None:
    prefer = "return=representation"
    made = await api.call("POST", "contacts?$select=lastname", {"lastname": "Ek"}, prefer=prefer)
    assert (made.status, made.json()["lastname"]) == (201, "Ek")
    changed = await api.call("PATCH", f"contacts({ANNA})?$select=lastname", {"lastname": "Ek"}, prefer=prefer)
    assert (changed.status, changed.json()["lastname"]) == (200, "Ek")


async def test_a_patch_without_if_match_creates_what_is_missing(api: Running) -> None:
    unknown = "0e000000-0000-4000-a000-000000000009"
    refused = await api.call("PATCH", f"contacts({unknown})", {"lastname": "Fox"}, if_match="*")
    assert (refused.status, refused.code) == (404, "0x80040217")
    assert (await api.call("PATCH", f"contacts({unknown})", {"lastname": "Fox"})).status == 204
    assert row(api, "contact", unknown)["lastname"] == "Fox"
    again = await api.call("PATCH", f"contacts({unknown})", {"lastname": "Gil"}, if_none_match="*")
    assert (again.status, again.code) == (412, "0x80040237")


async def test_if_match_protects_a_version(api: Running) -> None:
    etag = f'W/"{row(api, "contact", ANNA)["versionnumber"]}"'
    assert (await api.call("PATCH", f"contacts({ANNA})", {"firstname": "Ann"}, if_match=etag)).status == 204
    stale = await api.call("PATCH", f"contacts({ANNA})", {"firstname": "Eve"}, if_match=etag)
    assert (stale.status, stale.code) == (412, "0x80060882")
    assert row(api, "contact", ANNA)["fullname"] == "Ann Berg"


async def test_versions_grow_with_every_write(api: Running) -> None:
    versions = [row(api, "contact", ANNA)["versionnumber"]]
    for name in ("A", "B"):
        await api.call("PATCH", f"contacts({ANNA})", {"firstname": name})
        await api.call("PATCH", f"accounts({ACME})", {"name": name})
        versions.append(row(api, "contact", ANNA)["versionnumber"])
    assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"mobilephone": "0" * 21}, "0x80044331"),
        ({"lastname": 5}, "0x80048d19"),
        ({"donotphone": "yes"}, "0x80048d19"),
        ({"numberofchildren": 1.5}, "0x80048d19"),
        ({"numberofchildren": -1}, "0x80044330"),
        ({"gendercode": 7}, "0x8004431a"),
        ({"gendercode": "1"}, "0x80048d19"),
        ({"new_interests": "100000000,5"}, "0x8004431a"),
        ({"birthdate": "1990-02-30"}, "0x80048d19"),
        ({"birthdate": "1990-02-03T00:00:00Z"}, "0x80048d19"),
        ({"new_last_interesting_moment_date": "yesterday"}, "0x80048d19"),
        ({"new_last_interesting_moment_date": "2025-03-04"}, "0x80048d19"),
        ({"nosuchcolumn": 1}, "0x80048d19"),
        ({"parentcustomerid": ACME}, "0x80048d19"),
        ({"_parentcustomerid_value": ACME}, "0x80060888"),
        ({"parentcustomerid@odata.bind": f"/accounts({ACME})"}, "0x80048d19"),
        ({"ParentCustomerId_account@odata.bind": f"/accounts({ACME})"}, "0x80048d19"),
        ({"parentcustomerid_contact@odata.bind": f"/accounts({ACME})"}, "0x80048d19"),
        ({"parentcustomerid_account@odata.bind": "/accounts(17)"}, "0x80048d19"),
        ({"ownerid@odata.bind": f"/accounts({ACME})"}, "0x80048d19"),
        ({"statecode": 0, "statuscode": 2}, "0x80048408"),
    ],
)
async def test_a_wrong_value_is_refused(api: Running, body: dict[str, Any], code: str) -> None:
    before = row(api, "contact", ANNA)
    answer = await api.call("PATCH", f"contacts({ANNA})", body, if_match="*")
    assert (answer.status, answer.code) == (400, code)
    assert row(api, "contact", ANNA) is before


async def test_binding_to_a_missing_row_is_refused(api: Running) -> None:
    answer = await api.call("PATCH", f"contacts({ANNA})", {"parentcustomerid_account@odata.bind": f"/accounts({ANNA})"})
    assert (answer.status, answer.code) == (404, "0x80040217")


async def test_read_only_columns_are_left_out_without_a_word(api: Running) -> None:
    body = {"fullname": "X", "createdon": "2001-01-01T00:00:00Z", "firstname": "Ann"}
    assert (await api.call("PATCH", f"contacts({ANNA})", body)).status == 204
    changed = row(api, "contact", ANNA)
    assert changed["fullname"] == "Ann Berg"
    assert changed["createdon"] > "2001-01-01T00:00:00Z"


async def test_values_are_kept_as_they_are_served(api: Running) -> None:
    body = {
        "new_last_interesting_moment_date": "2025-03-04T11:30:00.5+01:00",
        "fax": "",
        "new_interests": "100000003,100000000",
    }
    await api.call("PATCH", f"contacts({ANNA})", body)
    changed = row(api, "contact", ANNA)
    assert changed["new_last_interesting_moment_date"] == "2025-03-04T10:30:00Z"
    assert changed["fax"] is None
    assert changed["new_interests"] == "100000000,100000003"


async def test_a_state_takes_its_first_status_reason(api: Running) -> None:
    lead = (await api.call("POST", "leads", {"lastname": "L"})).row_id
    await api.call("PATCH", f"leads({lead})", {"statecode": 2})
    assert row(api, "lead", lead)["statuscode"] == 4
    await api.call("PATCH", f"leads({lead})", {"statuscode": 7})
    assert row(api, "lead", lead)["statecode"] == 2


async def test_lookups_are_cleared_by_null_or_by_reference(api: Running) -> None:
    bind = {"parentcustomerid_account@odata.bind": f"/accounts({ACME})"}
    for clear in (
        ("PATCH", f"contacts({ANNA})", {"parentcustomerid_account@odata.bind": None}),
        ("DELETE", f"contacts({ANNA})/parentcustomerid_account/$ref", None),
    ):
        await api.call("PATCH", f"contacts({ANNA})", bind)
        assert row(api, "contact", ANNA)["_parentcustomerid_value"] == ACME
        assert (await api.call(*clear)).status == 204
        assert row(api, "contact", ANNA)["_parentcustomerid_value"] is None
        assert row(api, "contact", ANNA)["_accountid_value"] is None


async def test_what_belongs_to_a_deleted_account_goes_with_it(api: Running) -> None:
    """contact_customer_accounts and opportunity_customer_accounts are parental, opportunity_parent_account is not."""
    lead = (await api.call("POST", "leads", {"lastname": "Roe"})).row_id
    links = {"contacts": (ANNA, "parentcustomerid_account"), "opportunities": (DEAL, "customerid_account")}
    links["leads"] = (lead, "parentaccountid")
    for name, (row_id, link) in links.items():
        assert (
            await api.call("PATCH", f"{name}({row_id})", {f"{link}@odata.bind": f"/accounts({OTHER})"})
        ).status == 204
    await api.call("POST", "connections", connection_body())
    assert (await api.call("DELETE", f"accounts({OTHER})")).status == 204
    assert [(await api.call("GET", f"{name}({row_id})")).status for name, (row_id, _) in links.items()] == [
        404, 404, 200,
    ]  # fmt: skip
    assert row(api, "lead", lead)["_parentaccountid_value"] is None
    assert api.environment.store.rows["connection"] == {}


async def test_deleting_removes_links_and_connections(api: Running) -> None:
    await api.call("PATCH", f"opportunities({DEAL})", {"parentaccountid@odata.bind": f"/accounts({OTHER})"})
    await api.call("POST", "connections", connection_body())
    assert (await api.call("DELETE", f"accounts({OTHER})")).status == 204
    assert row(api, "opportunity", DEAL)["_parentaccountid_value"] is None
    assert (await api.call("DELETE", f"contacts({ANNA})")).status == 204
    assert api.environment.store.rows["connection"] == {}
    assert (await api.call("DELETE", f"contacts({ANNA})")).status == 404


def connection_body() -> dict[str, Any]:
    return {
        "record1id_opportunity@odata.bind": f"/opportunities({DEAL})",
        "record2id_contact@odata.bind": f"/contacts({ANNA})",
        "record2roleid@odata.bind": f"/connectionroles({STAKEHOLDER})",
    }


async def test_a_connection_is_two_rows_that_follow_each_other(api: Running) -> None:
    first = (await api.call("POST", "connections", connection_body())).row_id
    made = row(api, "connection", first)
    mirror = row(api, "connection", made["_relatedconnectionid_value"])
    assert mirror["_relatedconnectionid_value"] == first
    assert (made["record1objecttypecode"], made["record2objecttypecode"]) == (3, 2)
    assert (mirror["_record1id_value"], mirror["_record2id_value"]) == (ANNA, DEAL)
    assert mirror["_record1roleid_value"] == STAKEHOLDER
    assert (made["ismaster"], mirror["ismaster"]) == (True, False)
    champion = fixed_id("connectionrole", "Champion")
    await api.call("PATCH", f"connections({first})", {"record2roleid@odata.bind": f"/connectionroles({champion})"})
    assert row(api, "connection", mirror["connectionid"])["_record1roleid_value"] == champion
    await api.call("DELETE", f"connections({mirror['connectionid']})")
    assert api.environment.store.rows["connection"] == {}


async def test_required_columns(api: Running) -> None:
    body = connection_body()
    del body["record2id_contact@odata.bind"]
    answer = await api.call("POST", "connections", body)
    assert answer.status == 400
    assert "record2id" in answer.json()["error"]["message"]


async def test_a_row_can_be_closed_to_the_caller(api: Running) -> None:
    api.environment.switches.no_row_access = [ANNA]
    answer = await api.call("PATCH", f"contacts({ANNA})", {"firstname": "X"}, if_match="*")
    assert (answer.status, answer.code) == (403, "0x80048306")


def target(row_id: str, **values: Any) -> dict[str, Any]:
    return {"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": row_id, **values}


async def test_one_bad_row_undoes_a_bulk_update(api: Running) -> None:
    other = (await api.call("POST", "contacts", {"lastname": "O"})).row_id
    path = "contacts/Microsoft.Dynamics.CRM.UpdateMultiple"
    good = {"Targets": [target(ANNA, new_priority=3), target(other, new_priority=4)]}
    assert (await api.call("POST", path, good)).status == 204
    assert row(api, "contact", other)["new_priority"] == 4
    bad = {"Targets": [target(ANNA, new_priority=7), target(ACME, new_priority=7)]}
    answer = await api.call("POST", path, bad)
    assert (answer.status, answer.code) == (404, "0x80040217")
    assert row(api, "contact", ANNA)["new_priority"] == 3
    twice = {"Targets": [target(ANNA, new_priority=7), target(ANNA.upper(), new_priority=7)]}
    assert (await api.call("POST", path, twice)).code == "0x80040203"
    assert (await api.call("POST", path, {"Targets": [{"contactid": ANNA}]})).status == 400
    assert (await api.call("POST", "connections/Microsoft.Dynamics.CRM.UpdateMultiple", good)).status == 404


async def test_create_multiple_answers_with_ids(api: Running) -> None:
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.contact", "lastname": name} for name in ("A", "B")]
    answer = await api.call("POST", "contacts/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    assert [row(api, "contact", row_id)["lastname"] for row_id in answer.json()["Ids"]] == ["A", "B"]


def part(request: str, body: str = "", headers: str = "", content_id: str = "") -> str:
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    lines += [f"Content-ID: {content_id}"] if content_id else []
    lines += ["", f"{request} HTTP/1.1", *([headers] if headers else [])]
    return CRLF.join([*lines, "", body])


def multipart(boundary: str, parts: list[str]) -> str:
    return "".join(f"--{boundary}{CRLF}{each}{CRLF}" for each in parts) + f"--{boundary}--{CRLF}"


async def batch(api: Running, parts: list[str], prefer: str = "") -> Answer:
    content_type = 'multipart/mixed; boundary="batch_1"'
    return await api.call(
        "POST", "$batch", multipart("batch_1", parts).encode(), content_type=content_type, prefer=prefer
    )


def statuses(answer: Answer) -> list[int]:
    return [int(line.split()[1]) for line in answer.body.decode().split(CRLF) if line.startswith("HTTP/1.1")]


PATCH_ANNA = f"PATCH /api/data/v9.2/contacts({ANNA})"


async def test_a_batch_answers_part_by_part(api: Running) -> None:
    parts = [
        part(f"GET contacts({ANNA})?$select=lastname", headers="Accept: application/json"),
        part(PATCH_ANNA, '{"new_priority":3}', "If-Match: *"),
    ]
    answer = await batch(api, parts)
    assert (answer.status, statuses(answer)) == (200, [200, 204])
    assert '"lastname":"Berg"' in answer.body.decode()
    assert api.environment.stats.largest_batch == 2


async def test_a_batch_stops_at_the_first_failure_unless_told_otherwise(api: Running) -> None:
    parts = [part(f"GET contacts({ACME})"), part(f"GET contacts({ANNA})")]
    stopped = await batch(api, parts)
    assert (stopped.status, statuses(stopped)) == (400, [404])
    finished = await batch(api, parts, prefer="odata.continue-on-error")
    assert (finished.status, statuses(finished)) == (200, [404, 200])


def change_set(*parts: str) -> str:
    return f"Content-Type: multipart/mixed; boundary=set_1{CRLF}{CRLF}{multipart('set_1', list(parts))}"


async def test_a_change_set_is_all_or_nothing(api: Running) -> None:
    good = part(PATCH_ANNA, '{"new_priority":3}', "If-Match: *", "1")
    bad = part(f"PATCH /api/data/v9.2/contacts({ACME})", '{"new_priority":3}', "If-Match: *", "2")
    failed = await batch(api, [change_set(good, bad)], prefer="odata.continue-on-error")
    assert statuses(failed) == [404]
    assert row(api, "contact", ANNA).get("new_priority") is None
    done = await batch(api, [change_set(good)])
    assert statuses(done) == [204]
    assert row(api, "contact", ANNA)["new_priority"] == 3
    assert (await batch(api, [change_set(part(f"GET contacts({ANNA})", content_id="1"))])).status == 400


async def test_parts_of_a_change_set_refer_to_each_other(api: Running) -> None:
    account = part("POST /api/data/v9.2/accounts", '{"name":"New"}', content_id="1")
    contact = part(
        "POST /api/data/v9.2/contacts",
        '{"lastname":"N","parentcustomerid_account@odata.bind":"$1"}',
        content_id="2",
    )
    assert statuses(await batch(api, [change_set(account, contact)])) == [204, 204]
    made = next(found for found in api.environment.store.rows["contact"].values() if found["lastname"] == "N")
    assert api.environment.store.name_of("account", made["_accountid_value"]) == "New"


async def test_batches_have_a_size_and_a_form(api: Running) -> None:
    too_many = await batch(api, [part(f"GET contacts({ANNA})")] * 1001)
    assert too_many.status == 400
    body = multipart("batch_1", [part(f"GET contacts({ANNA})")]).replace(CRLF, "\n").encode()
    lf_only = await api.call("POST", "$batch", body, content_type="multipart/mixed; boundary=batch_1")
    assert lf_only.status == 400


async def test_merge_deactivates_the_loser_and_hands_over_its_children(api: Running) -> None:
    await api.call("PATCH", f"contacts({ANNA})", {"parentcustomerid_account@odata.bind": f"/accounts({OTHER})"})
    kind = {"@odata.type": "Microsoft.Dynamics.CRM.account"}
    body = {
        "Target": {**kind, "accountid": ACME}, "Subordinate": {**kind, "accountid": OTHER},
        "UpdateContent": {**kind, "fax": "1"}, "PerformParentingChecks": False,
    }  # fmt: skip
    assert (await api.call("POST", "Merge", body)).status == 204
    loser = row(api, "account", OTHER)
    assert (loser["statecode"], loser["merged"], loser["_masterid_value"]) == (1, True, ACME)
    assert row(api, "account", ACME)["fax"] == "1"
    assert row(api, "contact", ANNA)["_parentcustomerid_value"] == ACME


async def test_qualifying_a_lead_creates_rows_with_new_ids(api: Running) -> None:
    lead = (await api.call("POST", "leads", {"lastname": "Vik", "companyname": "Fjord", "subject": "Boats"})).row_id
    body = {"CreateAccount": True, "CreateContact": True, "CreateOpportunity": True, "Status": 3}
    answer = await api.call("POST", f"leads({lead})/Microsoft.Dynamics.CRM.QualifyLead", body)
    made = {item["@odata.type"].rpartition(".")[2]: item for item in answer.json()["value"]}
    assert made.keys() == {"account", "contact", "opportunity"}
    contact = row(api, "contact", made["contact"]["contactid"])
    assert contact["contactid"] != lead
    assert contact["_originatingleadid_value"] == lead
    assert contact["_accountid_value"] == made["account"]["accountid"]
    assert (row(api, "lead", lead)["statecode"], row(api, "lead", lead)["statuscode"]) == (1, 3)


async def test_winning_an_opportunity(api: Running) -> None:
    close = {"subject": "Won", "opportunityid@odata.bind": f"/opportunities({DEAL})", "actualrevenue": 900}
    assert (await api.call("POST", "WinOpportunity", {"Status": 3, "OpportunityClose": close})).status == 204
    won = row(api, "opportunity", DEAL)
    assert (won["statecode"], won["statuscode"], won["actualvalue"]) == (1, 3, 900)
    assert won["_accountid_value"] == won["_parentaccountid_value"] == ACME
