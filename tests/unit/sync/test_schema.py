"""The compiled mapping of a table: loaded once for all who wait, kept while nothing speaks against it, honest."""

import asyncio
import logging
from typing import Any

import pytest

from shared.config.conditions import SyncFilter
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.entities import Entity
from shared.model.errors import ConfigurationError, MarketoError
from shared.sync.mapping import Labels
from shared.sync.reference_state import Versions
from shared.sync.schema import (
    DESCRIBE_SECONDS,
    FIRST_LOOK_SECONDS,
    KEEP_SECONDS,
    LONGEST_LOOK_SECONDS,
    RELABEL_SECONDS,
    Schema,
)
from shared.sync.table_schema import filter_for

CONFIG = SyncConfig.model_validate(
    {
        "language": 1031,
        "account": {"fields": {"industry": {"column": "industrycode", "convert": "label"}, "company": "name"}},
        "lead": {"fields": {"firstName": "firstname", "newInSpring": "x"}},
        "contact": {"fields": {"firstName": "firstname"}},
    }
)


LOAD_ACCOUNT = ["describe company", "columns account", "labels account industrycode 1031"]


class World:
    """Both systems at once, counting what they are asked for."""

    def __init__(self, config: SyncConfig = CONFIG) -> None:
        self.asked: list[str] = []
        self.fields = {"firstName", "company", "industry"}
        self.columns = {"name", "industrycode", "firstname", "x", "_ownerid_value", "_parentaccountid_value"}
        self.options = {1: "Buchhaltung"}
        self.error: MarketoError | None = None
        self.company_error: MarketoError | None = None
        self.of_company: set[str] | None = None
        self.secured: set[str] = set()
        self.now = 0.0
        itself: Any = self
        self.versions: Versions | None = Versions()
        self.seen: list[tuple[str, Labels]] = []
        self.schema = Schema(config, itself, itself, clock=lambda: self.now, versions=self.look, watch=self.watch)

    async def look(self) -> Versions | None:
        return self.versions

    async def watch(self, table: str, labels: Labels) -> None:
        self.seen.append((table, labels))

    @property
    def described(self) -> int:
        """Calls of Marketo so far for the entity that was described first."""
        first = next((asked for asked in self.asked if asked.startswith("describe")), "")
        return self.asked.count(first)

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        self.asked.append(f"describe {entity.name}")
        await asyncio.sleep(0)
        if self.error or (entity.name == "company" and self.company_error):
            raise self.error or self.company_error or AssertionError
        is_company = entity.name == "company" and self.of_company is not None
        return {name: MarketoField("string", 255) for name in (self.of_company or () if is_company else self.fields)}

    async def hidden_columns(self, table: str) -> frozenset[str]:
        self.asked.append(f"hidden {table}")
        return frozenset(self.secured)

    async def readable_columns(self, table: str) -> dict[str, Column]:
        self.asked.append(f"columns {table}")
        return {name: Column(name, "String", readable=True, hidden=name in self.secured) for name in self.columns}

    async def labels(self, table: str, columns: frozenset[str], language: int) -> dict[str, dict[int, str]]:
        self.asked.append(f"labels {table} {','.join(columns)} {language}")
        return {"industrycode": dict(self.options)}


async def test_the_columns_are_those_of_the_map_and_of_the_rules() -> None:
    found = await World().schema.of("account")
    assert found.columns == {"industrycode", "name", "_ownerid_value"}


async def test_a_column_of_the_rules_that_this_environment_lacks_is_not_read(world: World) -> None:
    """Legacy tables are without some; one unknown column would refuse every row."""
    world.columns.remove("_parentaccountid_value")
    assert (await world.schema.of("lead")).columns == {"firstname", "_ownerid_value"}


async def test_labels_are_read_in_the_configured_language_and_only_where_they_are_mapped(world: World) -> None:
    found = await world.schema.of("account")
    assert found.fields.map({"industrycode": 1, "name": "Contoso"}, found.labels).record == {
        "industry": "Buchhaltung",
        "company": "Contoso",
    }
    await world.schema.of("contact")
    assert world.asked == [*LOAD_ACCOUNT, "describe person", "columns contact"]


async def test_many_wait_for_one_load_and_leads_and_contacts_share_the_description(world: World) -> None:
    await asyncio.gather(*(world.schema.of(table) for table in ["lead", "contact", "account"] * 10))
    assert world.asked == ["describe person", "columns lead", "columns contact", *LOAD_ACCOUNT]


