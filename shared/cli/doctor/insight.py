"""Checks of what Sales Insight needs on both sides: keys, its fields and columns, the sales persons' e-mail."""

from __future__ import annotations

from ...config.sync_toml import INSIGHT_PAIRS
from ...dataverse.client import API
from ...model.entities import ENTITIES, PERSON_TABLES, Entity
from ...model.errors import MarketoError
from ...write_back.insight_fields import Reason, lead_field, resolve
from ..fields.checks import check_fields
from ..fields.schemas import Schemas
from ..finding import Finding, attention, failed, ok
from .fields import columns
from .marketo import described
from .runner import Check, Subject

GROUP = "Sales Insight"
#: Users that are compared: one call of Marketo, one request to Dataverse.
USERS = 300

_PERSON, _COMPANY, _SALES_PERSON = ENTITIES["person"], ENTITIES["company"], ENTITIES["sales_person"]


async def _key(subject: Subject, entity: Entity, name: str) -> Finding:
    """By the rules of `fields check`: there, long enough for a GUID, writable, and searchable for persons."""
    known = Schemas({}, {entity.name: await described(subject, entity)}, {})
    wrong = [found for found in check_fields(subject.context.config, known) if found.key == f"keys.{entity.name}"]
    if wrong:
        return failed(wrong[0].text, wrong[0].remedy)
    return ok(f"the id of Dynamics is in {name}")


async def _person_key(subject: Subject) -> Finding:
    return await _key(subject, _PERSON, subject.context.config.keys.person)


async def _company_key(subject: Subject) -> Finding:
    return await _key(subject, _COMPANY, subject.context.config.keys.company)


async def _fields(subject: Subject) -> Finding:
    """That they exist, and that Marketo gives them: an unknown name fails the whole read."""
    known = await described(subject, _PERSON)
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
        await subject.context.marketo.read(_PERSON, "id", ["0"], fields)
    except MarketoError as error:
        if error.code in ("1003", "1006"):
            return attention(f"Marketo does not give them ({error.code}: {error.message})", "correct [write_back]")
        raise
    return ok(f"{len(fields)} can be read")


async def _columns(subject: Subject) -> Finding:
    fields = await described(subject, _PERSON)
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
    key = subject.context.marketo.key_of(_SALES_PERSON)
    rows = await subject.context.marketo.read(_SALES_PERSON, key, list(mail), (key, "email"), unique=True)
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
    return ok(f"the same for {len(theirs)} sales persons, of {len(mail)} users looked at")


CHECKS = (
    Check("person-key", GROUP, "Person's key", _person_key, needs=("marketo-read-person",)),
    Check("company-key", GROUP, "Company's key", _company_key, needs=("marketo-read-company",)),
    Check("insight-fields", GROUP, "Fields in Marketo", _fields, needs=("person-key",)),
    Check("insight-columns", GROUP, "Columns in Dynamics", _columns, needs=("dynamics-read", "marketo-read-person")),
    Check(
        "sales-person-mail",
        GROUP,
        "Sales persons' e-mail",
        _mail,
        needs=("dynamics-read", "marketo-read-sales-person"),
    ),
)
