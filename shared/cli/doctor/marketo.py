"""Checks of the way into Marketo: address, sign-in, quota, native sync, permissions, keys."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from ...config.normalisers import host_of
from ...marketo.client import USAGE
from ...marketo.fields import MarketoField
from ...model.codes import Kind
from ...model.entities import ENTITIES, Entity
from ...model.errors import MarketoError, SignInError
from ..finding import Finding, attention, failed, ok
from .runner import Check, Subject, broken
from .settings import knock

GROUP = "Marketo"
#: Share of the day's calls from which somebody should look.
QUOTA_ATTENTION = 0.8
DENIED = "603"
NATIVE_SYNC = "1018"
HOST_SUFFIX = ".mktorest.com"

_OBJECTS = {
    "sales_person": ("sales persons", "Sales Person"),
    "company": ("companies", "Company"),
    "person": ("persons (leads)", "Lead"),
    "opportunity": ("opportunities", "Opportunity"),
    "opportunity_role": ("opportunity roles", "Opportunity"),
}


async def _url(subject: Subject) -> Finding:
    url = subject.context.settings.marketo.url
    remedy = "set MARKETO_URL to the REST endpoint of Admin > Web Services, https://<munchkin id>.mktorest.com"
    try:
        response = await knock(subject, "Marketo", url, USAGE)
    except ConnectionError as error:
        return failed(f"{url} does not answer ({error})", f"{remedy}; see DNS, proxy and firewall")
    if response.status_code >= 500:
        return failed(f"{url} is unwell (HTTP {response.status_code})", "try again in some minutes")
    # What a gateway says to a call without a token is documented in part only: a host of Marketo's own is believed.
    if _is_refusal(response.content) or host_of(url).endswith(HOST_SUFFIX):
        return ok(url)
    return failed(f"{url} answers (HTTP {response.status_code}), but is no Marketo instance", remedy)


def _is_refusal(content: bytes) -> bool:
    """Whether this is Marketo's envelope around an error."""
    try:
        answer = json.loads(content)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("success") is False and "errors" in answer


async def _usage(subject: Subject) -> dict[str, Any]:
    return await subject.once("usage", lambda: subject.context.marketo.get(USAGE))


async def _sign_in(subject: Subject) -> Finding:
    try:
        await _usage(subject)
    except SignInError as error:
        sentence, _, advice = error.message.partition("; ")
        return failed(sentence, advice or "compare MARKETO_CLIENT_ID and MARKETO_CLIENT_SECRET with the custom service")
    except MarketoError as error:
        if error.code == DENIED:  # the usage needs no permission (marketo.md 1)
            return failed(
                "Marketo rejects calls from this IP address (603)",
                "see Admin > Web Services > IP Restrictions: add the addresses that the app calls from",
            )
        if error.kind is not Kind.DAILY:
            return broken(error)
    return ok("with the client id and secret of the custom service")


async def _quota(subject: Subject) -> Finding:
    allowed = subject.context.settings.marketo.daily_calls
    remedy = (
        "see which integration uses them in Admin > Web Services; buy more, or correct MARKETO_DAILY_CALLS; the day "
        "ends at midnight US Central"
    )
    try:
        usage = await _usage(subject)
    except MarketoError as error:
        if error.kind is Kind.DAILY:
            return failed("Marketo refuses every further call today (607)", remedy)
        raise
    used = int((usage.get("result") or [{}])[0].get("total", 0))
    text = f"{used:,} of {allowed:,} used today, {max(0, allowed - used):,} left"
    if used >= allowed:
        return failed(text, remedy)
    return attention(text, remedy) if used >= QUOTA_ATTENTION * allowed else ok(text)


async def described(subject: Subject, entity: Entity) -> dict[str, MarketoField]:
    """The fields of an object, asked for once. Raises as MarketoClient.describe does."""
    return await subject.once(f"describe {entity.name}", lambda: subject.context.marketo.describe(entity))


async def _read(subject: Subject, entity: Entity) -> Finding:
    objects, permission = _OBJECTS[entity.name]
    try:
        fields = await described(subject, entity)
    except MarketoError as error:
        if error.code == DENIED:
            return failed(f"{objects} may not be read (603)", _grant(permission))
        raise
    return ok(f"{len(fields)} fields")


def _grant(permission: str) -> str:
    return (
        f"give the API-only user's role Access API > Read-Write {permission} (Admin > Users & Roles), and its "
        "custom service that user"
    )


async def _probe(subject: Subject, entity: Entity) -> str:
    """The code with which Marketo refuses a write, or nothing. Raises MarketoError for what may pass."""

    async def ask() -> str:
        try:
            await subject.context.marketo.probe_write(entity)
        except MarketoError as error:
            if error.kind is not Kind.CONFIGURATION:
                raise
            return error.code
        return ""

    return await subject.once(f"probe {entity.name}", ask)


async def _native_sync(subject: Subject) -> Finding:
    """Native sync closes every object but the lead (marketo.md 2)."""
    codes = await asyncio.gather(*(_probe(subject, entity) for entity in ENTITIES.values() if not entity.is_lead))
    if NATIVE_SYNC in codes:
        return failed(
            "the native CRM sync is on: companies, opportunities, roles and sales persons cannot be written (1018)",
            "this product is for instances without it: ask Marketo Support to take the native sync away",
        )
    return ok("off" if "" in codes else "off, as far as can be told: no object may be written at all")


async def _write(subject: Subject, entity: Entity) -> Finding:
    objects, permission = _OBJECTS[entity.name]
    code = await _probe(subject, entity)
    if code == DENIED:
        return failed(f"{objects} may not be written (603)", _grant(permission))
    if code:
        return failed(f"Marketo refuses to write {objects} ({code})", "look the code up in Marketo's list of codes")
    return ok("allowed; tried with a record that does not exist")


async def _activities(subject: Subject) -> Finding:
    try:
        await subject.context.marketo.get("/rest/v1/activities/types.json")
    except MarketoError as error:
        if error.code == DENIED:
            return attention(
                "activities may not be read (603): changes of Sales Insight's fields are found late",
                "give the API-only user's role Access API > Read-Only Activity (Admin > Users & Roles)",
            )
        raise
    return ok()


def _of(entity: Entity) -> tuple[Check, Check]:
    """The checks of one object."""
    name, objects = entity.name.replace("_", "-"), _OBJECTS[entity.name][0]
    # Whether leads may be written shows only when there is the key to find them by.
    also = "person-key" if entity.is_lead else "native-sync"
    read, write = partial(_read, entity=entity), partial(_write, entity=entity)
    return (
        Check(f"marketo-read-{name}", GROUP, f"Read {objects}", read, needs=_WAYS),
        Check(f"marketo-write-{name}", GROUP, f"Write {objects}", write, needs=(f"marketo-read-{name}", also)),
    )


_WAYS = ("marketo-quota",)
#: The checks that every object can be described.
READ_IDS = tuple(f"marketo-read-{name.replace('_', '-')}" for name in ENTITIES)
CHECKS = (
    Check("marketo-url", GROUP, "Address", _url, needs=("settings",)),
    Check("marketo-sign-in", GROUP, "Sign-in", _sign_in, needs=("marketo-url", "sync-toml")),
    Check("marketo-quota", GROUP, "Calls", _quota, needs=("marketo-sign-in",)),
    Check("native-sync", GROUP, "Native CRM sync", _native_sync, needs=_WAYS),
    *(check for entity in ENTITIES.values() for check in _of(entity)),
    Check("marketo-activities", GROUP, "Read activities", _activities, needs=_WAYS),
)