async def test_a_new_field_in_marketo_is_looked_for_after_a_minute_and_then_less_and_less(world: World) -> None:
    """Each look costs a call of Marketo's day: there may be fields that never come."""
    looks: list[float] = []
    while world.now < 86_400:
        before = world.described
        assert (await world.schema.of("lead")).fields.dropped == ("newInSpring",)
        looks += [world.now] * (world.described - before)
        world.now += 15
    assert looks[:4] == [0, 60, 180, 420]
    assert len(looks) < 32
    world.fields.add("newInSpring")
    world.now += LONGEST_LOOK_SECONDS
    assert (await world.schema.of("lead")).fields.dropped == ()


async def test_when_every_field_is_there_marketo_is_asked_once_a_day(world: World) -> None:
    for _ in range(2):
        world.now += DESCRIBE_SECONDS
        for _ in range(3):
            await world.schema.of("account")
            world.now += KEEP_SECONDS
    assert world.described == 2


async def test_a_look_that_marketo_refuses_leaves_what_was_known(world: World) -> None:
    before = await world.schema.of("lead")
    world.error = MarketoError("502", "gateway", kind=Kind.TRANSIENT)
    world.now = FIRST_LOOK_SECONDS
    assert (await world.schema.of("lead")).columns == before.columns
    assert world.described == 2
    await world.schema.of("lead")
    assert world.described == 2


async def test_a_field_that_an_operator_looked_for_is_in_the_next_batch_of_every_process(world: World) -> None:
    await world.schema.look()
    assert (await world.schema.of("lead")).fields.dropped == ("newInSpring",)
    world.fields.add("newInSpring")
    await world.schema.look()
    assert (await world.schema.of("lead")).fields.dropped == ("newInSpring",)
    world.versions = Versions(schema=1)
    await world.schema.look()
    assert (await world.schema.of("lead")).fields.dropped == ()
    for _ in range(3):
        await world.schema.look()
        await world.schema.of("lead")
    assert world.described == 2


async def test_a_changed_user_costs_no_look_at_the_schema_and_neither_does_storage_that_is_away(world: World) -> None:
    for versions in (Versions(), Versions(rows=1), None, Versions(rows=2)):
        world.versions = versions
        await world.schema.look()
        await world.schema.of("lead")
    assert world.asked == ["describe person", "columns lead"]


async def test_a_resynced_record_has_a_missing_field_looked_for_at_most_once_a_minute(world: World) -> None:
    await world.schema.of("lead")
    world.now, looks = LONGEST_LOOK_SECONDS, 10
    await world.schema.of("lead")
    world.fields.add("newInSpring")
    for _ in range(looks):
        world.now += RELABEL_SECONDS / looks
        await world.schema.look(fresh=True)
        await world.schema.of("lead")
    assert (await world.schema.of("lead")).fields.dropped == ()
    assert world.described == 3


async def test_a_field_of_another_type_is_known_after_a_refusal_by_both_tables_of_the_entity(world: World) -> None:
    world.fields.add("newInSpring")
    for table in ("lead", "contact"):
        await world.schema.of(table)
    world.fields.remove("firstName")
    world.schema.doubt("person")
    world.now = FIRST_LOOK_SECONDS - 1
    assert "firstName" not in (await world.schema.of("contact")).fields.dropped
    world.now += 1
    for table in ("lead", "contact"):
        assert "firstName" in (await world.schema.of(table)).fields.dropped
    assert world.described == 2


async def test_a_new_column_in_dynamics_shows_after_five_minutes_without_a_call_of_marketo(world: World) -> None:
    world.columns.remove("x")
    world.fields.add("newInSpring")
    assert (await world.schema.of("lead")).fields.dropped_columns == ("x",)
    world.columns.add("x")
    world.now = KEEP_SECONDS
    assert (await world.schema.of("lead")).fields.dropped_columns == ()
    assert world.described == 1


async def test_a_renamed_choice_shows_after_five_minutes_and_is_told(world: World) -> None:
    await world.schema.of("account")
    world.options[1] = "Finanzen"
    world.now = KEEP_SECONDS
    assert (await world.schema.of("account")).labels == {"industrycode": {1: "Finanzen"}}
    assert world.seen == [("account", {"industrycode": {1: name}}) for name in ("Buchhaltung", "Finanzen")]


