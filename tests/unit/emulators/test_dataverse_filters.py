"""`$filter`: what it finds, and what it refuses."""

from typing import Any

import pytest

from emulators.dataverse.errors import ApiError
from emulators.dataverse.query import table_filter
from emulators.dataverse.store import Store
from emulators.dataverse.tables import TABLES

TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"
ANNA = "0a000000-0000-4000-a000-000000000001"
BO = "0b000000-0000-4000-a000-000000000002"
CY = "0c000000-0000-4000-a000-000000000003"
ACME = "ac000000-0000-4000-a000-000000000004"


@pytest.fixture
def store() -> Store:
    store = Store()
    store.put("account", ACME, {"accountid": ACME, "name": "Acme"})
    owner = {"_parentcustomerid_value": ACME, "_parentcustomerid_value" + TABLE: "account"}
    rows: list[dict[str, Any]] = [
        {"contactid": ANNA, "lastname": "O'Hara", "statecode": 0, "numberofchildren": 2, "donotphone": True, **owner},
        {"contactid": BO, "lastname": "Berg", "statecode": 1, "numberofchildren": 0, "donotphone": False},
        {"contactid": CY, "lastname": None, "statecode": 0, "modifiedon": "2025-03-04T10:00:00Z"},
    ]
    for row in rows:
        store.put("contact", row["contactid"], row)
    return store


def found(store: Store, text: str, aliases: dict[str, str] | None = None) -> list[str]:
    condition = table_filter(store, TABLES["contact"], text, aliases or {})
    ids = [row_id for row_id, row in store.rows["contact"].items() if condition.test(row)]
    assert condition.ids is None or set(ids) <= condition.ids
    return ids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lastname eq 'o''hara'", [ANNA]),
        ("lastname eq null", [CY]),
        ("lastname ne 'Berg'", [ANNA, CY]),
        ("statecode eq 0 and lastname ne null", [ANNA]),
        ("statecode eq 1 or contains(lastname,'HARA')", [ANNA, BO]),
        ("not (statecode eq 1)", [ANNA, CY]),
        ("not startswith(lastname,'B') and statecode eq 0", [ANNA, CY]),
        ("endswith(lastname,'rg')", [BO]),
        ("numberofchildren gt 0", [ANNA]),
        ("numberofchildren le 2", [ANNA, BO]),
        ("donotphone eq true", [ANNA]),
        (f"contactid eq {BO.upper()}", [BO]),
        (f"_parentcustomerid_value eq {ACME}", [ANNA]),
        ("parentcustomerid_account/name eq 'ACME'", [ANNA]),
        ("modifiedon ge 2025-03-04T11:00:00+01:00", [CY]),
        ("modifiedon gt 2025-03-04T10:00:00Z", []),
        ("(statecode eq 1 or statecode eq 0) and numberofchildren eq 0", [BO]),
        (f"Microsoft.Dynamics.CRM.In(PropertyName='contactid',PropertyValues=['{ANNA}','{CY}'])", [ANNA, CY]),
        ("Microsoft.Dynamics.CRM.In(PropertyName='statecode',PropertyValues=['1'])", [BO]),
        (f"Microsoft.Dynamics.CRM.In(PropertyName='parentcustomerid',PropertyValues=['{ACME}'])", [ANNA]),
        ("Microsoft.Dynamics.CRM.NotIn(PropertyName='lastname',PropertyValues=['berg'])", [ANNA, CY]),
    ],
)
def test_a_filter_finds(store: Store, text: str, expected: list[str]) -> None:
    assert found(store, text) == expected


def test_in_takes_its_arguments_from_aliases(store: Store) -> None:
    text = "Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)"
    assert found(store, text, {"@p1": "'lastname'", "@p2": '["O\'Hara","Nobody"]'}) == [ANNA]
    assert found(store, text, {"@p1": "'contactid'", "@p2": f'["{BO.upper()}"]'}) == [BO]


def test_contain_values_finds_any_of_several_choices() -> None:
    store = Store()
    for id_, interests in ((ANNA, "1,3"), (BO, "13"), (CY, None)):
        store.put("contact", id_, {"contactid": id_, "new_interests": interests})
    text = "Microsoft.Dynamics.CRM.ContainValues(PropertyName='new_interests',PropertyValues=['3','2'])"
    condition = table_filter(store, TABLES["contact"], text, {})
    assert [row_id for row_id, row in store.rows["contact"].items() if condition.test(row)] == [ANNA]


@pytest.mark.parametrize(
    "text",
    [
        "surname eq 'x'",
        "ownerid/fullname eq 'x'",
        "lastname eq 5",
        "numberofchildren eq 'two'",
        f"contactid eq '{ANNA}'",
        "lastname like 'x'",
        "lastname eq 'x' and",
        "(lastname eq 'x'",
        "length(lastname) eq 3",
        "Microsoft.Dynamics.CRM.In(PropertyName='lastname')",
        "Microsoft.Dynamics.CRM.In(PropertyName='lastname',PropertyValues=[])",
        "Microsoft.Dynamics.CRM.ContainValues(PropertyName='statecode',PropertyValues=['1'])",
    ],
)
def test_a_wrong_filter_fails_the_query(store: Store, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        found(store, text)
    assert (caught.value.status, caught.value.code) == (400, "0x80060888")
