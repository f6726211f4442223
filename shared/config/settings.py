"""App settings: read from the environment, validated at once, every problem listed. Secrets never show in a repr."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..model.entities import ENTITIES
from ..model.errors import ConfigurationError
from . import normalisers
from .validation import problems


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True)


#: What each way of signing in needs beside DATAVERSE_URL.
SIGN_IN_NEEDS: dict[str, frozenset[str]] = {
    "password": frozenset({"client_id", "client_secret", "username", "password"}),
    "client_secret": frozenset({"client_id", "client_secret"}),
    "certificate": frozenset({"client_id", "client_certificate"}),
    "managed_identity": frozenset(),
}


class DataverseSettings(_Settings):
    """Where Dynamics is and who signs in."""

    model_config = ConfigDict(validate_default=True)  # what is needed depends on DATAVERSE_AUTH

    url: Annotated[str, BeforeValidator(normalisers.organization_root)] = Field(alias="DATAVERSE_URL")
    auth: Literal["password", "client_secret", "certificate", "managed_identity"] = Field(
        "password", alias="DATAVERSE_AUTH"
    )
    tenant_id: Annotated[str, AfterValidator(normalisers.tenant)] = Field("", alias="DATAVERSE_TENANT_ID")
    authority: Annotated[str, AfterValidator(normalisers.authority)] = Field("", alias="DATAVERSE_AUTHORITY")
    client_id: str = Field("", alias="DATAVERSE_CLIENT_ID")
    client_secret: SecretStr = Field(SecretStr(""), alias="DATAVERSE_CLIENT_SECRET")
    client_certificate: SecretStr = Field(SecretStr(""), alias="DATAVERSE_CLIENT_CERTIFICATE")
    client_certificate_password: SecretStr = Field(SecretStr(""), alias="DATAVERSE_CLIENT_CERTIFICATE_PASSWORD")
    username: str = Field("", alias="DATAVERSE_USERNAME")
    password: SecretStr = Field(SecretStr(""), alias="DATAVERSE_PASSWORD")
    organization_id: Annotated[str, AfterValidator(normalisers.identifier)] = Field(
        "", alias="DATAVERSE_ORGANIZATION_ID"
    )

    @field_validator("authority")
    @classmethod
    def _vouches_for_a_foreign_host(cls, given: str, info: ValidationInfo) -> str:
        host = normalisers.host_of(info.data.get("url", ""))
        if host and not host.endswith(normalisers.DYNAMICS_SUFFIXES) and not given:
            raise ValueError(
                f"DATAVERSE_URL: {host} is no Dynamics host; if it is right, set DATAVERSE_AUTHORITY as well"
            )
        return given

    @field_validator("client_id", "client_secret", "client_certificate", "username", "password")
    @classmethod
    def _needed_for_sign_in(cls, given: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        """Checked field by field, so that each is listed even when others are wrong as well."""
        auth = str(info.data.get("auth", ""))  # empty: DATAVERSE_AUTH itself is wrong
        name = str(info.field_name)
        if name not in SIGN_IN_NEEDS.get(auth, ()):
            return given
        text = given.get_secret_value() if isinstance(given, SecretStr) else given
        if not text:
            raise ValueError(f"DATAVERSE_{name.upper()} is needed for DATAVERSE_AUTH={auth}")
        if name != "client_certificate":
            normalisers.no_blanks(text)
        if name == "username" and "\\" in text:
            raise ValueError("DOMAIN\\user cannot sign in to Entra; use the UPN, user@domain")
        if name == "username" and not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
            raise ValueError("must be the UPN, user@domain")
        return given


def _check_distinct(names: Mapping[str, str], what: str) -> None:
    """Azure's names are the same in any case. Raises ValueError that names the settings."""
    first: dict[str, str] = {}
    for setting, name in names.items():
        other = first.setdefault(name.lower(), setting)
        if other != setting:
            raise ValueError(f"{setting} and {other} name the same {what}; each needs one of its own")


