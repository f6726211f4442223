"""Reads the notification that Dataverse posts for a change: which rows changed, and how.

A notification is a hint, never data: the rows are read again before anything is sent. So this parser looks at as
little as it can: the routing triple (MessageName, PrimaryEntityName, PrimaryEntityId), the references of those messages
that name their rows in parameters, and a few facts for checks.

Dataverse (dataverse.md 1): the body is a RemoteExecutionContext as JSON, the same in a Service Bus message and in a
webhook. When it is too large, the platform removes InputParameters (and more) but leaves the triple.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ..model.errors import NotificationError
from ..model.ids_and_times import guid
from .dotnet_json import keys, lookup, pairs

Operation = Literal["upsert", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One row that changed: the table's logical name in lower case, the row's id in lower case without braces."""

    table: str
    id: str
    operation: Operation


@dataclass(frozen=True, slots=True)
class Notification:
    """The content of one notification.

    `changes` holds every row it names, once and in order; it is never empty. `columns` are those that an Update or an
    UpdateMultiple names, in lower case; None means unknown: any may have changed. `before`: the lookups of the row's
    pre-image, as (table, id) by column, which tell what an update or a deletion took away. Absent facts are None, an
    absent correlation id is empty.
    """

    message: str
    changes: tuple[Change, ...]
    organization_id: str | None
    organization_name: str | None
    correlation_id: str
    columns: frozenset[str] | None
    user_id: str | None
    initiating_user_id: str | None
    tag: str | None
    before: Mapping[str, tuple[str, str]] = field(default_factory=dict)


_IN: Final = "InputParameters"
_OUT: Final = "OutputParameters"
_Row = tuple[str, str]  # table, id

# Dataverse: the parameters that name rows, per message (dataverse.md 1.5). The messages listed may name several rows:
# all of them count, the triple's included. The new rows of CreateMultiple have their ids in Ids, seldom in Targets.
_MANY_ROWS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "merge": ((_IN, "Target"), (_IN, "SubordinateId")),
    "qualifylead": ((_IN, "LeadId"), (_OUT, "CreatedEntities")),
    "associate": ((_IN, "Target"), (_IN, "RelatedEntities")),
    "disassociate": ((_IN, "Target"), (_IN, "RelatedEntities")),
    "createmultiple": ((_OUT, "Ids"),),
    "updatemultiple": ((_IN, "Targets"),),
    "upsertmultiple": ((_IN, "Targets"),),
    "deletemultiple": ((_IN, "Targets"),),
}
# Every other message is about one row, which its parameters name again.
_ONE_ROW: Final = ((_IN, "Target"), (_IN, "EntityMoniker"))
_CLOSING: Final = frozenset({"winopportunity", "loseopportunity"})
# Without parameters, these have been stripped; other messages may have none.
_WITH_PARAMETERS: Final = (
    frozenset({"create", "update", "delete", "assign", "setstate", "setstatedynamicentity", *_MANY_ROWS}) | _CLOSING
)

_LOGICAL_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,127}")
_MESSAGE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

# Application property of a Service Bus message, header of a webhook.
_SIZE_EXCEEDED: Final = ("messagemaxsizeexceeded", "x-ms-dynamics-msg-size-exceeded")

_USE_JSON: Final = "set the service endpoint's message format to JSON"
_OTHER_STEP: Final = "register the step for Create, Update and Delete of the table instead of this message"
_NOT_DATAVERSE: Final = (
    "this is no notification of a Dataverse step: find out who else sends to this queue or webhook, and stop it"
)


