"""What must be registered in Dataverse so that changes reach the app, and what is registered there. Pure.

One service endpoint posts to the intake queue (or to the webhook), and per mapped table a step fires for Create,
Update and Delete; for teams and roles one for the update of what decides about other rows. What the rows look like:
dataverse.md 3; what a step must ask for: dataverse.md 1.6, 1.7, 4.8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from ...config.normalisers import connection_parts, endpoint_host
from ...config.settings import Settings
from ...config.sync_toml import SyncConfig, logical
from ...dataverse.metadata import Column
from ...model.entities import DECIDING_COLUMNS, TABLES
from ...model.errors import ConfigurationError
from ...sync.dependants import deciding_tables
from ...write_back.insight_fields import find_columns

#: Name of the endpoint unless the operator gives another one.
NAME = "msisync"
MESSAGES = ("Create", "Update", "Delete")
QUEUE, WEBHOOK = 6, 8  # contracts: Queue (Persistent), Webhook
ENABLED = {"statecode": 0, "statuscode": 1}
#: The columns of an endpoint that are compared; its secret is write-only.
ENDPOINT_COLUMNS = (
    *("contract", "authtype", "messageformat", "messagecharset", "connectionmode", "namespaceformat"),
    *("namespaceaddress", "solutionnamespace", "path", "saskeyname", "userclaim", "url"),
)
#: The column that holds an endpoint's secret, and the one that tells whether it is set.
SECRETS = {QUEUE: ("saskey", "issaskeyset"), WEBHOOK: ("authvalue", "isauthvalueset")}
STEP_COLUMNS = ("stage", "mode", "supporteddeployment", "asyncautodelete", "filteringattributes", "statecode")
IMAGE_COLUMNS = ("imagetype", "messagepropertyname", "entityalias", "attributes")

#: The policy that every namespace has, and that may do everything.
_ROOT_POLICY = "RootManageSharedAccessKey"
_HOW_TO_SEND_ONLY = (
    "make a policy that may only send: Azure portal, the Service Bus namespace, Queues, {queue}, Shared access "
    "policies, Add, tick Send alone; set CHANGES_SEND_CONNECTION to its primary connection string"
)
#: Only a pre-image tells what a row connected before it was deleted or moved to another opportunity (dataverse.md 7.6).
_PRE_IMAGES = {
    "connection": ("record1id", "record2id", "record1roleid", "record2roleid"),
    "customeropportunityrole": ("customerid", "opportunityid", "opportunityroleid"),
}
#: Changes of owner, state and status reason arrive as updates of these columns (dataverse.md 1.6).
_ALWAYS = ("ownerid", "statecode", "statuscode")
_STEP = {"stage": 40, "mode": 1, "supporteddeployment": 0, "asyncautodelete": True}
_PRE_IMAGE = {"imagetype": 0, "messagepropertyname": "Target", "entityalias": "pre"}

Values = Mapping[str, Any]
StepKey = tuple[str, str]  # table, message


@dataclass(frozen=True, slots=True)
class Image:
    """A registered image. `values` has IMAGE_COLUMNS."""

    id: str
    values: Values


@dataclass(frozen=True, slots=True)
class Step:
    """A registered step. `table` is empty when it fires for every table; `values` has STEP_COLUMNS."""

    id: str
    name: str
    table: str
    message: str
    values: Values
    images: tuple[Image, ...] = ()

    @property
    def enabled(self) -> bool:
        """Whether it fires."""
        return self.values.get("statecode") == ENABLED["statecode"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registered endpoint with its steps. `values` has ENDPOINT_COLUMNS."""

    id: str
    name: str
    values: Values
    has_secret: bool
    steps: tuple[Step, ...] = ()

    @property
    def place(self) -> str:
        """Where it posts to."""
        return place(self.values)


@dataclass(frozen=True, slots=True)
class Target:
    """Where changes are to be posted. `values` are the endpoint's columns; what is not named does not matter."""

    values: Values
    secret: SecretStr = field(default_factory=lambda: SecretStr(""))

    @property
    def contract(self) -> int:
        """QUEUE or WEBHOOK."""
        return int(self.values["contract"])

    @property
    def place(self) -> str:
        """The address, in the form that endpoints are compared by."""
        return place(self.values)


