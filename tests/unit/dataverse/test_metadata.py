"""What Dataverse says of its tables: columns by the names that queries use, labels in the language of sync.toml."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.dataverse.metadata import Column, Metadata
from shared.model.codes import Kind
from shared.model.errors import DataverseError

Answer = dict[str, Any]
USER = "9b7e41d2-904d-ee11-be6f-000d3a4f1b2c"


class World:
    """A Dataverse that gives the prepared answers in turn. Dates and privileges are asked for beside them."""

    def __init__(
        self, *answers: Answer, dates: Sequence[Answer] = (), privileges: Answer | DataverseError | None = None
    ):
        self.answers = list(answers)
        self.dates = page(dates)
        self.privileges = privileges
        self.urls: list[str] = []
        dataverse: Any = self
        self.metadata = Metadata(dataverse)

    async def user_id(self) -> str:
        return USER

    async def get(self, url: str) -> Answer:
        self.urls.append(url)
        if "DateTimeAttributeMetadata" in url:
            return self.dates
        if f"systemusers({USER})" in url:
            if isinstance(self.privileges, DataverseError):
                raise self.privileges
            return self.privileges or {}
        return self.answers.pop(0)

    @property
    def kinds(self) -> list[str]:
        return [urlsplit(url).path.rpartition(".")[2].removesuffix("AttributeMetadata") for url in self.urls]


def page(rows: Sequence[Answer]) -> Answer:
    return {"value": list(rows)}


def attribute(name: str, kind: str, **more: Any) -> Answer:
    return {"LogicalName": name, "AttributeType": kind, "AttributeOf": None, "IsValidForRead": True} | more


async def test_a_table_is_queried_by_its_columns_and_by_the_values_of_its_lookups() -> None:
    world = World(
        page(
            [
                attribute("firstname", "String"),
                attribute("ownerid", "Owner"),
                attribute("parentcustomerid", "Customer"),
                attribute("originatingleadid", "Lookup"),
                attribute("parentcustomeridname", "String", AttributeOf="parentcustomerid"),
                attribute("entityimage_url", "String", IsValidForRead=False),
            ]
        )
    )
    assert set(await world.metadata.readable_columns("contact")) == {
        "firstname", "_ownerid_value", "_parentcustomerid_value", "_originatingleadid_value",
    }  # fmt: skip
    assert world.urls[0].startswith("/api/data/v9.2/EntityDefinitions(LogicalName='contact')/Attributes?$select=")
    assert len(world.urls) == 2


async def test_columns_have_what_fields_are_compared_by() -> None:
    label = {"LocalizedLabels": [{"Label": "Vorname", "LanguageCode": 1031}], "UserLocalizedLabel": None}
    world = World(
        page(
            [
                attribute("firstname", "String", SchemaName="FirstName", DisplayName=label, IsValidForUpdate=True),
                attribute("ownerid", "Owner", SchemaName="OwnerId", DisplayName=None, IsValidForUpdate=True),
                attribute("description", "Memo", SchemaName="Description", DisplayName=label),
            ]
        ),
        page([{"LogicalName": "firstname", "MaxLength": 50}, {"LogicalName": "yominame", "MaxLength": 150}]),
        page([{"LogicalName": "description", "MaxLength": 2000}]),
    )
    found = await world.metadata.columns("contact", 1031)
    assert found == {
        "firstname": Column("firstname", "String", True, True, "FirstName", "Vorname", 50),
        "ownerid": Column("ownerid", "Owner", True, True, "OwnerId", ""),
        "description": Column("description", "Memo", True, False, "Description", "Vorname", 2000),
    }
    assert found["ownerid"].web_name == "_ownerid_value"
    assert world.kinds[1:] == ["DateTime", "String", "Memo"]


def option(value: int, user: str | None, **languages: str) -> dict[str, Any]:
    localized = [{"Label": label, "LanguageCode": int(name[1:])} for name, label in languages.items()]
    label = {"LocalizedLabels": localized, "UserLocalizedLabel": {"Label": user} if user else None}
    return {"Value": value, "Label": label}


def attributes(**options: list[Answer]) -> Answer:
    return page([{"LogicalName": name, "OptionSet": {"Options": given}} for name, given in options.items()])


async def test_labels_are_of_the_language_asked_for_else_of_any_that_has_one() -> None:
    options = [
        option(1, "Benutzer", _1033="English", _1031="Deutsch"), option(2, "Benutzer", _1031="Deutsch"),
        option(3, None, _1036="Français"), option(4, None),
    ]  # fmt: skip
    world = World(attributes(industrycode=options, other=options))
    assert await world.metadata.labels("account", frozenset({"industrycode"}), 1033) == {
        "industrycode": {1: "English", 2: "Benutzer", 3: "Français", 4: ""}
    }
    assert len(world.urls) == 1


async def test_labels_are_looked_for_in_each_kind_of_choice_until_all_are_found() -> None:
    shared = {"LogicalName": "rating", "OptionSet": None, "GlobalOptionSet": {"Options": [option(1, "Hot")]}}
    world = World(page([shared]), page([]), attributes(statuscode=[option(3, "Won")]))
    found = await world.metadata.labels("lead", frozenset({"rating", "statuscode"}), 1033)
    assert found == {"rating": {1: "Hot"}, "statuscode": {3: "Won"}}
    assert world.kinds == ["Picklist", "State", "Status"]
    assert all("EntityDefinitions(LogicalName='lead')" in url for url in world.urls)


async def test_the_two_labels_of_a_yes_or_no_are_read_as_of_a_choice() -> None:
    switch = {"TrueOption": option(1, None, _1033="Yes", _1031="Ja"), "FalseOption": option(0, None, _1033="No")}
    world = World(*[page([])] * 4, page([{"LogicalName": "creditonhold", "OptionSet": switch}]))
    found = await world.metadata.labels("account", frozenset({"creditonhold"}), 1031)
    assert found == {"creditonhold": {1: "Ja", 0: "No"}}
    assert world.kinds[-1] == "Boolean"
    assert parse_qs(urlsplit(world.urls[-1]).query)["$expand"] == ["OptionSet($select=TrueOption,FalseOption)"]


async def test_a_column_without_choices_has_no_labels() -> None:
    world = World(*[page([])] * 5)
    assert await world.metadata.labels("account", frozenset({"name"}), 1033) == {}
    assert len(world.urls) == 5


DATES: list[Answer] = [
    {"LogicalName": "day", "Format": "DateOnly", "DateTimeBehavior": {"Value": "DateOnly"}},
    {"LogicalName": "shown_as_day", "Format": "DateOnly", "DateTimeBehavior": {"Value": "UserLocal"}},
    {"LogicalName": "moment", "Format": "DateAndTime", "DateTimeBehavior": {"Value": "UserLocal"}},
    {"LogicalName": "older", "Format": "DateAndTime", "DateTimeBehavior": None},
]


async def test_columns_have_the_types_that_conversions_go_by() -> None:
    columns = [attribute(entry["LogicalName"], "DateTime") for entry in DATES]
    columns.append(attribute("hobbies", "Virtual", AttributeTypeName={"Value": "MultiSelectPicklistType"}))
    found = await World(page(columns), dates=DATES).metadata.readable_columns("contact")
    behaviors = ["DateOnly", "UserLocal", "UserLocal", "", ""]
    formats = ["DateOnly", "DateOnly", "DateAndTime", "DateAndTime", ""]
    assert [column.behavior for column in found.values()] == behaviors
    assert [column.format for column in found.values()] == formats
    assert found["hobbies"].type_name == "MultiSelectPicklistType"


SECURED = [
    attribute("open", "String", MetadataId="id-0", IsSecured=False, CanBeSecuredForRead=True),
    attribute("hidden", "String", MetadataId="id-1", IsSecured=True, CanBeSecuredForRead=True),
    attribute("granted", "String", MetadataId="ID-2", IsSecured=True, CanBeSecuredForRead=True),
    attribute("forbidden", "String", MetadataId="id-3", IsSecured=True, CanBeSecuredForRead=True),
    attribute("only_for_writing", "String", MetadataId="id-4", IsSecured=True, CanBeSecuredForRead=False),
]


async def test_a_secured_column_is_hidden_unless_a_profile_lets_our_user_read_it() -> None:
    privileges = [{"AttributeId": "id-2", "CanRead": 4}, {"AttributeId": "id-3", "CanRead": 0}]
    world = World(page(SECURED), privileges={"AttributePrivileges": privileges})
    found = await world.metadata.readable_columns("contact")
    assert [name for name, column in found.items() if column.hidden] == ["hidden", "forbidden"]


async def test_the_columns_that_are_hidden_now_are_asked_for_by_themselves() -> None:
    lookup = attribute("parentaccountid", "Lookup", MetadataId="id-5", IsSecured=True, CanBeSecuredForRead=True)
    world = World(
        page([*SECURED[1:], lookup]), privileges={"AttributePrivileges": [{"AttributeId": "id-2", "CanRead": 4}]}
    )
    assert await world.metadata.hidden_columns("lead") == {"hidden", "forbidden", "_parentaccountid_value"}
    assert "$filter=IsSecured eq true" in world.urls[0]
    nothing = World(page([]))
    assert await nothing.metadata.hidden_columns("lead") == frozenset()
    assert len(nothing.urls) == 1


async def test_without_secured_columns_nobody_asks_for_privileges() -> None:
    world = World(page(SECURED[:1]))
    await world.metadata.readable_columns("contact")
    assert not any("systemusers" in url for url in world.urls)


async def test_who_may_not_see_privileges_believes_no_null_of_a_secured_column() -> None:
    refusal = DataverseError("0x80040220", "missing prvReadUser", kind=Kind.CONFIGURATION)
    found = await World(page(SECURED), privileges=refusal).metadata.readable_columns("contact")
    assert [name for name, column in found.items() if column.hidden] == ["hidden", "granted", "forbidden"]
    away = DataverseError("503", "away", kind=Kind.TRANSIENT)
    with pytest.raises(DataverseError):
        await World(page(SECURED), privileges=away).metadata.readable_columns("contact")


async def test_days_are_told_from_moments_by_how_the_column_behaves_not_by_how_it_looks() -> None:
    world = World(dates=DATES)
    assert await world.metadata.days("lead") == {"day": "Date", "shown_as_day": "Day"}
