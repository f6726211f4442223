"""Builds the RemoteExecutionContext that Dataverse posts for a change, as JSON exactly as it is on the wire.

Rows are given in Web API form: `{"contactid": …, "_ownerid_value": …, "_ownerid_value@Microsoft.Dynamics.CRM.
lookuplogicalname": "systemuser"}`.
"""

import json
import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from emulators.dataverse import constants
from emulators.dataverse.columns import Table
from emulators.dataverse.encoding import EMPTY_GUID, entity, entity_collection, reference, typed, wire_date
from emulators.dataverse.tables import TABLES

CLAIMS: Final = "http://schemas.microsoft.com/xrm/2011/Claims/"
SIZE_EXCEEDED: Final = "MessageMaxSizeExceeded"
QUEUE_LIMIT: Final = 192 * 1024  # bytes; Dataverse strips larger messages to a queue
WEBHOOK_LIMIT: Final = 256 * 1024
PRIMARY_NAME_IMAGE: Final = "AsynchronousStepPrimaryName"
_STRIPPED_KEYS: Final = ("ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages")
_KEYS_SINCE_2022: Final = (
    "InitiatingUserAgent",
    "InitiatingUserAzureActiveDirectoryObjectId",
    "UserAzureActiveDirectoryObjectId",
)
# The automatic image of an asynchronous step is that of the row afterwards, or before where there is none afterwards.
_NAMED_IMAGE_MESSAGES: Final = {"Create", "Update", "SetState", "Merge"}
_NAMED_BEFORE: Final = {"Delete", "Assign"}
_SEVEN_HOURS_MS: Final = 7 * 3_600_000
_DEFAULT_STEP: Final = "e5b8a1c4-3052-ef11-a316-000d3a4f77c1"
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
_ESCAPE: Final = re.compile(r"\\(.)")
_CONTROL: Final = {"n": r"\u000a", "r": r"\u000d", "t": r"\u0009", "b": r"\u0008", "f": r"\u000c"}