def parse(
    body: bytes, *, content_type: str | None = None, properties: Mapping[str, object] | None = None
) -> Notification:
    """Read one notification, from a queue or a webhook.

    `properties` are the message's application properties or the request's headers; their case does not matter. Only
    the mark of a stripped body is taken from them. Raises NotificationError, whatever the bytes are, when the changed
    rows cannot be determined: WrongFormat (binary or XML), NotJson, NotAnObject, NoRoutingTriple, BadGuid, NoRow.
    Its text quotes nothing of the body, which contains personal data.
    """
    context = _decoded(body, content_type)
    message = context.get("MessageName")
    if not isinstance(message, str) or not _MESSAGE_NAME.fullmatch(message):
        raise NotificationError("NoRoutingTriple", f"MessageName is missing or malformed; {_NOT_DATAVERSE}")
    kind = message.lower()
    operation: Operation = "delete" if kind in {"delete", "deletemultiple"} else "upsert"
    stripped = _marked_stripped(properties) or (kind in _WITH_PARAMETERS and not context.get(_IN))
    rows = dict.fromkeys(_rows(kind, context))
    return Notification(
        message=message,
        changes=tuple([Change(table, row, operation) for table, row in rows]),
        # A malformed organisation must not count as absent: it decides whether the change is ours.
        organization_id=_id(context.get("OrganizationId"), "OrganizationId"),
        organization_name=_text(context.get("OrganizationName")),
        correlation_id=_fact_id(context, "CorrelationId") or "",
        columns=None if stripped else _columns(kind, context),
        user_id=_fact_id(context, "UserId"),
        initiating_user_id=_fact_id(context, "InitiatingUserId"),
        tag=_tag(context),
        before=_before(context),
    )


def _decoded(body: bytes, content_type: str | None) -> dict[str, Any]:
    media_type = content_type.partition(";")[0].strip().lower() if content_type else ""
    if media_type == "application/msbin1" or media_type.endswith("/xml"):
        raise NotificationError("WrongFormat", f"the content type is not JSON; {_USE_JSON}")
    try:
        # json.loads detects UTF-8, UTF-16 and UTF-32, with or without BOM.
        context = json.loads(body)
    except RecursionError:
        raise NotificationError("NotJson", f"the body is nested too deeply; {_NOT_DATAVERSE}") from None
    except ValueError as error:
        # .NET's binary XML begins with an element record, '@'; zeros and the BOMs are skipped for XML in UTF-16.
        if body[:16].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith((b"@", b"<")):
            raise NotificationError("WrongFormat", f"the body is XML, binary or text; {_USE_JSON}") from None
        where = f" (broken at character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise NotificationError(
            "NotJson", f"the body of {len(body)} bytes is not JSON{where}; {_USE_JSON}, or else {_NOT_DATAVERSE}"
        ) from None
    if not isinstance(context, dict):
        raise NotificationError("NotAnObject", f"the body is JSON but not an object; {_NOT_DATAVERSE}")
    return context


def _rows(kind: str, context: dict[str, Any]) -> list[_Row]:
    """Every row that the notification names, at least one."""
    table = _table(context.get("PrimaryEntityName"), "PrimaryEntityName")
    row = _id(context.get("PrimaryEntityId"), "PrimaryEntityId")
    primary = [(table, row)] if table and row else []
    if kind == "createmultiple" and not (table and lookup(context.get(_OUT), "Ids")):
        rows = primary + _named(((_IN, "Targets"),), table, context)
    elif kind in _MANY_ROWS:
        rows = primary + _named(_MANY_ROWS[kind], table, context)
    elif kind in _CLOSING:
        # The primary row may be the closing activity; the opportunity is the row that this message is about.
        rows = _closed_opportunity(context) or primary
    else:
        rows = primary or _named(_ONE_ROW, table, context)[:1]
    if not rows:
        raise _no_row(context)
    return rows


def _named(places: tuple[tuple[str, str], ...], table: str | None, context: dict[str, Any]) -> list[_Row]:
    """The rows that parameters name, in order. A bare id is of `table`, else of the table named before it."""
    rows: list[_Row] = []
    for section, parameter in places:
        value = lookup(context.get(section), parameter)
        if value is not None:
            rows.extend(_referenced(value, parameter, table or (rows[0][0] if rows else None)))
    return rows


def _referenced(value: object, parameter: str, table: str | None) -> Iterator[_Row]:
    """The rows of one parameter: an Entity, an EntityReference or an id, or a collection of these."""
    # Distinguished by their keys: Dataverse leaves __type out of the entities in a collection.
    common = None
    if isinstance(value, dict) and "Entities" in value:
        common = _table(value.get("EntityName"), parameter)
        value = value["Entities"] or []
    for entry in value if isinstance(value, list) else (value,):
        named, row = table, entry
        if isinstance(entry, dict) and "__value" not in entry:
            named, row = _table(entry.get("LogicalName"), parameter) or common, entry.get("Id")
        row = _id(row, parameter)
        if not named or not row:
            raise NotificationError(
                "NoRow", f"{parameter} names a row without its {'id' if named else 'table'}; {_OTHER_STEP}"
            )
        yield named, row