async def test_labels_that_are_read_while_another_entity_forgets_the_schema_are_given(world: World) -> None:
    await world.schema.of("account")
    world.options[2] = "Chemie"
    itself: Any = world.schema
    read = itself._labels

    async def forgetful(*given: Any) -> Any:
        world.schema.forget()
        return await read(*given)

    itself._labels = forgetful
    found = await world.schema.labelled("account", [{"industrycode": 2}])
    assert found.labels == {"industrycode": {1: "Buchhaltung", 2: "Chemie"}}


async def test_what_is_forgotten_is_read_anew_at_its_next_use_and_once(world: World) -> None:
    await world.schema.of("account")
    world.fields.remove("company")
    world.schema.forget()
    assert world.asked == LOAD_ACCOUNT
    found = await asyncio.gather(*(world.schema.of("account") for _ in range(10)))
    assert {schema.fields.dropped for schema in found} == {("company",)}
    assert world.asked == LOAD_ACCOUNT * 2


async def test_a_new_option_has_the_labels_read_again_and_a_lost_one_not_for_ever(world: World) -> None:
    await world.schema.of("account")
    world.options[2] = "Chemie"
    labels = LOAD_ACCOUNT[-1]
    for industry in (2, 2, 7, 7):
        found = await world.schema.labelled("account", [{"industrycode": 1}, {"industrycode": industry}])
        assert found.labels == {"industrycode": {1: "Buchhaltung", 2: "Chemie"}}
    assert world.asked == [*LOAD_ACCOUNT, labels]
    world.now = RELABEL_SECONDS
    for _ in range(3):
        await world.schema.labelled("account", [{"industrycode": 7}])
    assert world.asked == [*LOAD_ACCOUNT, labels, labels]


@pytest.mark.parametrize("keys", [{"company": "externalcompanyid"}, {"company": "CRMaccount"}])
async def test_a_key_in_another_spelling_than_marketos_is_told(keys: dict[str, str]) -> None:
    world = World(SyncConfig.model_validate({"keys": keys, "account": {"fields": {}}}))
    world.fields |= {"crmAccount", "externalCompanyId"}
    with pytest.raises(ConfigurationError, match=r"KeySpelling.*write it so"):
        await world.schema.of("account")


async def test_a_load_that_failed_is_tried_again_by_the_next(world: World) -> None:
    world.error = MarketoError("502", "gateway", kind=Kind.TRANSIENT)
    with pytest.raises(MarketoError):
        await world.schema.of("lead")
    world.error = None
    assert (await world.schema.of("lead")).columns >= {"firstname"}


async def test_what_is_missing_on_either_side_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.columns.remove("industrycode")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for table in ("account", "lead"):
                found = await world.schema.of(table)
                assert not {"industrycode", "x"} & found.columns
            world.schema.forget()
    assert [record.getMessage() for record in caplog.records] == [
        "left_out table=account name=industrycode: not readable in Dynamics; see msisync fields check",
        "left_out table=lead name=newInSpring: not writable in Marketo; see msisync fields check",
    ]
    assert not [asked for asked in world.asked if asked.startswith("labels")]


async def test_an_empty_column_is_left_alone_in_marketo_where_the_policy_says_so() -> None:
    kept = SyncConfig.model_validate({"empty": "keep", "contact": {"fields": {"firstName": "firstname"}}})
    for config, record in ((CONFIG, {"firstName": None}), (kept, {})):
        assert (await World(config).schema.of("contact")).fields.map({"firstname": None}, {}).record == record


def filtered(**filters: Any) -> SyncConfig:
    return SyncConfig.model_validate({table: {"fields": {}, "filter": given} for table, given in filters.items()})


async def test_the_native_connectors_column_is_read_where_it_exists_and_else_every_row_is_synced() -> None:
    world = World(filtered(contact=({"firstname": "present"},)))
    found = await world.schema.of("contact")
    assert found.filter == SyncFilter("", ({"firstname": "present"},))
    assert "new_synctomkto" not in found.columns
    world.columns.add("new_synctomkto")
    world.schema.forget()
    found = await world.schema.of("contact")
    assert found.filter.flag == "new_synctomkto"
    assert {"new_synctomkto", "firstname"} <= found.columns


