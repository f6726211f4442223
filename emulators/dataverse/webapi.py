"""The Dataverse Web API: who asks, what for, and under which transaction."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import unquote

from emulators.dataverse import actions, batch, constants, counting, errors, writing
from emulators.dataverse.calls import Call
from emulators.dataverse.environment import Environment
from emulators.dataverse.login import Login
from emulators.dataverse.messages import ApiRequest, ApiResponse, error_response, json_response
from emulators.dataverse.metadata import read_metadata
from emulators.dataverse.notifications import new_id
from emulators.dataverse.store import Transaction
from emulators.dataverse.tables import BY_SET

URL_LIMIT: Final = 32_768
BATCH_URL_LIMIT: Final = 65_536
_BASE: Final = re.compile(r"^/api/data/v9\.[0-2]/(?P<rest>.*)$", re.DOTALL)
_SEGMENT: Final = re.compile(r"^(?P<set>\w+)(?:\((?P<key>[^()]*)\))?(?:/(?P<rest>.+))?$")
_STEP_BYPASS_LIMIT: Final = 3
_CHALLENGE: Final = (
    f"Bearer authorization_uri=https://{constants.LOGIN_HOST}/{constants.TENANT_ID}/oauth2/authorize, "
    f"resource_id={constants.ORGANIZATION_URL}/"
)


class Events(Protocol):
    """Takes finished transactions and posts what the registered steps ask for."""

    async def commit(self, transaction: Transaction) -> None:
        """Run the synchronous steps and queue the others. Raises ApiError when a synchronous one fails."""


class WebApi:
    """Answers requests to the organisation's host."""

    def __init__(self, environment: Environment, login: Login, events: Events) -> None:
        self._environment = environment
        self._login = login
        self._events = events

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer one HTTP request."""
        try:
            user = self._authenticate(request)
            with self._environment.admitted(user) as remaining:
                await asyncio.sleep(self._environment.switches.latency_ms / 1000)
                response = await self._answer(request, user)
        except errors.ApiError as error:
            response, remaining = error_response(error), {}
        identity = {"x-ms-service-request-id": new_id()}
        return ApiResponse(response.status, {**identity, **remaining, **response.headers}, response.body)

    def _authenticate(self, request: ApiRequest) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        session = self._login.session(token.strip()) if scheme.lower() == "bearer" else None
        if session is None:
            raise errors.ApiError(
                401, "0x8005F101", "The access token is missing or not valid.", {"WWW-Authenticate": _CHALLENGE}
            )
        users = self._environment.store.rows["systemuser"].values()
        if session.username is None:
            found = [user for user in users if user.get("applicationid") == session.client]
        else:
            found = [user for user in users if str(user.get("domainname")).lower() == session.username.lower()]
        if not found:
            raise errors.ApiError(403, "0x80072560", "The user is not a member of the organization.")
        if found[0].get("isdisabled"):
            raise errors.ApiError(403, "0x80040225", "The specified user is disabled.")
        return str(found[0]["systemuserid"])

    async def _answer(self, request: ApiRequest, user: str) -> ApiResponse:
        self._environment.refresh_schema()
        path = _rest(request)
        if len(request.target) + len(constants.ORGANIZATION_URL) > URL_LIMIT:
            raise errors.ApiError(414, "0x80060888", "The request URL is too long.")
        if path == "$batch" and request.method == "POST":
            return await self._batch(request, user)
        return await self._run(request, user)

    async def _run(self, request: ApiRequest, user: str) -> ApiResponse:
        """Answer one operation in a transaction of its own."""
        transaction = self._transaction(request, user)
        try:
            response = self._operate(request, user, transaction)
            await self._events.commit(transaction)
        except errors.ApiError as error:
            transaction.rollback()
            return error_response(error)
        return response

    async def _batch(self, request: ApiRequest, user: str) -> ApiResponse:
        self._environment.stats.count("batch")

        async def run_one(part: ApiRequest) -> ApiResponse:
            return self._planned(part) or _checked(part) or await self._run(part, user)

        async def run_together(parts: list[ApiRequest]) -> list[ApiResponse]:
            return await self._change_set(parts, request, user)

        items = batch.parse(request)
        size = sum(len(item) if isinstance(item, list) else 1 for item in items)
        self._environment.stats.largest_batch = max(self._environment.stats.largest_batch, size)
        return await batch.run(items, request, run_one, run_together)

    async def _change_set(self, parts: list[ApiRequest], request: ApiRequest, user: str) -> list[ApiResponse]:
        """Run all parts, or answer with the one that failed and leave nothing behind."""
        transaction = self._transaction(request, user)
        responses: list[ApiResponse] = []
        addresses: dict[str, str] = {}
        try:
            for raw in parts:
                part = batch.with_references(raw, addresses)
                refused = self._planned(part) or _checked(part)
                if refused is not None:
                    transaction.rollback()
                    return [refused]
                responses.append(self._operate(part, user, transaction))
                addresses[part.headers["content-id"]] = batch.address_of(responses[-1])
            await self._events.commit(transaction)
        except errors.ApiError as error:
            transaction.rollback()
            return [error_response(error)]
        return responses

    def _planned(self, request: ApiRequest) -> ApiResponse | None:
        """The planned fault of a batch part, if there is one (connection faults only make sense outside)."""
        fault = self._environment.fault_for(request.method, unquote(request.target))
        if fault is None or isinstance(fault.status, str):
            return None
        headers = fault.headers(self._environment.now())
        return error_response(errors.ApiError(fault.status, fault.code, fault.message, headers))

    def _transaction(self, request: ApiRequest, user: str) -> Transaction:
        tag = next((part[4:] for part in request.query.split("&") if part.startswith("tag=")), None)
        return Transaction(
            self._environment.store,
            user=user,
            now=self._environment.moment(),
            tag=unquote(tag) if tag else None,
            bypass=_bypass(request.headers),
        )

    def _operate(self, request: ApiRequest, user: str, transaction: Transaction) -> ApiResponse:
        path = unquote(_rest(request))
        call = Call(self._environment, request, user, transaction)
        name = path.partition("(")[0].partition("/")[0]
        if name == "EntityDefinitions":
            self._environment.stats.count("metadata")
            return read_metadata(self._environment.store.tables, call.options, path, request.method)
        unbound = _UNBOUND.get((request.method, name))
        if unbound is not None:
            return unbound(call)
        match = _SEGMENT.match(path)
        if match is None or match["set"] not in BY_SET:
            raise errors.unknown_segment(name or path)
        table = self._environment.store.tables[BY_SET[match["set"]].name]
        return writing.operate(call, table, match["key"], match["rest"])


def _rest(request: ApiRequest) -> str:
    match = _BASE.match(request.path)
    if match is None:
        raise errors.unknown_segment(request.path.strip("/"))
    return match["rest"]


def _checked(part: ApiRequest) -> ApiResponse | None:
    """The refusal of a batch part that is not an operation of its own."""
    if len(part.target) > BATCH_URL_LIMIT:
        return error_response(errors.ApiError(414, "0x80060888", "The request URL is too long."))
    if part.path.endswith("/$batch"):
        return error_response(errors.bad_query("A batch cannot contain a batch."))
    return None


def _bypass(headers: Mapping[str, str]) -> frozenset[str]:
    """Which steps the caller wants left out: their ids, or CustomSync and CustomAsync."""
    ids = headers.get("mscrm.bypassbusinesslogicexecutionstepids", "")
    steps = frozenset(part.strip().lower() for part in ids.split(",") if part.strip())
    if len(steps) > _STEP_BYPASS_LIMIT:
        raise errors.invalid_argument(f"No more than {_STEP_BYPASS_LIMIT} steps can be bypassed.")
    modes = headers.get("mscrm.bypassbusinesslogicexecution", "")
    return steps | frozenset(part.strip() for part in modes.split(",") if part.strip())


def _who_am_i(call: Call) -> ApiResponse:
    call.environment.stats.count("whoami")
    return json_response(
        {
            "@odata.context": f"{constants.API_URL}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse",
            "BusinessUnitId": constants.BUSINESS_UNIT_ID,
            "UserId": call.user,
            "OrganizationId": constants.ORGANIZATION_ID,
        }
    )


def _current_organization(call: Call) -> ApiResponse:
    if "AccessType=" not in unquote(call.request.path):
        raise errors.unknown_segment("RetrieveCurrentOrganization")
    call.environment.stats.count("organization")
    service = "https://contoso.api.crm4.dynamics.com/XRMServices/2011/Organization"
    detail: dict[str, Any] = {
        "OrganizationId": constants.ORGANIZATION_ID,
        "FriendlyName": constants.ORGANIZATION_NAME,
        "OrganizationVersion": "9.2.25024.155",
        "EnvironmentId": constants.ENVIRONMENT_ID,
        "DatacenterId": "695c6f0e-6a7c-4a55-b0f6-7c0e2d9f1b38",
        "Geo": "EMEA",
        "TenantId": constants.TENANT_ID,
        "UrlName": "contoso",
        "UniqueName": constants.ORGANIZATION_UNIQUE_NAME,
        "State": "Enabled",
        "Endpoints": {
            "Count": 3,
            "IsReadOnly": False,
            "Keys": ["WebApplication", "OrganizationService", "OrganizationDataService"],
            "Values": [f"{constants.ORGANIZATION_URL}/", f"{service}.svc", f"{service}Data.svc"],
        },
    }
    context = f"{constants.API_URL}$metadata#Microsoft.Dynamics.CRM.RetrieveCurrentOrganizationResponse"
    return json_response({"@odata.context": context, "Detail": detail})


_UNBOUND: Final[Mapping[tuple[str, str], Callable[[Call], ApiResponse]]] = {
    ("GET", "WhoAmI"): _who_am_i,
    ("GET", "RetrieveCurrentOrganization"): _current_organization,
    ("GET", "RetrieveTotalRecordCount"): counting.total_record_count,
    ("POST", "Merge"): actions.merge,
    ("POST", "WinOpportunity"): actions.win_opportunity,
    ("POST", "LoseOpportunity"): actions.lose_opportunity,
}