Parameters = Mapping[str, Any]  # wire values by parameter name
NameOf = Callable[[str, str], str | None]  # table and id -> primary name, for lookups in images


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who did it, where, when, and which step posts it. `at` is in seconds since the epoch."""

    at: float
    user_id: str = constants.SYNC_USER_ID
    initiating_user_id: str = ""  # empty: the same as user_id
    user_agent: str = ""
    step_id: str = _DEFAULT_STEP
    step_name: str = ""
    asynchronous: bool = True
    depth: int = 1
    tag: str | None = None
    organization_id: str = constants.ORGANIZATION_ID
    organization_name: str = constants.ORGANIZATION_UNIQUE_NAME
    organization_host: str = constants.ORGANIZATION_HOST
    business_unit_id: str = constants.BUSINESS_UNIT_ID
    correlation_id: str = ""  # empty: a new one
    request_id: str = ""
    operation_id: str = ""


@dataclass(frozen=True)
class Notification:
    """One posted change: the body, and what accompanies it on the way."""

    context: dict[str, Any]
    organization_host: str = field(default=constants.ORGANIZATION_HOST)
    size_exceeded: bool = False

    def json(self) -> str:
        """The body as Dataverse writes it: `__type` first, no blanks, slashes and control characters escaped."""
        text = _ENCODER.encode(self.context)
        if "\\" in text:
            text = _ESCAPE.sub(lambda match: _CONTROL.get(match[1], match[0]), text)
        return text.replace("/", "\\/")

    def properties(self) -> dict[str, str]:
        """The application properties of the Service Bus message."""
        context = self.context
        found = {
            f"{CLAIMS}Organization": self.organization_host,
            f"{CLAIMS}User": context["UserId"],
            f"{CLAIMS}InitiatingUser": context["InitiatingUserId"],
            f"{CLAIMS}EntityLogicalName": context["PrimaryEntityName"],
            f"{CLAIMS}RequestName": context["MessageName"],
        }
        if "InitiatingUserAgent" in context:
            found[f"{CLAIMS}InitiatingUserAgent"] = context["InitiatingUserAgent"]
        if self.size_exceeded:
            found[SIZE_EXCEEDED] = "true"
        return found

    def headers(self) -> dict[str, str]:
        """The HTTP headers of the webhook request."""
        found = {
            "Content-Type": "application/json",
            "x-ms-dynamics-organization": self.organization_host,
            "x-ms-dynamics-entity-name": self.context["PrimaryEntityName"],
            "x-ms-dynamics-request-name": self.context["MessageName"],
            "x-ms-correlation-request-id": self.context["CorrelationId"],
        }
        if self.size_exceeded:
            found["x-ms-dynamics-msg-size-exceeded"] = "true"
        return found

    def stripped(self, form: str = "empty") -> "Notification":
        """The notification without its four large parts, which it is too long for.

        How they are missing is not documented: `form` is `empty` ([] and null), `absent` or `null`.
        """
        context = dict(self.context)
        for key in _STRIPPED_KEYS:
            if form == "absent":
                del context[key]
            else:
                context[key] = None if form == "null" or key == "ParentContext" else []
        return replace(self, context=context, size_exceeded=True)

    def fitted(self, limit: int = QUEUE_LIMIT) -> "Notification":
        """Itself, or the stripped form when the body is longer than `limit` bytes."""
        return self.stripped() if len(self.json().encode()) > limit else self

    def in_2017_shape(self, *, local: bool = False) -> "Notification":
        """The older body: without the newer keys, without a request id, with a local time offset.

        `local`: the milliseconds are those of the local time, which some writers of such dates give.
        """
        context = {key: value for key, value in self.context.items() if key not in _KEYS_SINCE_2022}
        context["RequestId"] = None
        milliseconds = int(re.sub(r"\D", "", context["OperationCreatedOn"].partition("+")[0]))
        shift = _SEVEN_HOURS_MS if local else 0
        context["OperationCreatedOn"] = f"/Date({milliseconds - shift}-0700)/"
        return replace(self, context=context)


def notification(
    message: str,
    table: str,
    row: Mapping[str, Any],
    origin: Origin,
    *,
    columns: Collection[str] | None = None,
    parameters: Parameters | None = None,
    output: Parameters | None = None,
    pre_images: Mapping[str, dict[str, Any]] | None = None,
    post_images: Mapping[str, dict[str, Any]] | None = None,
    parent: bool = False,
) -> Notification:
    """The notification of one message about one row.

    Create sends the whole row, Update the `columns` of the request with what the platform adds, Delete a reference.
    Every other message needs its `parameters` (see `assign`, `merge` … below). Images are made with `image`.
    `parent` adds a ParentContext, the view of the same operation before the platform's own columns.
    """
    definition = TABLES.get(table)
    row_id = row.get(definition.primary_id, EMPTY_GUID) if definition else EMPTY_GUID
    inner: Parameters = {}
    if parameters is None and definition is not None:
        parameters = _target(message, definition, row, columns, origin)
        if parent:
            inner = {"Target": entity(definition, row, _sent(definition, row, columns))}
    if output is None:
        output = {"id": row_id} if message == "Create" else {}
    before, after = dict(pre_images or {}), dict(post_images or {})
    if definition is not None and origin.asynchronous and message in _NAMED_IMAGE_MESSAGES | _NAMED_BEFORE:
        names = (definition.primary_name, definition.primary_id)
        images = before if message in _NAMED_BEFORE else after
        images[PRIMARY_NAME_IMAGE] = _plain_entity(definition, row, names)
    context = _context(message, table, row_id, origin, parameters or {})
    context["OutputParameters"] = _pairs(output)
    context["PostEntityImages"] = _pairs(after)
    context["PreEntityImages"] = _pairs(before)
    if parent:
        context["ParentContext"] = _parent(context, inner or parameters or {})
    return Notification(context, origin.organization_host)


def new_id() -> str:
    """A random GUID. Cheaper than uuid4, which asks the operating system: a benchmark needs three per notification."""
    text = f"{random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _target(
    message: str, table: Table, row: Mapping[str, Any], columns: Collection[str] | None, origin: Origin
) -> Parameters:
    if message == "Create":
        return {"Target": entity(table, row, None, formatted=True)}
    if message == "Delete":
        return {"Target": reference(table.name, row[table.primary_id])}
    target = entity(table, row, columns or ())
    changes = target["Attributes"]
    if "modifiedon" in table.columns:
        modified = row.get("modifiedon")
        changes.append({"key": "modifiedon", "value": wire_date(modified) if modified else f"/Date({_ms(origin)})/"})
        changes.append({"key": "modifiedby", "value": reference("systemuser", origin.user_id)})
        changes.append({"key": "modifiedonbehalfby", "value": None})
    if row.get("versionnumber") is not None:
        target["RowVersion"] = str(row["versionnumber"])
    return {"Target": target}


def _sent(table: Table, row: Mapping[str, Any], columns: Collection[str] | None) -> list[str]:
    names = columns if columns is not None else [column.name for column in table.columns.values() if column.key in row]
    return [name for name in names if table.columns[name].create or table.columns[name].update]


def _ms(origin: Origin) -> int:
    return int(origin.at) * 1000


def _pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _context(message: str, table: str, row_id: str, origin: Origin, parameters: Parameters) -> dict[str, Any]:
    request_id = origin.request_id or new_id()
    shared: dict[str, Any] = {"IsAutoTransact": True, "AcceptLang": ""}
    if message == "Create":
        shared["DefaultsAddedFlag"] = True
        changed = typed("KeyValuePairOfstringstring:#System.Collections.Generic", key=table, value=message)
        shared["ChangedEntityTypes"] = [changed]
    if origin.tag is not None:
        shared["tag"] = origin.tag
    return {
        "BusinessUnitId": origin.business_unit_id,
        "CorrelationId": origin.correlation_id or new_id(),
        "Depth": origin.depth,
        "InitiatingUserAgent": origin.user_agent,
        "InitiatingUserAzureActiveDirectoryObjectId": EMPTY_GUID,
        "InitiatingUserId": origin.initiating_user_id or origin.user_id,
        "InputParameters": _pairs(parameters),
        "IsExecutingOffline": False,
        "IsInTransaction": not origin.asynchronous,
        "IsOfflinePlayback": False,
        "IsolationMode": 1,
        "MessageName": message,
        "Mode": 1 if origin.asynchronous else 0,
        "OperationCreatedOn": f"/Date({_ms(origin)}{'+0000' if origin.asynchronous else ''})/",
        # Dataverse: the system job's id, which a synchronous step does not have.
        "OperationId": (origin.operation_id or new_id()) if origin.asynchronous else request_id,
        "OrganizationId": origin.organization_id,
        "OrganizationName": origin.organization_name,
        "OutputParameters": [],
        "OwningExtension": {
            "Id": origin.step_id,
            "KeyAttributes": [],
            "LogicalName": "sdkmessageprocessingstep",
            "Name": None if origin.asynchronous else origin.step_name,
            "RowVersion": None,
        },
        "ParentContext": None,
        "PostEntityImages": [],
        "PreEntityImages": [],
        "PrimaryEntityId": row_id,
        "PrimaryEntityName": table,
        "RequestId": request_id,
        "SecondaryEntityName": "none",
        "SharedVariables": _pairs(shared),
        "Stage": 40,
        "UserAzureActiveDirectoryObjectId": EMPTY_GUID,
        "UserId": origin.user_id,
    }


def _parent(context: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:
    own = {
        "InputParameters": [*_pairs(parameters), {"key": "SuppressDuplicateDetection", "value": False}],
        "PostEntityImages": [],
        "PreEntityImages": [],
        "Stage": 30,
    }
    return {**context, **own}


def _plain_entity(table: Table, row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    found = entity(table, row, names, with_id=False)
    del found["__type"]
    return found


def image(
    table: str, row: Mapping[str, Any], columns: Iterable[str] | None = None, name_of: NameOf | None = None
) -> dict[str, Any]:
    """A pre- or post-image: no `__type`, columns without a value left out. None for `columns` means all of them."""
    definition = TABLES[table]
    names = list(definition.columns if columns is None else columns)
    present = [name for name in names if row.get(definition.columns[name].key) is not None]
    found = entity(definition, row, present, formatted=True, with_id=definition.primary_id in names, name_of=name_of)
    del found["__type"]
    return found


def assign(table: str, row_id: str, assignee: tuple[str, str]) -> Parameters:
    """Parameters of Assign; `assignee` is (systemuser or team, id)."""
    return {"Target": reference(table, row_id), "Assignee": reference(*assignee)}


def set_state(table: str, row_id: str, state: int, status: int) -> Parameters:
    """Parameters of SetState."""
    return {
        "EntityMoniker": reference(table, row_id),
        "State": typed("OptionSetValue", Value=state),
        "Status": typed("OptionSetValue", Value=status),
    }


def merge(table: str, target_id: str, subordinate_id: str, content: Mapping[str, Any]) -> Parameters:
    """Parameters of Merge; `content` holds the values, in Web API form, that the surviving row takes over."""
    update = entity(TABLES[table], content, None, with_id=False)
    return {
        "Target": reference(table, target_id),
        "SubordinateId": subordinate_id,
        "UpdateContent": {**update, "Id": EMPTY_GUID},
        "PerformParentingChecks": False,
    }


def qualify_lead(
    lead_id: str, created: Iterable[tuple[str, str]], *, customer: tuple[str, str] | None = None, status: int = 3
) -> tuple[Parameters, Parameters]:
    """Input and output parameters of QualifyLead; `created` are (table, id) of the rows it made."""
    made = list(created)
    tables = {table for table, _ in made}
    return {
        "LeadId": reference("lead", lead_id),
        "CreateAccount": "account" in tables,
        "CreateContact": "contact" in tables,
        "CreateOpportunity": "opportunity" in tables,
        "OpportunityCurrencyId": reference("transactioncurrency", constants.CURRENCY_ID),
        "OpportunityCustomerId": reference(*customer) if customer else None,
        "SourceCampaignId": None,
        "Status": typed("OptionSetValue", Value=status),
    }, {"CreatedEntities": [reference(*row) for row in made]}


def multiple(
    table: str, rows: Iterable[Mapping[str, Any]], columns: Collection[str] | None = None
) -> tuple[Parameters, Parameters]:
    """Input and output parameters of CreateMultiple and UpdateMultiple (its output stays empty on an update)."""
    definition = TABLES[table]
    found = list(rows)
    ids = {"Ids": [row[definition.primary_id] for row in found]} if columns is None else {}
    return {"Targets": entity_collection(definition, found, columns)}, ids


def association(target: tuple[str, str], relationship: str, related: Iterable[tuple[str, str]]) -> Parameters:
    """Parameters of Associate and Disassociate, whose primary table is `none`."""
    return {
        "Target": reference(*target),
        "Relationship": typed("Relationship", PrimaryEntityRole=0, SchemaName=relationship),
        "RelatedEntities": [reference(*row) for row in related],
    }
