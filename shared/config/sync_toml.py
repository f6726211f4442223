"""sync.toml: which columns go to which Marketo fields, and the policies. Validated at once, every problem listed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ..model.entities import ENTITIES, PERSON_TABLES, TABLES
from ..model.errors import ConfigurationError
from ..model.text import BeyondBmp
from . import sync_toml_checks as checks
from . import toml_file
from .conditions import SyncFilter, Wanted
from .validation import problems, quoted

Column = Annotated[str, AfterValidator(checks.column)]
Guid = Annotated[str, AfterValidator(checks.guid)]
MarketoName = Annotated[str, AfterValidator(checks.marketo_name)]
Values = Annotated[tuple[int | str | bool, ...], BeforeValidator(checks.values)]
ColumnWanted = Annotated[Wanted, PlainValidator(checks.wanted)]
Condition = Annotated[dict[Column, ColumnWanted], BeforeValidator(checks.condition)]

#: The tables whose rows the native connector's column keeps out (native-sync-features.md 5).
FILTERED_TABLES = ("account", "lead", "contact", "opportunity")
#: The Sales Insight fields of a lead, with the columns' names and labels of the guide (step 6 of its list).
INSIGHT_PAIRS = {
    "msiLastInterestingMomentType": ("Last_Interesting_Moment_Type__c", "Last Interesting Moment Type"),
    "msiLastInterestingMomentDate": ("Last_Interesting_Moment_Date__c", "Last Interesting Moment Date"),
    "msiLastInterestingMomentDesc": ("Last_Interesting_Moment_Desc__c", "Last Interesting Moment Description"),
    "msiLastInterestingMomentSource": ("Last_Interesting_Moment_Source__c", "Last Interesting Moment Source"),
    "priority": ("Priority__c", "Engagement"),
    "relativeUrgency": ("Urgency_Value__c", "Relative Urgency Value"),
    "relativeScoring": ("Relative_Score_Value__c", "Relative Scoring Value"),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldRule(_Strict):
    """Where a Marketo field's value comes from (the forms are shown at the top of sync.toml)."""

    columns: Annotated[tuple[Column, ...], BeforeValidator(checks.as_list)]
    convert: Literal["plain", "label", "lines", "is", "true_only"] = "plain"
    values: Values = ()
    when: Condition = {}

    @property
    def needed_columns(self) -> tuple[str, ...]:
        """Every column that the rule looks at, as the Web API reads it."""
        return (*self.columns, *self.when)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"columns": (given,)}
        if not isinstance(given, dict):
            raise ValueError(
                'must be a column in quotes, or a rule such as { column = "statuscode", convert = "label" }, '
                f"not {quoted(given)}"
            )
        if "column" not in given:
            return given
        if isinstance(given["column"], list) or "columns" in given:
            raise ValueError('write one column = "a", or several as columns = ["a", "b"]')
        return {"columns": (given["column"],), **{k: v for k, v in given.items() if k != "column"}}

    @model_validator(mode="after")
    def _fits(self) -> FieldRule:
        if self.convert == "is" and not self.values:
            raise ValueError('convert = "is" needs the values that mean true: values = [1, 2]')
        if self.values and self.convert != "is":
            raise ValueError('values = [...] needs convert = "is"')
        if len(self.columns) > 1 and self.convert != "lines":
            raise ValueError(
                'several columns need convert = "lines"; if one stands in for the other, write a list: ["a", "b"]'
            )
        return self