async def test_without_a_column_of_its_rule_nothing_of_a_table_may_leave_dynamics() -> None:
    either = ({"firstname": "present", "new_region": ["EMEA"]}, {"new_vip": [True]})
    world = World(filtered(lead=either, contact=({"x": [1]},)))
    with pytest.raises(ConfigurationError, match=r"filter of lead in sync.toml names new_region, new_vip") as refused:
        await world.schema.of("lead")
    assert refused.value.code == "FilterColumnMissing"
    assert (await world.schema.of("contact")).filter.rule == ({"x": [1]},)
    world.columns |= {"new_region", "new_vip"}
    assert (await world.schema.of("lead")).columns >= {"firstname", "new_region", "new_vip"}


async def test_a_table_that_no_filter_can_concern_costs_no_request() -> None:
    world = World(SyncConfig.model_validate({"systemuser": {"fields": {}}, "contact": {"fields": {}}}))
    assert await world.schema.filter_of("systemuser") == SyncFilter()
    assert world.asked == []
    assert await world.schema.filter_of("contact") == SyncFilter()
    assert world.asked == ["describe person", "columns contact"]


async def test_an_own_field_for_the_accounts_guid_may_be_missing(caplog: pytest.LogCaptureFixture) -> None:
    world = World(SyncConfig.model_validate({"keys": {"company": "crmAccount"}, "account": {"fields": {}}}))
    with caplog.at_level(logging.WARNING):
        assert (await world.schema.of("account")).id_fields == ("externalCompanyId",)
    assert "name=crmAccount: not in Marketo" in caplog.text
    world.fields.add("crmAccount")
    world.schema.forget()
    assert (await world.schema.of("account")).id_fields == ("externalCompanyId", "crmAccount")


async def test_a_custom_field_that_companies_have_too_is_known_as_the_companys() -> None:
    """A person that is linked to a company takes it through the company alone (1021)."""
    world = World(SyncConfig.model_validate({"lead": {"fields": {"Region": "x", "firstName": "x", "company": "x"}}}))
    world.fields = {"Region", "firstName", "company"}
    world.of_company = {"region", "company", "firstName"}
    assert (await world.schema.of("lead")).company_fields == {"region", "company"}


async def test_who_may_not_describe_companies_knows_the_fields_of_every_instance() -> None:
    world = World(SyncConfig.model_validate({"lead": {"fields": {"Region": "x", "company": "x"}}}))
    world.fields = {"Region", "company"}
    world.company_error = MarketoError("603", "access denied", kind=Kind.CONFIGURATION)
    assert (await world.schema.of("lead")).company_fields == {"company"}


async def test_fields_of_every_instance_cost_no_look_at_companies() -> None:
    world = World(SyncConfig.model_validate({"lead": {"fields": {"firstName": "firstname", "company": "x"}}}))
    assert (await world.schema.of("lead")).company_fields == {"company"}
    assert world.asked == ["describe person", "columns lead"]


async def test_the_null_of_a_filter_column_that_is_hidden_lets_nobody_through() -> None:
    hidden = {"x": Column("x", "String", readable=True, hidden=True)}
    for wanted in (SyncFilter("x"), SyncFilter(rule=({"x": "empty"},))):
        with pytest.raises(ConfigurationError, match="column security profile") as caught:
            filter_for(wanted, hidden, "lead")
        assert caught.value.code == "FilterColumnHidden"
    assert filter_for(SyncFilter("y"), hidden, "lead") == SyncFilter()


async def test_a_column_that_is_secured_meanwhile_is_noticed_before_its_null_is_believed(world: World) -> None:
    assert (await world.schema.believed("account", [{"name": None}])).hidden == frozenset()
    world.secured = {"name"}
    assert (await world.schema.of("account")).hidden == frozenset()
    found = await world.schema.believed("account", [{"name": None, "industrycode": 1}])
    assert found.fields.map({"name": None, "industrycode": 1}, found.labels).record == {"industry": "Buchhaltung"}
    world.secured = set()
    assert (await world.schema.believed("account", [{"name": None}])).hidden == frozenset()
    assert world.described == 1


async def test_rows_without_a_null_cost_no_look_at_security(world: World) -> None:
    row = {"name": "A", "industrycode": 1, "_ownerid_value": "x"}
    await world.schema.believed("account", [row])
    assert "hidden account" not in world.asked