class MarketoSettings(_Settings):
    """Where Marketo is, who signs in, and our share of its limits."""

    url: Annotated[str, BeforeValidator(normalisers.root)] = Field(alias="MARKETO_URL")
    client_id: Annotated[str, AfterValidator(normalisers.no_blanks)] = Field(alias="MARKETO_CLIENT_ID", min_length=1)
    client_secret: Annotated[SecretStr, AfterValidator(normalisers.no_blanks)] = Field(
        alias="MARKETO_CLIENT_SECRET", min_length=1
    )
    calls_per_20_seconds: int = Field(50, alias="MARKETO_CALLS_PER_20_SECONDS", ge=1, le=100)
    concurrency: int = Field(5, alias="MARKETO_CONCURRENCY", ge=1, le=10)
    longest_call: float = Field(90.0, alias="MARKETO_LONGEST_CALL_SECONDS", ge=1, le=180)
    daily_calls: int = Field(50_000, alias="MARKETO_DAILY_CALLS", ge=1)
    daily_share: float = Field(0.6, alias="MARKETO_DAILY_SHARE", gt=0, le=1)
    run_share: float = Field(0.4, alias="RUN_DAILY_SHARE", gt=0, le=1)
    trickle_share: float = Field(0.185, alias="TRICKLE_SHARE", gt=0, le=1)
    trickle_window: float = Field(60.0, alias="TRICKLE_SECONDS", ge=0, le=120)

    @property
    def allowed(self) -> int:
        """Calls that this app may make on one of Marketo's days."""
        return int(self.daily_calls * self.daily_share)


class QueueSettings(_Settings):
    """Names of the queues: the same settings that the triggers of function_app.py name."""

    changes: str = Field(alias="CHANGES_QUEUE", min_length=1)
    sales_person: str = Field(alias="SALES_PERSON_QUEUE", min_length=1)
    company: str = Field(alias="COMPANY_QUEUE", min_length=1)
    person: str = Field(alias="PERSON_QUEUE", min_length=1)
    opportunity: str = Field(alias="OPPORTUNITY_QUEUE", min_length=1)
    opportunity_role: str = Field(alias="OPPORTUNITY_ROLE_QUEUE", min_length=1)
    dead_letters: str = Field(alias="DEAD_LETTER_QUEUE", min_length=1)

    def of(self, entity: str) -> str:
        """The queue of one of the five entities, or of another field."""
        return str(getattr(self, entity))

    @property
    def received(self) -> list[str]:
        """Those that the app takes messages from."""
        return [self.changes, *map(self.of, ENTITIES)]

    def entity_of(self, queue: str) -> str:
        """Whose queue it is; empty where it is none of the five."""
        return next((entity for entity in ENTITIES if self.of(entity) == queue), "")

    @model_validator(mode="after")
    def _one_purpose_each(self) -> QueueSettings:
        """A queue of two purposes would feed itself, or give one entity's records to another."""
        names = {str(field.alias): str(getattr(self, name)) for name, field in QueueSettings.model_fields.items()}
        _check_distinct(names, "queue")
        return self


class BusSettings(_Settings):
    """Service Bus: a connection string, or a namespace with an identity."""

    connection: Annotated[SecretStr, AfterValidator(normalisers.service_bus_namespace)] = Field(
        SecretStr(""), alias="ServiceBusConnection"
    )
    namespace: Annotated[str, AfterValidator(normalisers.service_bus_host)] = Field(
        "", alias="ServiceBusConnection__fullyQualifiedNamespace"
    )
    identity_client_id: str = Field("", alias="ServiceBusConnection__clientId")

    @model_validator(mode="after")
    def _one_way(self) -> BusSettings:
        if not self.connection.get_secret_value() and not self.namespace:
            raise ValueError("ServiceBusConnection or ServiceBusConnection__fullyQualifiedNamespace must be set")
        return self


class RegistrationSettings(_Settings):
    """What `msisync register` hands to Dynamics; the app itself needs none of it."""

    send_connection: Annotated[SecretStr, AfterValidator(normalisers.service_bus)] = Field(
        SecretStr(""), alias="CHANGES_SEND_CONNECTION"
    )
    webhook_url: Annotated[str, AfterValidator(normalisers.webhook)] = Field("", alias="WEBHOOK_URL")
    webhook_key: SecretStr = Field(SecretStr(""), alias="WEBHOOK_KEY")


class NotifySettings(_Settings):
    """Who is told of the end of a long run, beside Azure's alerts. The address itself is a secret."""

    url: Annotated[SecretStr, AfterValidator(normalisers.notify)] = Field(SecretStr(""), alias="NOTIFY_URL")


class ConsoleSettings(_Settings):
    """Whether the app serves the console (docs/console.md). function_app.py reads it as well, before any settings."""

    hosting: Literal["off", "entra"] = Field("off", alias="CONSOLE")


