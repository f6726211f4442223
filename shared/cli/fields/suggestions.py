"""Proposals for sync.toml: what is not mapped yet and could be, as TOML that can be pasted. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...config.sync_toml import INSIGHT_PAIRS, FieldRule, SyncConfig
from ...dataverse.metadata import Column
from ...marketo.fields import MarketoField
from ...model.entities import PERSON_TABLES, TABLES
from ...sync.company_fields import STANDARD_COMPANY_FIELDS
from ...sync.conversions import Source, source_of
from ...write_back.insight_fields import ALIASES, FoundBy, Pair, bare, can_hold, lead_field, native_columns, resolve
from .rules import DEFAULTS, Code, has_labels, rule_problems
from .schemas import Schemas

#: How sure a likeness must be to be proposed, of 100.
LIKELY = 75
_SURE = 100
#: Fields that Marketo or the sync itself fills, or that a policy of sync.toml decides.
_NEVER = frozenset(
    {
        *("id", "marketoguid", "createdat", "updatedat", "leadid", "role", "leadscore", "unsubscribed"),
        *("externalsalespersonid", "externalcompanyid", "externalpersonid", "externalopportunityid"),
        *("emailinvalid", "marketingsuspended", "blacklisted", "leadpartitionid", "acquisitionprogramid"),
    }
)
#: Lead fields that Sales Insight calculates: they are read, never written (guide, step 6; marketo.md 7).
_CALCULATED = frozenset({*(name.lower() for name in INSIGHT_PAIRS), *ALIASES, "urgency"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # sync.toml takes no other
_PREFIX = re.compile(r"[a-z][a-z0-9]{1,7}_")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A line for [<table>.fields]. `confidence` is of 100; what is less than sure is printed as a comment."""

    field: str
    rules: tuple[FieldRule, ...]
    why: str
    confidence: int

    @property
    def sure(self) -> bool:
        """Whether the line may be taken without a look at it."""
        return self.confidence == _SURE


@dataclass(frozen=True, slots=True)
class InsightProposal:
    """The columns of one pair of [write_back] by logical name; `why` is empty for those that are found anyway."""

    field: str
    names: tuple[str, ...]
    why: str
    sure: bool


def suggest_fields(config: SyncConfig, schemas: Schemas, table: str) -> list[Proposal]:
    """What could be mapped of a table: Adobe's defaults, then equal names or labels, then similar ones."""
    sides = schemas.of(table)
    if sides is None:
        return []
    columns = {column.web_name: column for column in sides[0].values() if column.readable and not column.hidden}
    mapped = config.fields_of(table)
    used = {column for rules in mapped.values() for rule in rules for column in rule.columns}
    free = _free_fields(config, schemas, table, {name.lower() for name in mapped})
    proposals = list(_defaults(table, columns, free))
    used.update(column for proposal in proposals for rule in proposal.rules for column in rule.columns)
    taken = {proposal.field for proposal in proposals}
    company = STANDARD_COMPANY_FIELDS if TABLES[table][0].is_lead else ()
    rest = {name: field for name, field in free.items() if name not in taken and name.lower() not in company}
    candidates = {c.web_name: c for c in columns.values() if c.web_name not in used and _is_of_interest(c, config)}
    return proposals + _alike(candidates, rest)


def suggest_write_back(config: SyncConfig, schemas: Schemas) -> list[InsightProposal]:
    """[write_back] with this environment's columns. Empty where sync.toml has them all, or nothing better is known."""
    tables = [table for table in PERSON_TABLES if schemas.of(table)]
    if not tables:
        return []
    fields = schemas.fields["person"]
    by_table = {table: resolve(config.write_back, schemas.columns[table], fields) for table in tables}
    proposals = [
        _insight_names(config, {table: pairs[place] for table, pairs in by_table.items()}, schemas)
        for place in range(len(config.write_back))
    ]
    return proposals if any(p.why for p in proposals) else []


def as_toml(rules: Sequence[FieldRule]) -> str:
    """A field's rules as sync.toml writes them, in the shortest form."""
    written = [_rule_toml(rule) for rule in rules]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def toml_of(tables: Mapping[str, Sequence[Proposal]], insight: Sequence[InsightProposal]) -> str:
    """All proposals as lines of sync.toml. What is less than sure is commented out."""
    lines: list[str] = []
    for table, proposals in tables.items():
        if proposals:
            lines += [f"[{table}.fields]", *map(_line, proposals), ""]
    if insight:
        lines += ["# This section stands for the one that sync.toml may have.", "[write_back]"]
    for pair in insight:
        names = _value(list(pair.names) if len(pair.names) > 1 else pair.names[0])
        line = f"{pair.field} = {names}" + (f" # {pair.why}" if pair.why else "")
        lines.append(line if pair.sure else f"# {line}")
    return "\n".join(lines)


def _line(proposal: Proposal) -> str:
    line = f"{proposal.field} = {as_toml(proposal.rules)} # {proposal.why}"
    return line if proposal.sure else f"# {line}, {proposal.confidence} %"


def _free_fields(config: SyncConfig, schemas: Schemas, table: str, mapped: set[str]) -> dict[str, MarketoField]:
    entity = TABLES[table][0]
    taken = mapped | _NEVER | {name.lower() for name in config.key_fields(entity.name)}
    if entity.is_lead:
        taken = (
            taken | _CALCULATED | {name.lower() for name in schemas.fields.get("company", {})} - STANDARD_COMPANY_FIELDS
        )
    return {
        name: field
        for name, field in schemas.fields[entity.name].items()
        if field.writable and name.lower() not in taken and _NAME.fullmatch(name)
    }


