"""sync.toml: which columns go to which Marketo fields, and the policies. Validated at once, every problem listed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shared.conditions import SyncFilter, Wanted
from shared.entities import ENTITIES, TABLES
from shared.errors import ConfigurationError

Column = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")]
Guid = Annotated[
    str,
    BeforeValidator(lambda given: given.strip("{}").lower() if isinstance(given, str) else given),
    StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"),
]
MarketoName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

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


def _as_wanted(given: Any) -> Any:
    if isinstance(given, bool | int):
        return [given]
    if isinstance(given, str) and given not in ("empty", "present"):
        raise ValueError(f'"empty", "present", or a list of values: ["{given}"]')
    return given


ColumnWanted = Annotated[Wanted, BeforeValidator(_as_wanted)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldRule(_Strict):
    """Where a Marketo field's value comes from (the forms are shown at the top of sync.toml)."""

    columns: tuple[Column, ...] = Field(min_length=1)
    convert: Literal["plain", "label", "lines", "is", "true_only"] = "plain"
    values: tuple[int | str | bool, ...] = ()
    when: dict[Column, ColumnWanted] = {}

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"columns": (given,)}
        if isinstance(given, dict) and "column" in given:
            return {"columns": (given["column"],), **{k: v for k, v in given.items() if k != "column"}}
        return given

    @model_validator(mode="after")
    def _fits(self) -> FieldRule:
        if (self.convert == "is") != bool(self.values):
            raise ValueError('convert = "is" and values = [...] go together')
        if self.convert != "lines" and len(self.columns) != 1:
            raise ValueError('several columns go with convert = "lines"; alternatives are a list of rules')
        return self


def _as_list(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else (given,)


FieldRules = Annotated[tuple[FieldRule, ...], BeforeValidator(_as_list), Field(min_length=1)]


Conditions = Annotated[tuple[dict[Column, ColumnWanted], ...], BeforeValidator(_as_list)]
Names = Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], BeforeValidator(_as_list)]


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
    """How connections become opportunity roles (dataverse.md 7.6)."""

    default: Annotated[str, StringConstraints(min_length=1, max_length=50)] = "Stakeholder"


class SyncConfig(_Strict):
    """The whole of sync.toml."""

    language: int = 1033
    empty: Literal["clear", "keep"] = "clear"
    unsubscribe: Literal["never", "opt_out", "both"] = "never"
    filter_column: Column | Literal[""] = "new_synctomkto"
    keys: KeyFields = KeyFields()
    owner: OwnerPolicy = OwnerPolicy()
    roles: RolePolicy = RolePolicy()
    write_back: dict[MarketoName, Names] = dict(INSIGHT_PAIRS)
    tables: dict[str, TableConfig] = {}

    @model_validator(mode="before")
    @classmethod
    def _sections(cls, given: dict[str, Any]) -> dict[str, Any]:
        tables = {k: v for k, v in given.items() if k in TABLES}
        return {**{k: v for k, v in given.items() if k not in TABLES}, "tables": tables}

    def fields_of(self, table: str) -> dict[str, tuple[FieldRule, ...]]:
        """The field rules of a mapped table, with the one that the unsubscribe policy stands for."""
        fields = dict(self.tables[table].fields)
        if self.unsubscribe != "never" and table in ("lead", "contact"):
            convert: Literal["plain", "true_only"] = "plain" if self.unsubscribe == "both" else "true_only"
            fields.setdefault("unsubscribed", (FieldRule(columns=("donotbulkemail",), convert=convert),))
        return fields

    def filter_of(self, table: str) -> SyncFilter:
        """Which rows of a table are synced; of a table that is not mapped, all."""
        config = self.tables.get(table)
        return SyncFilter(self.filter_column if table in FILTERED_TABLES else "", config.filter if config else ())

    def filter_columns(self, table: str) -> frozenset[str]:
        """The columns of a table's filter as notifications name them: a lookup `_x_value` is `x` there."""
        return frozenset(c.removeprefix("_").removesuffix("_value") for c in self.filter_of(table).columns)

    def key_fields(self, entity: str) -> tuple[str, ...]:
        """The Marketo fields that hold a record's own GUID; the first is the key that Marketo finds it by.

        Marketo finds a company by externalCompanyId alone (marketo.md 4.2): a field of one's own is filled beside it.
        """
        key = ENTITIES[entity].key
        if entity == "person":
            return (self.keys.person,)
        return tuple(dict.fromkeys([key, self.keys.company])) if entity == "company" else (key,) if key else ()


def load(path: Path) -> SyncConfig:
    """Read and validate sync.toml. Raises ConfigurationError with every problem, one a line."""
    try:
        return SyncConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigurationError("NoSyncConfig", f"{path} does not exist; set SYNC_CONFIG or add the file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("BadSyncConfig", f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        raise ConfigurationError("BadSyncConfig", "\n".join(problems(error, str(path)))) from None


def problems(error: ValidationError, source: str) -> Iterator[str]:
    """One line per problem: where, and what is wrong. Values are left out: they may be secrets."""
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"] if part != "tables")
        yield ": ".join(filter(None, (source, where, problem["msg"].removeprefix("Value error, "))))