def _closed_opportunity(context: dict[str, Any]) -> list[_Row]:
    closing = lookup(context.get(_IN), "OpportunityClose")
    attributes = closing.get("Attributes") if isinstance(closing, dict) else None
    reference = lookup(attributes, "opportunityid")
    return [] if reference is None else list(_referenced(reference, "opportunityid", "opportunity"))[:1]


def _no_row(context: dict[str, Any]) -> NotificationError:
    missing = [name for name in ("PrimaryEntityName", "PrimaryEntityId") if not context.get(name)]
    if missing:
        return NotificationError("NoRoutingTriple", f"{' and '.join(missing)} missing; {_NOT_DATAVERSE}")
    return NotificationError(
        "NoRow",
        "PrimaryEntityName is none or PrimaryEntityId all zeros, and no parameter names a row (it may have been "
        f"removed for size); {_OTHER_STEP}",
    )


def _table(value: object, name: str) -> str | None:
    """A logical name in lower case; None when there is none, which Dataverse writes as "none"."""
    if value is None or value == "":
        return None
    table = value.lower() if isinstance(value, str) else ""
    if not _LOGICAL_NAME.fullmatch(table):
        raise NotificationError("NoRoutingTriple", f"{name} holds no logical name of a table; {_NOT_DATAVERSE}")
    return None if table == "none" else table


def _id(value: object, name: str) -> str | None:
    try:
        return guid(value)
    except ValueError:
        raise NotificationError("BadGuid", f"{name} holds something else than a GUID; {_NOT_DATAVERSE}") from None


def _fact_id(context: dict[str, Any], name: str) -> str | None:
    with suppress(ValueError):
        return guid(context.get(name))
    return None


def _text(value: object) -> str | None:
    # Printable also means free of lone surrogates, which JSON can hold but no log or queue can.
    return value if isinstance(value, str) and value.isprintable() and value else None


def _columns(kind: str, context: dict[str, Any]) -> frozenset[str] | None:
    """The columns that an update writes; of several rows, those of any."""
    if kind == "update":
        return _written(lookup(context.get(_IN), "Target"))
    if kind != "updatemultiple":
        return None
    targets = lookup(context.get(_IN), "Targets")
    rows = targets.get("Entities") if isinstance(targets, dict) else targets
    if not isinstance(rows, list) or not rows:
        return None
    written = [_written(row) for row in rows]
    return None if None in written else frozenset().union(*filter(None, written))


def _written(row: object) -> frozenset[str] | None:
    return keys(row.get("Attributes")) if isinstance(row, dict) else None


def _before(context: dict[str, Any]) -> dict[str, _Row]:
    """The lookups of the pre-images that steps have registered. An image is a hint: what is odd in it is left out.

    Dataverse leaves __type out of images, but not out of the values in them (dataverse.md 1.3).
    """
    found: dict[str, _Row] = {}
    for _, image in pairs(context.get("PreEntityImages")):
        for name, value in pairs(image.get("Attributes") if isinstance(image, dict) else None):
            if isinstance(value, dict) and "LogicalName" in value:
                try:
                    table, row = _table(value["LogicalName"], name), guid(value.get("Id"))
                except (NotificationError, ValueError):
                    continue
                if table and row:
                    found[name.lower()] = table, row
    return found


def _tag(context: dict[str, Any]) -> str | None:
    """The `tag` of the request that wrote the row (`?tag=`), by which an app recognises its own writes.

    Dataverse documents SharedVariables for it, not whether the context's own or its parent's. The parent counts only
    as an earlier stage of the same operation: what a plug-in does after a tagged write is not that write.
    """
    tag = _text(lookup(context.get("SharedVariables"), "tag"))
    parent, depth = context.get("ParentContext"), context.get("Depth")
    if tag is None and isinstance(parent, dict) and isinstance(depth, int) and parent.get("Depth") == depth:
        return _text(lookup(parent.get("SharedVariables"), "tag"))
    return tag


def _marked_stripped(properties: Mapping[str, object] | None) -> bool:
    """Whether the transport marks the body as cut for size, as a boolean or as text (Dataverse does not say which)."""
    for name, value in (properties or {}).items():
        if isinstance(name, str) and name.lower().endswith(_SIZE_EXCEEDED):
            return value.strip().lower() != "false" if isinstance(value, str) else bool(value)
    return False
