"""Checks of the way into Dynamics: address, sign-in, user, organisation, role."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...config.normalisers import host_of
from ...dataverse.client import API
from ...model.codes import Kind
from ...model.entities import ALL_TABLES, CHILDREN, PERSON_TABLES, REFERENCE_TABLES, Table
from ...model.errors import DataverseError, SignInError
from ..finding import Finding, attention, failed, ok
from .runner import Check, Subject, broken, listed
from .settings import knock

GROUP = "Dynamics"
#: 403 (dataverse.md 5.3, and the code of a user that is switched off): what it means for the one who signs in.
NOT_A_MEMBER = "0x80072560"
DISABLED = "0x80040225"
NO_PRIVILEGE = "0x80040220"

_WHO_AM_I = f"{API}/WhoAmI"
_ORGANIZATION = (
    f"{API}/RetrieveCurrentOrganization(AccessType=@p1)?@p1=Microsoft.Dynamics.CRM.EndpointAccessType'Default'"
)
#: Dataverse: a privilege is called after its table, but these after something else.
_PRIVILEGE_NAMES = {"systemuser": "user"}
#: Depths of a privilege that do not reach every row.
_DEPTHS = {"Basic": "the user's own", "Local": "its business unit", "Deep": "its business unit and those below"}


async def _url(subject: Subject) -> Finding:
    url = subject.context.settings.dataverse.url
    try:
        response = await knock(subject, "Dynamics", url, _WHO_AM_I)
    except ConnectionError as error:
        return failed(
            f"{url} does not answer ({error})",
            "compare DATAVERSE_URL with the address that the browser shows in Dynamics; see DNS, proxy and firewall",
        )
    if response.status_code == 401 and "authorization_uri" in response.headers.get("WWW-Authenticate", "").lower():
        return ok(url)
    if response.status_code == 429 or response.status_code >= 500:
        return failed(f"{url} is unwell (HTTP {response.status_code})", "try again in some minutes")
    return failed(
        f"{url} answers (HTTP {response.status_code}), but is no Dataverse environment",
        "set DATAVERSE_URL to https://<org>.crm<n>.dynamics.com, as the browser shows it in Dynamics",
    )


async def _who(subject: Subject) -> dict[str, Any]:
    found: dict[str, Any] = await subject.once("who am i", lambda: subject.context.dataverse.get(_WHO_AM_I))
    return found


async def _sign_in(subject: Subject) -> Finding:
    how = subject.context.settings.dataverse
    try:
        await _who(subject)
    except SignInError as error:
        sentence, _, advice = error.message.partition(": ")
        return failed(f"{error.code}: {sentence}", advice or "see the sign-in settings in local.settings.example.json")
    except DataverseError as error:
        if error.kind is Kind.TOKEN:
            return failed(f"Dataverse does not accept the token ({error.code})", "compare DATAVERSE_URL and tenant")
        if error.code not in (NOT_A_MEMBER, DISABLED):
            return broken(error)
    return ok(f"with DATAVERSE_AUTH={how.auth}" + (f" as {how.username}" if how.auth == "password" else ""))


async def _user(subject: Subject) -> Finding:
    try:
        who = await _who(subject)
    except DataverseError as error:
        if error.code == NOT_A_MEMBER:
            return failed(
                "the account is no user of this environment",
                "add it in the Power Platform admin centre: as a user, or as an application user for an app "
                "registration; and see that DATAVERSE_URL is the environment that is meant",
            )
        if error.code == DISABLED:
            remedy = "enable it in the Power Platform admin centre, Users"
            return failed("the user is disabled in this environment", remedy)
        raise
    return ok(f"user {who['UserId']}")


async def _organization(subject: Subject) -> Finding:
    given = subject.context.settings.dataverse
    detail = (await subject.context.dataverse.get(_ORGANIZATION))["Detail"]
    id_ = str(detail["OrganizationId"]).lower()
    name = detail.get("FriendlyName") or detail.get("UniqueName", "")
    if given.organization_id and given.organization_id.lower() != id_:
        return failed(
            f"{name} has the id {id_}, DATAVERSE_ORGANIZATION_ID says {given.organization_id.lower()}",
            "correct DATAVERSE_ORGANIZATION_ID or DATAVERSE_URL: a copied environment keeps posting to the original's "
            "queue, and this setting keeps the two apart",
        )
    if detail.get("State", "Enabled") != "Enabled":
        return failed(f"{name} is {detail['State']}", "enable the environment in the Power Platform admin centre")
    endpoints = detail.get("Endpoints") or {}
    addresses = dict(zip(endpoints.get("Keys", ()), endpoints.get("Values", ()), strict=False))
    own = host_of(addresses.get("WebApplication", given.url))
    if own != host_of(given.url):
        return attention(f"{name} calls itself https://{own}", f"set DATAVERSE_URL to https://{own}")
    return ok(f"{name}, {id_}")


async def _privileges(subject: Subject) -> dict[str, str] | None:
    """Name in lower case → depth, of everything that the user's roles add up to; None where nobody may tell."""
    user = (await _who(subject))["UserId"]
    url = f"{API}/systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()"
    try:
        answer = await subject.once("privileges", lambda: subject.context.dataverse.get(url))
    except DataverseError as error:
        if error.kind is Kind.CONFIGURATION:
            return None
        raise
    held = {str(p.get("PrivilegeName") or "").lower(): str(p.get("Depth", "")) for p in answer["RolePrivileges"]}
    return held if any(held) else None  # older environments leave the names out


