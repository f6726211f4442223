"""The engine: records in, one outcome per record out. Dataverse and Marketo are small worlds in memory."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.model.entities import ENTITIES, Entity
from shared.model.outcome import Deferred, Failed, Later, Parent, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.lookups import KEEP_SECONDS
from tests.support.organisation import PERSON, Row, World
from tests.support.values import NOON, guid


async def test_a_person_reaches_marketo_with_its_key_fields_and_relations(world: World) -> None:
    world.parents()
    assert await world.sync("person", world.person(10)) == [Synced("created")]
    assert world.marketo.upserts == [
        [
            {
                "firstName": "Ann 10",
                "externalSalesPersonId": world.user,
                "externalCompanyId": world.account,
                "externalPersonId": guid(10),
            }
        ]
    ]


async def test_leads_and_contacts_of_one_batch_share_a_call(world: World) -> None:
    world.parents()
    assert await world.sync("person", world.person(10), world.person(11, "lead")) == [Synced("created")] * 2
    assert len(world.marketo.upserts) == 1


async def test_a_row_that_is_not_there_is_looked_for_again_and_then_it_is_gone(world: World) -> None:
    """A step that is registered as synchronous posts before its transaction is committed."""
    world.parents()
    record, looks = Record("contact", guid(10), NOON), []
    for _ in range(3):
        ((record, outcome),) = await world.engine.sync(PERSON, [record])
        looks.append(outcome)
    assert looks == [Later("RowNotThere", after=5.0), Later("RowNotThere", after=60.0), Skipped("RowGone")]
    world.person(10)
    ((_, outcome),) = await world.engine.sync(PERSON, [replace(record, absent=1)])
    assert outcome == Synced("created")
    assert world.marketo.finds == [("sales_person", 1), ("company", 1)]


async def test_a_row_that_the_security_role_hides_is_told_at_once(world: World) -> None:
    world.dataverse.hidden = {guid(10)}
    (hidden, gone) = await world.sync("person", Record("contact", guid(10), NOON), Record("contact", guid(11), NOON))
    assert isinstance(hidden, Failed)
    assert (hidden.code, gone) == ("RowHidden", Later("RowNotThere", after=5.0))
    assert "Read on the table contact" in hidden.message


async def test_more_rows_that_are_not_there_than_one_request_asks_for(world: World) -> None:
    missing = [Record("contact", guid(n), NOON, absent=2) for n in range(1000, 1101)]
    assert await world.sync("person", *missing) == [Skipped("RowGone")] * 101


async def test_a_delete_is_recorded_and_costs_marketo_no_request(world: World) -> None:
    assert await world.sync("person", Record("contact", guid(10), NOON, "delete")) == [Skipped("Deleted")]
    assert world.marketo.finds == world.marketo.upserts == []


@pytest.mark.parametrize("table", ["incident", "customeropportunityrole", "account"])
async def test_a_table_that_is_not_mapped_or_of_another_entity_fails_by_name(world: World, table: str) -> None:
    (outcome,) = await world.sync("person", Record(table, guid(2), NOON))
    assert isinstance(outcome, Failed)
    assert outcome.code == "UnknownTable"


async def test_rows_are_read_300_at_a_time_and_sent_300_at_a_time(world: World) -> None:
    world.parents()
    await world.sync("person", *[world.person(1000 + n) for n in range(650)])
    assert sorted(size for table, size in world.dataverse.requests if table == "contact") == [50, 300, 300]
    assert sorted(map(len, world.marketo.upserts)) == [50, 300, 300]


async def test_a_role_holds_the_marketo_id_of_its_person_and_both_mirror_rows_are_one_upsert(world: World) -> None:
    world.marketo.has("opportunity", guid(30))
    lead_id = world.marketo.has("person", guid(10))
    mirrored = world.connection(40, guid(10), guid(30), role=guid(900))
    assert await world.sync("opportunity_role", *mirrored) == [Synced("created")] * 2
    assert world.marketo.upserts == [[{"role": "Decision Maker", "externalOpportunityId": guid(30), "leadId": lead_id}]]


async def test_a_role_waits_for_its_opportunity_and_requests_its_person_too(world: World) -> None:
    (outcome, _) = await world.sync("opportunity_role", *world.connection(40, guid(10), guid(30)))
    assert isinstance(outcome, Deferred)
    assert set(outcome.parents) == {
        Parent("person", "contact", guid(10)),
        Parent("opportunity", "opportunity", guid(30)),
    }
    assert outcome.parents[-1].entity == "opportunity"


async def test_two_roles_of_one_person_are_two_upserts_of_one_call(world: World) -> None:
    world.marketo.has("opportunity", guid(30))
    world.marketo.has("person", guid(10))
    rows = world.connection(40, guid(10), guid(30), role=guid(900)) + world.connection(50, guid(10), guid(30))
    await world.sync("opportunity_role", *rows)
    assert [sorted(row["role"] for row in sent) for sent in world.marketo.upserts] == [
        ["Decision Maker", "Stakeholder"]
    ]


async def test_a_role_that_cannot_be_seen_is_tried_again_and_never_sent_under_another_name(world: World) -> None:
    world.marketo.has("opportunity", guid(30))
    world.marketo.has("person", guid(10))
    unseen = world.connection(40, guid(10), guid(30), role=guid(901))
    for outcome in await world.sync("opportunity_role", *unseen):
        assert isinstance(outcome, Retry)
        assert (outcome.code, outcome.counted) == ("RoleHidden", True)
    assert world.marketo.upserts == []
    world.dataverse.put("connectionrole", guid(901), name="Champion")
    world.now += KEEP_SECONDS
    assert await world.sync("opportunity_role", *unseen) == [Synced("created")] * 2
    assert [row["role"] for row in world.marketo.upserts[0]] == ["Champion"]


async def test_a_row_that_is_saved_again_is_sent_again_whatever_was_sent_before(world: World) -> None:
    """Marketo may have lost the record meanwhile, or a form may have changed it there."""
    world.parents()
    person = world.person(10)
    await world.sync("person", person)
    del world.marketo.stored["person"][person.id]
    assert await world.sync("person", person) == [Synced("created")]
    world.marketo.stored["person"][person.id]["firstName"] = "by a form"
    assert await world.sync("person", person) == [Synced("updated")]
    assert world.marketo.stored["person"][person.id]["firstName"] == "Ann 10"


async def test_a_row_without_owner_clears_the_owner_and_leaves_the_company(world: World) -> None:
    """A person cannot be taken from a company in Marketo, only moved."""
    world.dataverse.put("contact", guid(10), firstname="Ann", _ownerid_value=None, _parentcustomerid_value=None)
    await world.sync("person", Record("contact", guid(10), NOON))
    (sent,) = world.marketo.upserts[0]
    assert sent["externalSalesPersonId"] is None
    assert "externalCompanyId" not in sent


async def test_what_column_level_security_hides_keeps_its_value_and_its_link(world: World) -> None:
    world.parents()
    record = world.person(10)
    await world.sync("person", record)
    world.dataverse.secured = {"firstname", "_ownerid_value"}
    world.dataverse.put("contact", guid(10), firstname=None, _ownerid_value=None, _parentcustomerid_value=None)
    assert await world.sync("person", record) == [Synced("updated")]
    (sent,) = world.marketo.upserts[-1]
    assert sent == {"externalPersonId": guid(10)}


async def test_company_fields_that_marketo_refuses_all_the_same_are_left_out_and_the_record_arrives(
    world: World,
) -> None:
    """The person may be linked since it was looked at."""
    world.dataverse.put("contact", guid(10), firstname="Ann", _ownerid_value=None, _parentcustomerid_value=None)
    refused: list[Row] = []
    store = world.marketo._store

    def linked(entity: Entity, key: str, row: Row) -> Result:
        if "company" not in row:
            return store(entity, key, row)  # type: ignore[no-any-return]  # a stand-in
        refused.append(row)
        return Result("skipped", 0, "1021", "Company update not allowed")

    world.marketo._store = linked
    world.rules = SyncConfig.model_validate({"contact": {"fields": {"firstName": "firstname", "company": "firstname"}}})
    world.engine = world.restarted()
    assert isinstance((await world.sync("person", Record("contact", guid(10), NOON)))[0], Synced)
    assert len(refused) == 1
    assert world.marketo.upserts[-1] == [
        {"firstName": "Ann", "externalPersonId": guid(10), "externalSalesPersonId": None}
    ]


situations = st.lists(
    st.tuples(
        st.integers(10, 20),
        st.sampled_from(["lead", "contact", "account", "incident"]),
        st.sampled_from(["upsert", "delete"]),
        st.booleans(),
        st.integers(0, 3),
        st.sampled_from([None, NOON, NOON - timedelta(days=2)]),
    ),
    max_size=30,
)


@given(situations, st.booleans(), st.booleans())
async def test_whatever_comes_there_is_exactly_one_outcome_per_row(
    mix: list[tuple[int, str, Any, bool, int, datetime | None]], owner: bool, company: bool
) -> None:
    world = World()
    if owner:
        world.marketo.has("sales_person", world.user)
    if company:
        world.marketo.has("company", world.account)
    records = []
    for number, table, operation, exists, attempt, since in mix:
        if exists and table in ("lead", "contact"):
            world.person(number, table)
        records.append(Record(table, guid(number), NOON, operation, attempt=attempt, parked_since=since))
    outcomes = await world.engine.sync(ENTITIES["person"], records)
    assert sorted(record.key for record, _ in outcomes) == sorted({record.key for record in records})
    sent = {row["externalPersonId"] for call in world.marketo.upserts for row in call}
    assert sent == {record.id for record, outcome in outcomes if isinstance(outcome, Synced)}


# -- records that Marketo has lost -------------------------------------------------------------------------------

LONG_AGO = "2020-05-06T07:08:09Z"


async def test_an_old_row_that_marketo_does_not_know_any_more_is_marked(world: World) -> None:
    """Somebody has deleted it there: its children have lost their links, and nobody says so."""
    world.parents()
    old, new = world.person(10), world.person(11)
    for record, made in ((old, LONG_AGO), (new, (NOON - timedelta(minutes=1)).isoformat())):
        world.dataverse.tables["contact"][record.id]["createdon"] = made
    assert await world.sync("person", old, new) == [Synced("created", anew=True), Synced("created")]
    assert await world.sync("person", old) == [Synced("updated")]
    del world.marketo.stored["person"][old.id]
    assert await world.sync("person", replace(old, forced=True)) == [Synced("created")], "resync sends them all anyway"


async def test_a_first_load_is_not_taken_for_deletions_by_hand(world: World) -> None:
    world.parents()
    records = [world.person(n) for n in range(100, 200)]
    for record in records:
        world.dataverse.tables["contact"][record.id]["createdon"] = LONG_AGO
    assert set(await world.sync("person", *records)) == {Synced("created")}


async def test_a_user_whose_address_is_hidden_is_updated_where_marketo_has_him(world: World) -> None:
    """Column-level security hides the address alone: null is no news of it."""
    world.dataverse.secured = {"internalemailaddress"}
    for number in (20, 21):
        world.dataverse.put("systemuser", guid(number), internalemailaddress=None, name="Sam")
    world.marketo.has("sales_person", guid(20))
    there, unknown = await world.sync("sales_person", *(Record("systemuser", guid(n), NOON) for n in (20, 21)))
    assert {repr(there), repr(unknown)} == {repr(Synced("updated")), repr(Skipped("MailHidden"))}
    assert world.marketo.upserts == [[{"externalSalesPersonId": guid(20)}]], "his address there is left as it is"
    world.dataverse.secured = set()
    world.now += 600
    assert await world.sync("sales_person", Record("systemuser", guid(20), NOON)) == [Skipped("UserWithoutMail")]