class StorageSettings(_Settings):
    """Table Storage: a connection string, or an account's table endpoint with an identity."""

    connection: Annotated[SecretStr, AfterValidator(normalisers.storage)] = Field(
        SecretStr(""), alias="AzureWebJobsStorage"
    )
    table_uri: Annotated[str, AfterValidator(normalisers.table_endpoint)] = Field(
        "", alias="AzureWebJobsStorage__tableServiceUri"
    )
    identity_client_id: str = Field("", alias="AzureWebJobsStorage__clientId")
    parked_table: Annotated[str, AfterValidator(normalisers.table)] = Field("parked", alias="PARKED_TABLE")
    state_table: Annotated[str, AfterValidator(normalisers.table)] = Field("state", alias="STATE_TABLE")
    history_tables: Annotated[str, AfterValidator(normalisers.tables)] = Field("history", alias="HISTORY_TABLES")
    history_days: int = Field(14, alias="HISTORY_DAYS", ge=0, le=365)

    @model_validator(mode="after")
    def _one_way(self) -> StorageSettings:
        if not self.connection.get_secret_value() and not self.table_uri:
            raise ValueError("AzureWebJobsStorage or AzureWebJobsStorage__tableServiceUri must be set")
        names = {"PARKED_TABLE": self.parked_table, "STATE_TABLE": self.state_table}
        _check_distinct(names, "table")
        of_a_day = re.compile(rf"{self.history_tables}\d{{8}}", re.IGNORECASE)
        for setting, name in names.items():
            if of_a_day.fullmatch(name):  # it would be dropped as an old one
                raise ValueError(f"{setting} names a table of HISTORY_TABLES; it needs one of its own")
        return self


class SyncSettings(_Settings):
    """How the sync behaves. Times in seconds."""

    config: Path = Field(Path("sync.toml"), alias="SYNC_CONFIG")
    burst_batch: int = Field(32, alias="BURST_BATCH", ge=1)
    burst_window: float = Field(20.0, alias="BURST_WINDOW_SECONDS", ge=1, le=60)
    time_budget: float = Field(180.0, alias="TIME_BUDGET_SECONDS", ge=10, le=270)
    parent_wait: float = Field(86_400.0, alias="PARENT_WAIT_SECONDS", ge=1)
    parent_check: float = Field(60.0, alias="PARENT_CHECK_SECONDS", ge=1)
    max_attempts: int = Field(8, alias="MAX_ATTEMPTS", ge=1)
    circuit: float = Field(60.0, alias="CIRCUIT_SECONDS", ge=1, le=600)
    sweep_hour: int = Field(3, alias="WRITE_BACK_SWEEP_HOUR", ge=0, le=23)
    sweep_share: float = Field(0.15, alias="WRITE_BACK_SWEEP_SHARE", gt=0, le=1)


class Settings(_Settings):
    """All of them."""

    dataverse: DataverseSettings
    marketo: MarketoSettings
    queues: QueueSettings
    bus: BusSettings
    storage: StorageSettings
    sync: SyncSettings
    registration: RegistrationSettings
    notify: NotifySettings
    console: ConsoleSettings


_FIELD = re.compile("^app settings: [a-z_]+: ")
_GROUPS: dict[str, Any] = {name: field.annotation for name, field in Settings.model_fields.items()}


def any_given(environment: Mapping[str, str]) -> bool:
    """Whether an environment has any of the app's settings."""
    return any(environment.get(field.alias) for group in _GROUPS.values() for field in group.model_fields.values())


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment. Raises ConfigurationError that lists every problem by setting name."""
    given = {name: value for name, value in environment.items() if value != ""}
    for name in normalisers.without(given):
        del given[name]
    groups: dict[str, _Settings] = {}
    wrong: list[str] = []
    for name, group in _GROUPS.items():
        try:
            groups[name] = group.model_validate(given)
        except ValidationError as error:
            # What is said of a default names the setting in its sentence, and stands under the field's own name.
            wrong.extend(_FIELD.sub("app settings: ", line) for line in problems(error, "app settings"))
    remedy = "local.settings.example.json explains each of them"
    unresolved = normalisers.unresolved(given)
    if unresolved:
        said = tuple(f"app settings: {name}:" for name in unresolved)
        whole = [f"{line} is a Key Vault reference that Azure did not resolve" for line in said]
        wrong = [*whole, *(line for line in wrong if not line.startswith(said))]
        remedy = f"{normalisers.RESOLVE}; {remedy}"
    if wrong:
        raise ConfigurationError("BadSettings", "\n".join([*wrong, remedy]))
    return Settings.model_validate(groups)