FieldRules = Annotated[tuple[FieldRule, ...], BeforeValidator(checks.as_list)]
Conditions = Annotated[tuple[Condition, ...], BeforeValidator(checks.as_list)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Names = Annotated[tuple[Text, ...], BeforeValidator(checks.as_list)]


class TableConfig(_Strict):
    """One Dataverse table: its fields, and which rows are synced."""

    fields: dict[MarketoName, FieldRules]
    filter: Conditions = ()


class KeyFields(_Strict):
    """Which Marketo fields hold the GUIDs (guide, last note: an instance may use fields of its own)."""

    person: MarketoName = "externalPersonId"
    company: MarketoName = "externalCompanyId"


class OwnerPolicy(_Strict):
    """What stands for an owner that is no usable user (dataverse.md 7.2)."""

    team: Literal["administrator", "none", "fixed"] = "administrator"
    unusable_user: Literal["none", "keep", "fixed"] = "none"
    fixed: Guid | None = None

    @model_validator(mode="after")
    def _fixed_is_named(self) -> OwnerPolicy:
        if "fixed" in (self.team, self.unusable_user) and not self.fixed:
            raise ValueError('fixed = "<systemuserid>" is needed for the policy "fixed"')
        return self


class RolePolicy(_Strict):
    """How connections become opportunity roles (dataverse.md 7.6).

    `customer_contact`: the role of an opportunity's primary contact; empty: it has none.
    """

    default: Annotated[Text, StringConstraints(max_length=50)] = "Stakeholder"
    customer_contact: Annotated[str, StringConstraints(strip_whitespace=True, max_length=50)] = "Primary Contact"


class LifecyclePolicy(_Strict):
    """What becomes of the record in Marketo when its row is deleted in Dynamics (docs/lifecycle.md).

    `person` is "flag" where `deleted_flag` is set and nothing else is said. `delete_brake`: how many records of an
    entity may be deleted, unlinked or flagged within an hour. `deleted_in_marketo`: whether a person that was deleted
    there by hand is created anew when its row changes ("wait"), or soon ("create").
    """

    person: Literal["keep", "flag", "unlink", "delete"] = "keep"
    deleted_flag: Annotated[str, AfterValidator(lambda given: given and checks.marketo_name(given))] = ""
    opportunity: Literal["delete", "keep"] = "delete"
    role: Literal["delete", "keep"] = "delete"
    company: Literal["keep", "delete"] = "keep"
    sales_person: Literal["keep", "delete"] = "keep"
    merged: Literal["keep", "flag", "merge"] = "keep"
    deleted_in_marketo: Literal["wait", "create"] = "wait"
    delete_brake: Annotated[StrictInt, Field(ge=1)] = 500

    @model_validator(mode="before")
    @classmethod
    def _flags_where_there_is_a_flag(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("deleted_flag") and "person" not in given:
            return {**given, "person": "flag"}
        return given

    @model_validator(mode="after")
    def _flag_is_named(self) -> LifecyclePolicy:
        flags = next((name for name in ("person", "merged") if getattr(self, name) == "flag"), "")
        if flags and not self.deleted_flag:
            raise ValueError(f'{flags} = "flag" needs deleted_flag = "<a boolean field of Marketo\'s persons>"')
        return self

    def of(self, entity: str) -> Literal["keep", "flag", "unlink", "delete"]:
        """What is done with a record of this entity whose row is gone."""
        policy: Literal["keep", "flag", "unlink", "delete"] = getattr(self, entity.removeprefix("opportunity_"))
        return policy


class PersonPolicy(_Strict):
    """What becomes of a person that Marketo may have already, without a Dynamics id (lifecycle.md 1)."""

    match_email: bool = True
    ambiguous: Literal["dead-letter", "oldest", "latest", "create"] = "dead-letter"
    partition: Text | None = None


class TextPolicy(_Strict):
    """What becomes of characters at which Marketo would end the value: those beyond Unicode's basic plane."""

    beyond_bmp: BeyondBmp = "drop"


class SyncConfig(_Strict):
    """The whole of sync.toml."""

    language: Annotated[StrictInt, Field(ge=1)] = 1033
    empty: Literal["clear", "keep"] = "clear"
    refused: Literal["keep", "clear"] = "keep"
    unsubscribe: Literal["never", "opt_out", "both"] = "never"
    filter_column: Annotated[str, AfterValidator(lambda given: given and checks.column(given))] = "new_synctomkto"
    time_zone: Annotated[str, AfterValidator(checks.time_zone)] = "UTC"
    keys: KeyFields = KeyFields()
    text: TextPolicy = TextPolicy()
    owner: OwnerPolicy = OwnerPolicy()
    roles: RolePolicy = RolePolicy()
    lifecycle: LifecyclePolicy = LifecyclePolicy()
    person: PersonPolicy = PersonPolicy()
    write_back: dict[MarketoName, Names] = dict(INSIGHT_PAIRS)
    tables: dict[str, TableConfig] = {}

    @model_validator(mode="before")
    @classmethod
    def _sections(cls, given: dict[str, Any]) -> dict[str, Any]:
        if "tables" in given:
            raise ValueError("unknown section tables; each table has its own: [contact.fields]")
        tables = {k: v for k, v in given.items() if k in TABLES}
        return {**{k: v for k, v in given.items() if k not in TABLES}, "tables": tables}

    def fields_of(self, table: str) -> dict[str, tuple[FieldRule, ...]]:
        """The field rules of a table, none if it is not mapped, with the one that the unsubscribe policy stands for."""
        if table not in self.tables:
            return {}
        fields = dict(self.tables[table].fields)
        if self.unsubscribe != "never" and table in PERSON_TABLES:
            convert: Literal["plain", "true_only"] = "plain" if self.unsubscribe == "both" else "true_only"
            if "unsubscribed" not in {name.lower() for name in fields}:
                fields["unsubscribed"] = (FieldRule(columns=("donotbulkemail",), convert=convert),)
        return fields

    def filter_of(self, table: str) -> SyncFilter:
        """Which rows of a table are synced; of a table that is not mapped, all."""
        config = self.tables.get(table)
        return SyncFilter(self.filter_column if table in FILTERED_TABLES else "", config.filter if config else ())

    def filter_columns(self, table: str) -> frozenset[str]:
        """The columns of a table's filter as notifications name them."""
        return frozenset(logical(column) for column in self.filter_of(table).columns)

    def columns_of(self, table: str) -> frozenset[str]:
        """Every column that the fields and the filter of a mapped table look at, as notifications name them."""
        mapped = {c for rules in self.fields_of(table).values() for rule in rules for c in rule.needed_columns}
        return frozenset(map(logical, mapped)) | self.filter_columns(table)

    def key_fields(self, entity: str) -> tuple[str, ...]:
        """The Marketo fields that hold a record's own GUID; the first is the key that Marketo finds it by.

        Marketo finds a company by externalCompanyId alone (marketo.md 4.2): a field of one's own is filled beside it.
        """
        key = ENTITIES[entity].key
        if entity == "person":
            return (self.keys.person,)
        return tuple(dict.fromkeys([key, self.keys.company])) if entity == "company" else (key,) if key else ()


def logical(column: str) -> str:
    """The logical name of a column: the lookup `x` is read as `_x_value`, and `x` in notifications."""
    return column[1:-6] if column.startswith("_") and column.endswith("_value") else column


#: What stands at the top of the file and could pass for a field below it ("language" may be one).
_OPTIONS = frozenset({"filter_column", "empty", "refused", "unsubscribe", "time_zone"})
#: The keys of each section, for what is said of others.
_KEYS = {
    "": [*(name for name in SyncConfig.model_fields if name != "tables"), *TABLES],
    **{name: list(part.__class__.model_fields) for name, part in SyncConfig() if isinstance(part, _Strict)},
    "write_back": [],
    "table": list(TableConfig.model_fields),
    "rule": ["column", *FieldRule.model_fields],
}


def load(path: Path) -> SyncConfig:
    """Read and validate sync.toml. Raises ConfigurationError with every problem, one a line."""
    given = toml_file.read(path)
    wrong: list[str] = []
    config = SyncConfig()
    try:
        config = SyncConfig.model_validate(given)
    except ValidationError as error:
        wrong += problems(error, str(path), given=given, words=partial(checks.words, names=_KEYS))
    wrong += [f"{path}: {problem}" for problem in checks.misplaced(given, INSIGHT_PAIRS, _OPTIONS)]
    if wrong:
        raise ConfigurationError("BadSyncConfig", "\n".join(wrong))
    return config
