"""Which path and verb is which operation."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emulators.marketo import feeds, merging, queries, writes
from emulators.marketo.errors import CallError
from emulators.marketo.instance import Call, Instance
from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS, object_types

# An operation gets the object's name, or the id that is part of the path.
Operation = Callable[[Instance, str, Call], Awaitable[dict[str, Any]]]
_LEAD_PATH = re.compile(r"/rest/v1/lead/(\d{1,10})\.json\Z", re.ASCII)
_LEAD_BY_ID_PATH = "/rest/v1/lead/{id}.json"
_MERGE_PATH = re.compile(r"/rest/v1/leads/(\d{1,10})/merge\.json\Z", re.ASCII)
_MERGE_BY_ID_PATH = "/rest/v1/leads/{id}/merge.json"
ANY = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path: what its verbs do, and the object whose permission they need (ANY for none)."""

    path: str
    kind: str
    verbs: Mapping[str, Operation]
    argument: str = ""


def _endpoints() -> dict[str, Endpoint]:
    found: list[Endpoint] = []
    for name, kind in object_types(msi=True).items():
        main = {"GET": queries.query, "POST": writes.upsert}
        if kind.is_lead:
            found.append(Endpoint(f"{kind.path}/describe.json", name, {"GET": queries.describe_lead}))
            found.append(Endpoint(f"{kind.path}/describe2.json", name, {"GET": queries.describe}))
            main["DELETE"] = writes.delete
        else:
            found.append(Endpoint(f"{kind.path}/describe.json", name, {"GET": queries.describe}))
        found.append(Endpoint(f"{kind.path}.json", name, main))
        found.append(Endpoint(f"{kind.path}/delete.json", name, {"POST": writes.delete}))
        if kind.extensible:
            found.append(Endpoint(f"{kind.path}/schema/fields.json", name, {"GET": queries.schema_fields}))
    reads: dict[str, Operation] = {
        "activities/pagingtoken": feeds.paging_token,
        "activities/types": feeds.types,
        "activities": feeds.activities,
        "activities/leadchanges": feeds.lead_changes,
        "activities/deletedleads": feeds.deleted_leads,
        "stats/usage": feeds.usage_today,
        "stats/usage/last7days": feeds.usage_last_days,
        "stats/errors": feeds.errors_today,
        "stats/errors/last7days": feeds.errors_last_days,
    }
    for path, operation in reads.items():
        # The usage endpoints need no permission (custom-services.md).
        kind_of = "activities" if path.startswith("activities") else ANY
        found.append(Endpoint(f"/rest/v1/{path}.json", kind_of, {"GET": operation}))
    return {endpoint.path: endpoint for endpoint in found}


_ENDPOINTS = _endpoints()
_BY_ID = (
    (_LEAD_PATH, _LEAD_BY_ID_PATH, {"GET": queries.lead_by_id}),
    (_MERGE_PATH, _MERGE_BY_ID_PATH, {"POST": merging.merge}),
)
_OF_THE_CRM = frozenset({COMPANIES, OPPORTUNITIES, ROLES, SALES_PERSONS})


def endpoint_for(path: str) -> Endpoint:
    """Return the endpoint of a path.

    Raises:
        CallError: 610, there is none.
    """
    endpoint = _ENDPOINTS.get(path)
    if endpoint is not None:
        return endpoint
    for pattern, named, verbs in _BY_ID:
        match = pattern.match(path)
        if match is not None:
            return Endpoint(named, LEADS, verbs, match[1])
    raise CallError("610")


def template(path: str) -> str:
    """Return the path with its variable part named, as statistics count it."""
    return next((named for pattern, named, _ in _BY_ID if pattern.match(path)), path)


def operation_for(endpoint: Endpoint, verb: str) -> Operation:
    """Return what the verb does there.

    Raises:
        CallError: 605, the endpoint does not know the verb.
    """
    operation = endpoint.verbs.get(verb)
    if operation is None:
        raise CallError("605", f"HTTP Method '{verb}' not supported")
    return operation


def check_allowed(instance: Instance, endpoint: Endpoint, verb: str) -> None:
    """Let a call pass that the API user may make on this instance.

    Raises:
        CallError: 603, the user's role lacks the permission; 1018, a native CRM sync owns the object.
    """
    switches = instance.switches
    is_write = verb != "GET"
    if endpoint.kind in switches.denied_objects or (is_write and endpoint.kind in switches.read_only_objects):
        raise CallError("603")
    if is_write and switches.native_crm_sync and endpoint.kind in _OF_THE_CRM:
        raise CallError("1018")
