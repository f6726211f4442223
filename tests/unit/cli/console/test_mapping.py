"""The page of the mapping: both schemas, what is mapped, what is wrong, and what could be mapped."""

from collections.abc import Collection
from typing import Any

import pytest

from shared.cli.console import mapping
from shared.cli.fields.schemas import Schemas
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.errors import MarketoError
from tests.support.console import World, text_of

CONFIG = SyncConfig.model_validate(
    {"contact": {"fields": {"title": "jobtitle", "gone": "fax"}}, "account": {"fields": {"company": "name"}}}
)


def column(name: str, label: str = "") -> Column:
    return Column(name, "String", readable=True, schema_name=name, label=label, max_length=100)


def field(label: str, data_type: str = "string", *, writable: bool = True) -> MarketoField:
    return MarketoField(data_type, 255, label, writable)


@pytest.fixture
def schemas() -> Schemas:
    contact = [column("jobtitle", "<b>Job</b>"), column("fax"), column("telephone1", "Phone")]
    score = field("Score", "integer", writable=False)
    return Schemas(
        {"contact": {each.name: each for each in contact}, "account": {"name": column("name")}},
        {
            "person": {"title": field("Title"), "phone": field("Phone"), "leadScore": score},
            "company": {"company": field("Company")},
        },
        {"lead": "404: no such table"},
    )


@pytest.fixture
def asked() -> list[Collection[str]]:
    return []


@pytest.fixture
async def world(schemas: Schemas, asked: list[Collection[str]], monkeypatch: pytest.MonkeyPatch) -> World:
    async def load(_metadata: Any, _marketo: Any, tables: Collection[str], _language: int) -> Schemas:
        asked.append(tables)
        return schemas

    monkeypatch.setattr(mapping, "load_schemas", load)
    made = World()
    context: Any = made.context
    context.config, context.metadata, context.marketo = CONFIG, None, None
    await made.sign_in()
    return made


async def test_both_sides_say_what_is_mapped(world: World) -> None:
    page = await world.get("/mapping?table=contact")
    text = text_of(page)
    assert "Dynamics: contact, 3 columns" in text
    assert "jobtitle <b>Job</b>, String of 100 title" in text
    assert "<b>Job" not in page
    assert "Marketo: leads, 3 fields" in text
    assert "title Title, string of 255 contact.jobtitle" in text
    assert "leadScore Score, integer of 255 read only" in text


async def test_what_is_wrong_is_said_of_the_tables_of_sync_toml_alone(world: World) -> None:
    text = text_of(await world.get("/mapping"))
    assert "What is wrong with sync.toml" in text
    assert "contact.fields.gone : Marketo's leads have no field gone" in text
    assert "lead.fields" not in text
    assert "lead: 404: no such table" in text


async def test_suggestions_are_text_to_copy(world: World) -> None:
    page = await world.get("/mapping?table=contact")
    assert '[contact.fields]\nphone = "telephone1"' in page.replace("&#34;", '"')
    assert 'data-copy="toml" hidden' in page


async def test_rows_are_found_by_a_text_and_by_what_is_mapped(world: World) -> None:
    text = text_of(await world.get("/mapping?table=contact&find=PHONE"))
    assert "1 column 1" not in text
    assert "contact, 1 column" in text
    assert "leads, 1 field" in text
    assert "contact, 2 columns" in text_of(await world.get("/mapping?table=contact&only=mapped"))


async def test_the_schemas_are_read_once_for_all_tables(world: World, asked: list[Collection[str]]) -> None:
    for path in ("/mapping", "/mapping?table=account", "/mapping?table=nothing"):
        await world.get(path)
    assert len(asked) == 1
    assert {"contact", "account", "opportunity"} <= set(asked[0])
    await world.get("/mapping?again=1")
    assert len(asked) == 2


async def test_a_table_that_is_not_described_has_no_columns(world: World) -> None:
    assert "Dynamics: lead, 0 columns" in text_of(await world.get("/mapping?table=lead"))


async def test_a_vendor_that_does_not_answer_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Schemas:
        raise MarketoError("606", "too many calls", kind=Kind.THROTTLED)

    monkeypatch.setattr(mapping, "load_schemas", away)
    assert "too many calls" in await world.get("/mapping", 502)
