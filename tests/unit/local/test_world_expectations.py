"""The oracle itself, on rows written by hand: what Marketo must hold, and why a row must not be there."""

from typing import Any

from local.world.build import build
from local.world.expectations import Expectations, expect
from local.world.model import FULL, SMALL, Row, World, lookup
from local.world.relations import Reason

CREATED = "2025-03-04T10:00:00Z"


def world(**tables: dict[str, Row]) -> World:
    """A world of these rows, with one usable user `u`."""
    found = World(0, SMALL)
    found.rows["systemuser"]["u"] = user("u")
    for table, rows in tables.items():
        found.rows[table].update(rows)
    return found


def user(name: str, **changed: Any) -> Row:
    return {
        "systemuserid": name, "internalemailaddress": f"{name}@contoso.example", "isdisabled": False, "accessmode": 0,
        "applicationid": None, **changed,
    }  # fmt: skip


def owned(table: str = "systemuser", owner: str = "u") -> Row:
    return lookup("ownerid", table, owner)


def account(**changed: Any) -> Row:
    return {"name": "Nordwind", **owned(), **changed}


def person(**changed: Any) -> Row:
    return {"emailaddress1": "a@example.com", "donotphone": None, "statuscode": 1, **owned(), **changed}


def deal(**changed: Any) -> Row:
    return {"name": "Line 3", "statecode": 0, "statuscode": 1, "createdon": CREATED, **owned(), **changed}


def connection(first: tuple[str, str], second: tuple[str, str], role: str | None, **changed: Any) -> Row:
    return {
        "statecode": 0, "createdon": CREATED, **lookup("record1id", *first), **lookup("record2id", *second),
        **lookup("record1roleid", "connectionrole", None), **lookup("record2roleid", "connectionrole", role), **changed,
    }  # fmt: skip


def sales_person_of(owner: tuple[str, str], **tables: dict[str, Row]) -> Any:
    """The externalSalesPersonId of an account with this owner."""
    found = expect(world(account={"a": account(**owned(*owner))}, **tables))
    return found.records["company"]["a"].fields["externalSalesPersonId"]


def company_of(found: Expectations, entity: str, key: str) -> Any:
    return found.records[entity][key].fields["externalCompanyId"]


def test_a_usable_user_is_the_sales_person() -> None:
    assert sales_person_of(("systemuser", "u")) == "u"


def test_unusable_users_leave_the_record_without_sales_person() -> None:
    users = {
        "disabled": user("disabled", isdisabled=True),
        "application": user("application", applicationid="x"),
        "mailless": user("mailless", internalemailaddress=None),
    }
    for name in users:
        assert sales_person_of(("systemuser", name), systemuser=users) is None


def test_a_team_stands_for_its_administrator_if_that_one_is_usable_and_a_person() -> None:
    users = {"silent": user("silent", accessmode=4), "disabled": user("disabled", isdisabled=True)}
    teams = {
        name: lookup("administratorid", "systemuser" if administrator else None, administrator)
        for name, administrator in {"led": "u", "unled": None, "by silent": "silent", "by disabled": "disabled"}.items()
    }
    found = {name: sales_person_of(("team", name), systemuser=users, team=teams) for name in teams}
    assert found == {"led": "u", "unled": None, "by silent": None, "by disabled": None}


def test_disabled_users_stay_sales_persons_others_never_are() -> None:
    users = {
        "disabled": user("disabled", isdisabled=True),
        "application": user("application", applicationid="x"),
        "mailless": user("mailless", internalemailaddress=""),
    }
    found = expect(world(systemuser=users))
    assert found.records["sales_person"].keys() == {"u", "disabled"}
    assert found.absent["systemuser", "application"].reason is Reason.APPLICATION_USER
    assert found.absent["systemuser", "mailless"].reason is Reason.NO_EMAIL


def test_a_contact_belongs_to_the_account_at_the_end_of_its_chain() -> None:
    contacts = {
        "direct": person(**lookup("parentcustomerid", "account", "a")),
        "below": person(**lookup("parentcustomerid", "contact", "direct")),
        "lowest": person(**lookup("parentcustomerid", "contact", "below")),
        "alone": person(),
        "left": person(**lookup("parentcustomerid", "contact", "right")),
        "right": person(**lookup("parentcustomerid", "contact", "left")),
    }
    found = expect(world(account={"a": account()}, contact=contacts))
    assert {name: company_of(found, "person", name) for name in contacts} == {
        "direct": "a", "below": "a", "lowest": "a", "alone": None, "left": None, "right": None,
    }  # fmt: skip
    assert found.records["person"]["lowest"].fields["company"] == "Nordwind"


def test_a_lead_shows_its_company_as_typed_only_without_an_account() -> None:
    leads = {
        "typed": person(companyname="Nordwind (typed)"),
        "linked": person(companyname="Nordwind (typed)", **lookup("parentaccountid", "account", "a")),
    }
    found = expect(world(account={"a": account()}, lead=leads)).records["person"]
    assert found["typed"].fields["company"] == "Nordwind (typed)"
    assert found["linked"].fields["company"] == "Nordwind"


def test_an_opportunity_takes_customer_then_parent_account_then_the_contacts_account() -> None:
    contacts = {"c": person(**lookup("parentcustomerid", "account", "a"))}
    deals = {
        "account": deal(**lookup("customerid", "account", "b"), **lookup("parentaccountid", "account", "a")),
        "parent": deal(**lookup("customerid", "contact", "c"), **lookup("parentaccountid", "account", "b")),
        "contact": deal(**lookup("customerid", "contact", "c")),
    }
    found = expect(world(account={"a": account(), "b": account()}, contact=contacts, opportunity=deals))
    assert {name: company_of(found, "opportunity", name) for name in deals} == {
        "account": "b", "parent": "b", "contact": "a",
    }  # fmt: skip


