"""sync.toml: which columns go to which Marketo fields, and the policies. Validated at once, every problem listed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shared.entities import TABLES
from shared.errors import ConfigurationError

Column = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")]
Guid = Annotated[
    str,
    BeforeValidator(lambda given: given.strip("{}").lower() if isinstance(given, str) else given),
    StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"),
]
Condition = Literal["empty", "present"] | list[int | str | bool]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldRule(_Strict):
    """Where a Marketo field's value comes from (the forms are shown at the top of sync.toml)."""

    columns: tuple[Column, ...] = Field(min_length=1)
    convert: Literal["plain", "label", "lines", "is", "true_only"] = "plain"
    values: tuple[int | str | bool, ...] = ()
    when: dict[Column, Condition] = {}

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


class TableConfig(_Strict):
    """The fields of one Dataverse table."""

    fields: dict[str, FieldRules]


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
    owner: OwnerPolicy = OwnerPolicy()
    roles: RolePolicy = RolePolicy()
    tables: dict[str, TableConfig] = {}

    @model_validator(mode="before")
    @classmethod
    def _sections(cls, given: dict[str, Any]) -> dict[str, Any]:
        tables = {k: v for k, v in given.items() if k in TABLES}
        return {**{k: v for k, v in given.items() if k not in TABLES}, "tables": tables}


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
