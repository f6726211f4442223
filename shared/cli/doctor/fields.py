"""Checks of sync.toml and of what Sales Insight needs against both sides, by the rules of `msisync fields check`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from ...config.sync_toml import INSIGHT_PAIRS
from ...dataverse.client import API
from ...dataverse.metadata import Column
from ...model.entities import COMPANY, ENTITIES, PERSON, PERSON_TABLES, SALES_PERSON, TABLES, Entity
from ...model.errors import MarketoError
from ...write_back.insight_fields import Reason, lead_field, resolve
from ..fields.checks import check_fields
from ..fields.rules import Code
from ..fields.schemas import Schemas
from ..finding import Finding, Severity, as_grave_as, attention, counted, failed, ok
from .marketo import READ_IDS, described
from .runner import Check, Subject

GROUP, INSIGHT = "Fields", "Sales Insight"
#: Users that are compared: one call of Marketo, one request to Dataverse.
USERS = 300

_COLUMNS = frozenset({Code.COLUMN_MISSING, Code.COLUMN_UNREADABLE, Code.COLUMN_HIDDEN})
_FIELDS = frozenset({Code.FIELD_MISSING, Code.FIELD_READ_ONLY})
#: All but the findings that have checks of their own.
_OTHERS = frozenset(Code) - _COLUMNS - _FIELDS - {Code.KEY, Code.WRITE_BACK}


async def columns(subject: Subject, table: str) -> dict[str, Column]:
    """The columns of a table, asked for once. Raises as Metadata does."""
    context = subject.context
    return await subject.once(f"columns {table}", lambda: context.metadata.columns(table, context.config.language))


async def columns_of(subject: Subject, tables: Sequence[str]) -> dict[str, dict[str, Column]]:
    """The columns of these tables, asked for at the same time."""
    found = await asyncio.gather(*(columns(subject, table) for table in tables))
    return dict(zip(tables, found, strict=True))


async def _judged(subject: Subject, *, codes: frozenset[Code], effect: str, fine: str, marketo: bool = True) -> Finding:
    """What of these codes `fields check` says that must be fixed, as one finding; `fine` where that is nothing.

    Without `marketo`, its side is not asked for.
    """
    config = subject.context.config
    entities = dict.fromkeys(TABLES[table][0].name for table in config.tables)
    schemas = Schemas(
        await columns_of(subject, list(config.tables)),
        {name: await described(subject, ENTITIES[name]) if marketo else {} for name in entities},
        {},
    )
    found = check_fields(config, schemas)
    wrong = [each for each in found if each.code in codes and each.severity is not Severity.OK]
    if not wrong:
        return ok(fine)
    lines = [f"{f.where}: {f.text} ({f.remedy})" for f in wrong]
    remedy = f"correct {subject.context.settings.sync.config}; msisync fields check shows everything"
    return as_grave_as(wrong, f"{counted(len(wrong), 'finding')}{effect}", remedy, lines)


async def _key(subject: Subject, entity: Entity) -> Finding:
    """By the rules of `fields check`: there, long enough for a GUID, writable, and searchable for persons."""
    known = Schemas({}, {entity.name: await described(subject, entity)}, {})
    wrong = [found for found in check_fields(subject.context.config, known) if found.key == f"keys.{entity.name}"]
    if wrong:
        return failed(wrong[0].text, wrong[0].remedy)
    return ok(f"the id of Dynamics is in {getattr(subject.context.config.keys, entity.name)}")


async def _insight_fields(subject: Subject) -> Finding:
    """That they exist, and that Marketo gives them: an unknown name fails the whole read."""
    known = await described(subject, PERSON)
    wanted = subject.context.config.write_back
    found = {name: lead_field(name, known) for name in wanted}
    missing = [f"{name}: Marketo has no such lead field" for name, field in found.items() if field is None]
    if missing:
        own = any(name not in INSIGHT_PAIRS for name, field in found.items() if field is None)
        return attention(
            f"{len(missing)} of {len(found)} are missing",
            "correct [write_back] in sync.toml" if own else "ask Marketo Support whether MSI Non-Native is switched on",
            missing,
        )
    fields = [field for field in found.values() if field]
    try:
        await subject.context.marketo.read(PERSON, "id", ["0"], fields)
    except MarketoError as error:
        if error.code in ("1003", "1006"):
            return attention(f"Marketo does not give them ({error.code}: {error.message})", "correct [write_back]")
        raise
    return ok(f"{len(fields)} can be read")


async def _insight_columns(subject: Subject) -> Finding:
    fields = await described(subject, PERSON)
    config = subject.context.config
    tables = [table for table in PERSON_TABLES if table in config.tables]
    wrong: dict[str, str] = {}
    for table in tables:
        for pair in resolve(config.write_back, await columns(subject, table), fields):
            for obstacle in pair.obstacles:
                if obstacle.reason is not Reason.NO_FIELD:
                    wrong[f"{table}, {pair.name}: {obstacle.text}"] = obstacle.remedy
    if wrong:
        return attention(
            f"{len(wrong)} of {len(tables) * len(config.write_back)} cannot be written",
            "; ".join(dict.fromkeys(wrong.values())),
            wrong,
        )
    return ok(f"{len(config.write_back)} on {' and '.join(tables)}" if tables else "neither lead nor contact is mapped")


async def _mail(subject: Subject) -> Finding:
    """Guide, last paragraph: the two addresses must be the same, or the Marketo tab stays empty."""
    users = await subject.context.dataverse.query(
        f"{API}/systemusers?$select=systemuserid,internalemailaddress&$top={USERS}"
        "&$filter=isdisabled eq false and applicationid eq null and internalemailaddress ne null"
    )
    mail = {str(user["systemuserid"]).lower(): str(user["internalemailaddress"]) for user in users}
    if not mail:
        return ok("no enabled user has an e-mail address")
    key = subject.context.marketo.key_of(SALES_PERSON)
    rows = await subject.context.marketo.read(SALES_PERSON, key, list(mail), (key, "email"), unique=True)
    theirs = {str(row.get(key)).lower(): str(row.get("email") or "") for row in rows}
    different = [
        f"{mail[id_]} in Dynamics, {theirs[id_] or 'nothing'} in Marketo"
        for id_ in sorted(mail.keys() & theirs.keys(), key=mail.__getitem__)
        if mail[id_].strip().lower() != theirs[id_].strip().lower()
    ]
    if different:
        return attention(
            f"{len(different)} of {len(theirs)} sales persons have another e-mail than their user: their Marketo tab "
            "in Dynamics stays empty",
            'map email = "internalemailaddress" in [systemuser.fields] of sync.toml, and save those users in Dynamics '
            "to sync them again",
            different,
        )
    looked = counted(len(mail), "user")
    if not theirs:
        return ok(f"nothing to compare: of {looked} looked at, none is a sales person in Marketo yet")
    return ok(f"the same for {counted(len(theirs), 'sales person')}, of {looked} looked at")


_mapped_columns = partial(
    _judged, codes=_COLUMNS, marketo=False, effect=": the fields that they feed keep their value in Marketo",
    fine="all that sync.toml names can be read",
)  # fmt: skip
_mapped_fields = partial(
    _judged, codes=_FIELDS, effect=": these fields are left out", fine="all that sync.toml names can be written"
)
_mapping = partial(_judged, codes=_OTHERS, effect="", fine="columns fit their fields")
_PERSONS = ("dynamics-read", "marketo-read-person")
_SELLERS = ("dynamics-read", "marketo-read-sales-person")
CHECKS = (
    Check("mapped-columns", GROUP, "Mapped columns in Dynamics", _mapped_columns, needs=("dynamics-read",)),
    Check("mapped-fields", GROUP, "Mapped fields in Marketo", _mapped_fields, needs=("dynamics-read", *READ_IDS)),
    Check("mapping", GROUP, "Types, lengths, filter", _mapping, needs=("dynamics-read", *READ_IDS)),
    Check("person-key", INSIGHT, "Person's key", partial(_key, entity=PERSON), needs=("marketo-read-person",)),
    Check("company-key", INSIGHT, "Company's key", partial(_key, entity=COMPANY), needs=("marketo-read-company",)),
    Check("insight-fields", INSIGHT, "Fields in Marketo", _insight_fields, needs=("person-key",)),
    Check("insight-columns", INSIGHT, "Columns in Dynamics", _insight_columns, needs=_PERSONS),
    Check("sales-person-mail", INSIGHT, "Sales persons' e-mail", _mail, needs=_SELLERS),
)