def test_the_stage_is_the_step_of_open_deals_and_the_status_of_the_others() -> None:
    deals = {
        "open": deal(stepname="2-Develop", estimatedvalue=5, actualvalue=9),
        "open without step": deal(statuscode=2),
        "won": deal(stepname="2-Develop", statecode=1, statuscode=3, estimatedvalue=5, actualvalue=9),
        "lost": deal(stepname="2-Develop", statecode=2, statuscode=5, estimatedvalue=5, actualvalue=9),
    }
    fields = {name: record.fields for name, record in expect(world(opportunity=deals)).records["opportunity"].items()}
    assert {str(name): (f["stage"], f["amount"], f["isClosed"], f["isWon"]) for name, f in fields.items()} == {
        "open": ("2-Develop", 5, False, False), "open without step": ("On Hold", None, False, False),
        "won": ("Won", 9, True, True), "lost": ("Out-Sold", 5, True, False),
    }  # fmt: skip


def roles_of(*rows: Row, **names: str) -> Expectations:
    """What becomes of these connections; `names` are connection roles."""
    return expect(
        world(
            contact={"c": person()},
            lead={"l": person()},
            opportunity={"o": deal()},
            account={"a": account()},
            connectionrole={role: {"name": name} for role, name in names.items()},
            connection={f"x{number}": row for number, row in enumerate(rows)},
        )
    )


def test_both_rows_of_a_connection_are_one_role_of_the_person() -> None:
    there = connection(("opportunity", "o"), ("contact", "c"), "r")
    mirror = connection(("contact", "c"), ("opportunity", "o"), None, **lookup("record1roleid", "connectionrole", "r"))
    found = roles_of(there, mirror, r="Champion")
    assert found.records["opportunity_role"].keys() == {("o", "c", "Champion")}
    assert found.absent["connection", "x1"].reason is Reason.SAME_ROLE


def test_a_person_may_play_several_roles_and_one_without_a_name() -> None:
    rows = [connection(("opportunity", "o"), ("lead", "l"), role) for role in ("r", "s", None)]
    found = roles_of(*rows, r="Champion", s="Executive sponsor of the whole digital transformation programme")
    assert {key[2] for key in found.records["opportunity_role"]} == {
        "Champion", "Executive sponsor of the whole digital transformat", "Stakeholder",
    }  # fmt: skip


def test_other_connections_are_no_roles() -> None:
    found = roles_of(
        connection(("opportunity", "o"), ("account", "a"), None),
        connection(("opportunity", "o"), ("systemuser", "u"), None),
        connection(("lead", "l"), ("contact", "c"), None),
        connection(("opportunity", "o"), ("contact", "c"), None, statecode=1),
    )
    assert not found.records["opportunity_role"]
    reasons = [found.absent["connection", f"x{number}"].reason for number in range(4)]
    assert reasons == [Reason.NOT_A_STAKEHOLDER] * 3 + [Reason.INACTIVE]


def test_children_of_what_marketo_refuses_go_without_the_link_and_roles_wait() -> None:
    rows = world(
        account={"a": account(), "b": account()},
        contact={"c": person(**lookup("parentcustomerid", "account", "a")), "d": person(emailaddress1="jürgen@x.de")},
        opportunity={"o": deal(**lookup("customerid", "account", "b")), "nameless": deal(name=None)},
        connection={
            "x": connection(("opportunity", "o"), ("contact", "c"), None),
            "y": connection(("opportunity", "nameless"), ("contact", "c"), None),
        },
    )
    found = expect(rows, refused={("account", "a"): "1003"})
    absent = {" ".join(source): (row.reason, row.detail) for source, row in found.absent.items()}
    assert absent == {
        "account a": (Reason.REFUSED, "1003"),
        "opportunity nameless": (Reason.REFUSED, "1002"),
        "connection y": (Reason.WAITS, "opportunity nameless"),
    }
    assert found.linked_later == {("contact", "c"): {("company", "a")}}
    assert found.records["person"]["c"].fields["externalCompanyId"] is None
    assert ("o", "c", "Stakeholder") in found.records["opportunity_role"]
    assert found.records["person"]["d"].fields["email"] is None


def test_parents_are_asked_for_by_their_children_and_nobody_else_comes_unannounced() -> None:
    rows = world(
        account={"a": account(**owned("systemuser", "v")), "b": account()},
        systemuser={"v": user("v")},
        contact={"c": person(**lookup("parentcustomerid", "account", "a"))},
        opportunity={"o": deal(), "p": deal()},
        connection={"x": connection(("opportunity", "o"), ("contact", "c"), None)},
    )
    found = expect(rows, announced=[("connection", "x")], gone=[("lead", "gone")])
    there = {entity: set(records) for entity, records in found.records.items()}
    assert there == {
        "sales_person": {"u", "v"}, "company": {"a"}, "person": {"c"}, "opportunity": {"o"},
        "opportunity_role": {("o", "c", "Stakeholder")},
    }  # fmt: skip
    assert found.absent["account", "b"].reason is Reason.UNASKED
    assert found.absent["lead", "gone"].reason is Reason.GONE


def test_every_row_of_a_world_is_accounted_for_once() -> None:
    whole = build(5, FULL)
    found = expect(whole, refused={("account", whole.troubled_account): "1003"})
    sources = [source for records in found.records.values() for record in records.values() for source in record.sources]
    repeated = {row.source for row in found.absent_for(Reason.SAME_ROLE)}
    assert set(sources) | set(found.absent) == set(whole.synced())
    assert set(sources) & set(found.absent) == repeated
    assert len(sources) == len(set(sources))