def _tables(mapped: Iterable[str]) -> list[str]:
    """The tables that are read: the mapped ones, and those that decide about their rows."""
    tables = [*mapped, "systemuser"]
    deciding = [name for name in REFERENCE_TABLES if any(child in tables for child, _ in CHILDREN[name])]
    return list(dict.fromkeys([*tables, "team", *deciding]))


def _privilege(verb: str, table: str) -> str:
    return f"prv{verb}{_PRIVILEGE_NAMES.get(table, table)}"


async def _read_role(subject: Subject) -> Finding:
    held = await _privileges(subject) or {}
    tables = _tables(subject.context.config.tables)
    wrong, narrow = [], []
    for table in tables:
        depth = held.get(_privilege("read", table))
        if depth is None:
            wrong += await _read_one(subject, ALL_TABLES[table])
        elif depth in _DEPTHS:
            narrow.append(f"{table}: only rows of {_DEPTHS[depth]}")
    if wrong:
        return failed(
            f"{len(wrong)} of {len(tables)} tables cannot be read",
            "give the sync user's security role Read on them, for the whole organisation",
            wrong,
        )
    if narrow:
        return attention(
            "not every row can be read: the others are never synced",
            "set Read to Organization in the sync user's security role",
            narrow,
        )
    return ok(f"{len(tables)} tables: {listed(tables, 10)}")


async def _read_one(subject: Subject, table: Table) -> list[str]:
    """Why a table cannot be read, if it cannot. Privileges may have other names than their tables, so it is tried."""
    try:
        await subject.context.dataverse.get(f"{API}/{table.entity_set}?$select={table.key}&$top=1")
    except DataverseError as error:
        if error.kind is Kind.GONE or error.code == "0x80060888":
            return [
                f"{table.name}: there is no such table; leads and opportunities come with the Dynamics 365 Sales app"
            ]
        if error.kind in (Kind.CONFIGURATION, Kind.PERMANENT):
            return [f"{table.name}: {error.code} {error.message}"]
        raise
    return []


async def _write_role(subject: Subject) -> Finding:
    tables = [table for table in PERSON_TABLES if table in subject.context.config.tables]
    held = await _privileges(subject)
    remedy = "give the sync user's security role Write on lead and contact, for the whole organisation"
    if held is None:
        return attention("the user's privileges cannot be read, and nothing is written to find out", remedy)
    depths = {table: held.get(_privilege("write", table)) for table in tables}
    missing = [f"{table}: no privilege prvWrite{table.title()}" for table, depth in depths.items() if depth is None]
    if missing:
        return failed("Sales Insight's fields cannot be written back", remedy, missing)
    narrow = [f"{table}: only rows of {_DEPTHS[depth]}" for table, depth in depths.items() if depth in _DEPTHS]
    if narrow:
        return attention("not every row can be written to", remedy, narrow)
    return ok(listed(tables) or "nothing to write to is mapped")


CHECKS = (
    Check("dynamics-url", GROUP, "Address", _url, needs=("settings",)),
    Check("dynamics-sign-in", GROUP, "Sign-in", _sign_in, needs=("dynamics-url",)),
    Check("dynamics-user", GROUP, "User", _user, needs=("dynamics-sign-in",)),
    Check("dynamics-organization", GROUP, "Organisation", _organization, needs=("dynamics-user",)),
    Check("dynamics-read", GROUP, "Role: read", _read_role, needs=("dynamics-user", "sync-toml")),
    Check("dynamics-write", GROUP, "Role: write back", _write_role, needs=("dynamics-read",)),
)