@dataclass(frozen=True, slots=True)
class WantedStep:
    """How a step must be; `image` has the values of its image, None where it needs none."""

    values: Values
    image: Values | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that must be registered.

    `places` are the addresses whose posts reach this app. Of `left_out`, (table, column), Dynamics has no column that
    sync.toml names; `absent` tables it does not have at all.
    """

    name: str
    target: Target
    steps: Mapping[StepKey, WantedStep]
    places: frozenset[str]
    left_out: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = field(default=())


def queue_target(connection: SecretStr, queue: str) -> Target:
    """A queue, from the connection string of a policy that may only send. Raises ConfigurationError."""
    how = _HOW_TO_SEND_ONLY.format(queue=queue)
    if not connection.get_secret_value():
        raise ConfigurationError("NoSendConnection", f"CHANGES_SEND_CONNECTION is not set; {how}")
    given, host = connection_parts(connection), endpoint_host(connection)  # as config/settings.py has checked it
    key_name, key = given["sharedaccesskeyname"], given["sharedaccesskey"]
    if key_name.lower() == _ROOT_POLICY.lower():
        why = f"{_ROOT_POLICY} may read and manage every queue; Dynamics must not have more than it needs"
        raise ConfigurationError("TooMuchPower", f"CHANGES_SEND_CONNECTION: {why}; {how}")
    path = given.get("entitypath", queue)
    if path.lower() != queue.lower():
        text = f"CHANGES_SEND_CONNECTION is for the queue {path}, CHANGES_QUEUE is {queue}; make them the same"
        raise ConfigurationError("WrongQueue", text)
    return Target({**queue_values(host, queue), "saskeyname": key_name}, SecretStr(key))


def places_of(settings: Settings) -> frozenset[str]:
    """The addresses whose posts reach this app, as far as the settings tell."""
    hosts = {settings.bus.namespace} | {
        endpoint_host(connection) for connection in (settings.bus.connection, settings.registration.send_connection)
    }
    queues = [place(queue_values(host, settings.queues.changes)) for host in hosts if host]
    webhook = place({"contract": WEBHOOK, "url": settings.registration.webhook_url})
    return frozenset(filter(None, [*queues, webhook]))


def queue_values(host: str, queue: str) -> Values:
    """The columns of an endpoint that posts to a queue, but for the policy's name and its key."""
    return {
        "contract": QUEUE,
        "authtype": 2,  # SASKey
        "messageformat": 2,  # JSON; the default of Microsoft's tool is binary XML
        "messagecharset": 1,  # UTF-8
        "connectionmode": 1,
        "namespaceformat": 2,  # an address
        "namespaceaddress": f"sb://{host}/",
        "solutionnamespace": host.partition(".")[0],
        "path": queue,
        "userclaim": 2,
    }


def webhook_target(url: str, key: SecretStr) -> Target:
    """The app's own HTTP trigger. Raises ConfigurationError."""
    if not url or not key.get_secret_value():
        raise ConfigurationError(
            "NoWebhook",
            "WEBHOOK_URL and WEBHOOK_KEY are needed: Azure portal, the Function App, receive_webhook, Function Keys, "
            "add a key for Dynamics; the URL is https://<app>.azurewebsites.net/api/receive_webhook",
        )
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username:
        text = "WEBHOOK_URL must end before the ? (everybody in Dynamics can read it); the key goes into WEBHOOK_KEY"
        raise ConfigurationError("KeyInUrl", text)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        text = "WEBHOOK_URL must begin with https://, or the key and the changes could be read on the way"
        raise ConfigurationError("NotEncrypted", text)
    return Target({"contract": WEBHOOK, "authtype": 4, "url": url}, key)


def wanted(
    config: SyncConfig,
    columns: Mapping[str, Collection[Column]],
    target: Target,
    *,
    name: str = NAME,
    places: Iterable[str] = (),
) -> Wanted:
    """What must be registered for the mapped tables. `columns` are those of each table that Dynamics has.

    A column that Dynamics does not have would have the step refused: it is left out, and said.
    """
    steps: dict[StepKey, WantedStep] = {}
    left_out: list[tuple[str, str]] = []
    present = [table for table in config.tables if table in columns]
    for table in present:
        by_name = {column.name: column for column in columns[table]}
        there = {name for name, column in by_name.items() if column.readable}
        # A step that watches the columns that the write-back fills would post our own writes.
        ours = {column.name for names in config.write_back.values() for column in find_columns(names, by_name)[1]}
        asked = config.columns_of(table)
        left_out += [(table, column) for column in sorted(asked - there - {config.filter_column})]
        rules = {logical(column) for column in TABLES[table][1].rule_columns}
        watched = asked.union(rules, _ALWAYS) & there - ours
        pre_image = [column for column in _PRE_IMAGES.get(table, ()) if column in there]
        image = {**_PRE_IMAGE, "attributes": ",".join(pre_image)} if pre_image else None
        steps[table, "Create"] = WantedStep(_STEP)
        steps[table, "Update"] = WantedStep({**_STEP, "filteringattributes": ",".join(sorted(watched))}, image)
        steps[table, "Delete"] = WantedStep(_STEP, image)
    for table in deciding_tables(config):
        there = {column.name for column in columns.get(table, ())}
        if watched := DECIDING_COLUMNS[table] & there:
            steps[table, "Update"] = WantedStep({**_STEP, "filteringattributes": ",".join(sorted(watched))})
    absent = tuple(table for table in config.tables if table not in columns)
    return Wanted(name, target, steps, frozenset({target.place, *places}), tuple(left_out), absent)


def place(values: Values) -> str:
    """Where an endpoint with these columns posts to, in a form that can be compared; empty when nobody can tell."""
    if values.get("contract") == WEBHOOK:
        return str(values.get("url") or "").rstrip("/").lower()
    host = urlsplit(str(values.get("namespaceaddress") or "")).netloc
    if not host and values.get("solutionnamespace"):
        host = f"{values['solutionnamespace']}.servicebus.windows.net"
    path = str(values.get("path") or "")
    return f"sb://{host}/{path}".lower() if host and path else ""