def _defaults(table: str, columns: Mapping[str, Column], free: Mapping[str, MarketoField]) -> Iterator[Proposal]:
    spelled = {name.lower(): name for name in free}
    for name, rules in DEFAULTS.tables[table].fields.items():
        field = spelled.get(name.lower())
        if field:
            usable = tuple(rule for rule in rules if _fits(rule, columns, free[field]))
            if usable:
                yield Proposal(field, usable, "Adobe's default mapping", _SURE)


def _fits(rule: FieldRule, columns: Mapping[str, Column], field: MarketoField) -> bool:
    if not columns.keys() >= set(rule.needed_columns):
        return False
    return all(problem.code in (Code.CUT, Code.LOSSY) for problem in rule_problems(rule, columns, field))


def _is_of_interest(column: Column, config: SyncConfig) -> bool:
    """Ids say nothing to marketing, and what Sales Insight or the filter uses is not sent."""
    if source_of(column) is Source.ID or column.name == config.filter_column:
        return False
    names = [name for names in config.write_back.values() for name in names]
    return not {column.name, column.schema_name.lower(), column.label.lower()} & {name.lower() for name in names}


def _alike(columns: Mapping[str, Column], fields: Mapping[str, MarketoField]) -> list[Proposal]:
    columns_as_words = [
        (column, _Words.of(column.label, _PREFIX.sub("", column.name, count=1), column.name))
        for column in columns.values()
    ]
    found = []
    for name, field in fields.items():
        words = _Words.of(field.label, name)
        for column, other in columns_as_words:
            confidence, why = other.likeness(words)
            if confidence >= LIKELY:
                labelled = has_labels(column) and column.kind != "Boolean" and field.data_type in {"string", "text"}
                rule = FieldRule(columns=(column.web_name,), convert="label" if labelled else "plain")
                if _fits(rule, columns, field):
                    found.append((Proposal(name, (rule,), why, confidence), column.web_name))
    found.sort(key=lambda entry: (-entry[0].confidence, entry[0].field, entry[1]))
    chosen: dict[str, Proposal] = {}
    used: set[str] = set()
    for proposal, column_name in found:
        if proposal.field not in chosen and column_name not in used:
            chosen[proposal.field] = proposal
            used.add(column_name)
    return list(chosen.values())


@dataclass(frozen=True, slots=True)
class _Words:
    """What one side calls something: names and label without case and separators, and their pairs of letters."""

    names: frozenset[str]
    label: str
    pairs: tuple[frozenset[str], frozenset[str]]

    @classmethod
    def of(cls, label: str, name: str, *more: str) -> _Words:
        names = [bare(each) for each in (name, *more)]
        return cls(frozenset(names) - {""}, bare(label), (_letter_pairs(names[0]), _letter_pairs(bare(label))))

    def likeness(self, other: _Words) -> tuple[int, str]:
        """How sure it is, of 100, that both are the same, and by what."""
        if self.names & other.names:
            return _SURE, "same name"
        if self.label and (self.label == other.label or self.label in other.names):
            return _SURE, "same label"
        pairs = zip(self.pairs, other.pairs, strict=True)
        shared = max((2 * len(one & two) / (len(one) + len(two)) for one, two in pairs if one and two), default=0.0)
        return min(_SURE - 1, round(100 * shared)), "similar name"


def _letter_pairs(text: str) -> frozenset[str]:
    return frozenset(text[i : i + 2] for i in range(len(text) - 1))


def _insight_names(config: SyncConfig, pairs: Mapping[str, Pair], schemas: Schemas) -> InsightProposal:
    """One name for all tables where they agree. A column that is only likely is no more than a comment."""
    name = next(iter(pairs.values())).name
    field = lead_field(name, schemas.fields["person"])
    given = tuple(config.write_back[name])
    if field is None:
        return InsightProposal(name, given, "", sure=True)
    data_type = schemas.fields["person"][field].data_type
    names: list[str] = []
    notes: list[str] = []
    for table, pair in pairs.items():
        if pair.usable and pair.column:
            names.append(pair.column.name)
            if pair.found_by is not FoundBy.LOGICAL_NAME:
                notes.append(f"{table}: by {pair.found_by}")
            continue
        for column in native_columns(name, schemas.columns[table]):
            if column.updatable and column.readable and can_hold(data_type, column.kind):
                names.append(column.name)
                notes.append(f"{table}: the native connector's column")
                break
    if not names:
        return InsightProposal(name, given, "no column of a fitting name, label and type", sure=False)
    return InsightProposal(name, tuple(dict.fromkeys(names)), "; ".join(dict.fromkeys(notes)), sure=True)


def _rule_toml(rule: FieldRule) -> str:
    if rule.convert == "plain" and not rule.when:
        return _value(rule.columns[0])
    parts: dict[str, Any] = {"columns": list(rule.columns)} if len(rule.columns) > 1 else {"column": rule.columns[0]}
    if rule.convert != "plain":
        parts["convert"] = rule.convert
    if rule.values:
        parts["values"] = list(rule.values)
    if rule.when:
        parts["when"] = dict(rule.when)
    return _value(parts)


def _value(value: Any) -> str:
    """A value as TOML writes it inline: as JSON, but for braces, and for DEL, which TOML wants escaped."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
