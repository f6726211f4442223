"""Rules of service endpoints, steps and images."""

import xml.etree.ElementTree as ET
from typing import Any, Final

from emulators.dataverse import errors
from emulators.dataverse.store import Row, Store

QUEUE, WEBHOOK = 6, 8
SAS_KEY, SAS_TOKEN, WEBHOOK_KEY, HTTP_HEADER, HTTP_QUERY_STRING = 2, 3, 4, 5, 6
POST_OPERATION = 40
PRE_IMAGE, POST_IMAGE = 0, 1
SYNCHRONOUS, ASYNCHRONOUS = 0, 1

# Dataverse: the parameter that an image of each message is taken from.
IMAGE_PROPERTIES: Final = {
    "Create": ("Target",),
    "Update": ("Target",),
    "Delete": ("Target",),
    "Assign": ("Target",),
    "Merge": ("Target", "SubordinateId"),
    "SetState": ("EntityMoniker",),
    "SetStateDynamicEntity": ("EntityMoniker",),
}
_SECRETS: Final = {"saskey": "issaskeyset", "sastoken": "issastokenset", "authvalue": "isauthvalueset"}


def check_service_endpoint(_store: Store, row: Row, _before: Row | None, values: Row) -> Row:
    """Refuse combinations that cannot post, and tell which secrets are set (they are never read back)."""
    webhook = row["contract"] == WEBHOOK
    allowed = (WEBHOOK_KEY, HTTP_HEADER, HTTP_QUERY_STRING) if webhook else (SAS_KEY, SAS_TOKEN)
    if row.get("authtype") not in allowed:
        raise errors.invalid_argument(
            f"Authentication type {row.get('authtype')} does not fit contract {row['contract']}."
        )
    needed: tuple[str, ...] = ("url", "authvalue")
    if not webhook:
        needed = ("solutionnamespace", "path", "connectionmode", "namespaceaddress")
        needed += ("saskeyname", "saskey") if row["authtype"] == SAS_KEY else ("sastoken",)
    for name in needed:
        if row.get(name) is None:
            raise errors.invalid_argument(f"Attribute '{name}' cannot be NULL.")
    if webhook and not str(row["url"]).startswith(("https://", "http://")):
        raise errors.invalid_argument(f"The endpoint URL '{row['url']}' is not valid.")
    if webhook and row["authtype"] != WEBHOOK_KEY:
        webhook_settings(row["authvalue"])
    if not webhook and not str(row["namespaceaddress"]).startswith("sb://"):
        raise errors.invalid_argument(f"The namespace address '{row['namespaceaddress']}' is not valid.")
    return {flag: values[secret] is not None for secret, flag in _SECRETS.items() if secret in values}


def webhook_settings(text: str) -> dict[str, str]:
    """The names and values of `<settings><setting name="n" value="v" /></settings>`. Raises ApiError."""
    try:
        settings = ET.fromstring(text)  # noqa: S314 - written by the developer who registers the endpoint
        return {item.attrib["name"]: item.attrib["value"] for item in settings.iter("setting")}
    except (ET.ParseError, KeyError):
        raise errors.invalid_argument("The authentication value is not a list of settings.") from None


def check_step(store: Store, row: Row, _before: Row | None, values: Row) -> Row:
    """Dataverse: asynchronous only after the operation, filtering attributes only for Update."""
    if row["mode"] == ASYNCHRONOUS and row["stage"] != POST_OPERATION:
        raise errors.invalid_argument("Asynchronous steps are supported only in the post-operation stage.")
    message_name = _message(store, row)
    filter_id = row.get("_sdkmessagefilterid_value")
    message_filter = store.get("sdkmessagefilter", filter_id) if filter_id else None
    if message_filter is not None and message_filter["_sdkmessageid_value"] != row["_sdkmessageid_value"]:
        raise errors.invalid_argument("The SDK message filter belongs to another SDK message.")
    attributes = row.get("filteringattributes")
    if attributes:
        if message_name != "Update":
            raise errors.invalid_argument(f"Filtering attributes are not supported for the message {message_name}.")
        if "filteringattributes" in values:
            _check_columns(store, attributes, message_filter["primaryobjecttypecode"] if message_filter else None)
    return {}


def check_image(store: Store, row: Row, _before: Row | None, values: Row) -> Row:
    """Dataverse: no pre-image for Create, no post-image for Delete, post-images only after the operation."""
    step = store.get("sdkmessageprocessingstep", row["_sdkmessageprocessingstepid_value"])
    if step is None:
        raise errors.not_found("sdkmessageprocessingstep", row["_sdkmessageprocessingstepid_value"])
    message = _message(store, step)
    if row["messagepropertyname"] not in IMAGE_PROPERTIES.get(message, ()):
        raise errors.invalid_argument(f"Message {message} has no image of the property '{row['messagepropertyname']}'.")
    kind = row["imagetype"]
    if message == "Create" and kind != POST_IMAGE:
        raise errors.invalid_argument("PreImage is not supported for the message Create.")
    if message == "Delete" and kind != PRE_IMAGE:
        raise errors.invalid_argument("PostImage is not supported for the message Delete.")
    if kind != PRE_IMAGE and step["stage"] != POST_OPERATION:
        raise errors.invalid_argument("PostImage is supported only in the post-operation stage.")
    message_filter = store.get("sdkmessagefilter", step.get("_sdkmessagefilterid_value") or "")
    if values.get("attributes"):
        _check_columns(store, row["attributes"], message_filter["primaryobjecttypecode"] if message_filter else None)
    return {}


def check_deletion(store: Store, table: str, row_id: str) -> None:
    """Raise ApiError when the row is still used: an endpoint by steps."""
    if table == "serviceendpoint" and any(name == "sdkmessageprocessingstep" for name, *_ in store.referrers(row_id)):
        message = "The object you tried to delete is associated with another object and cannot be deleted."
        raise errors.ApiError(400, "0x80040227", message)


def _message(store: Store, step: Row) -> str:
    message = store.get("sdkmessage", step["_sdkmessageid_value"])
    if message is None:
        raise errors.not_found("sdkmessage", step["_sdkmessageid_value"])
    name: Any = message["name"]
    return str(name)


def _check_columns(store: Store, names: str, table: str | None) -> None:
    known = store.tables[table].columns if table is not None else None
    for name in names.split(","):
        if name != name.strip() or (known is not None and name not in known):
            raise errors.invalid_argument(f"The attribute '{name}' does not exist on the entity '{table}'.")
