"""What the stack tells the product and other clients: addresses and credentials, the same facts in several forms.

`endpoints` is the file `.local/endpoints.json`, `local_settings` the file `.local/local.settings.json`;
`functions_environment` holds the app settings of the Functions host.
"""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulators import azurite, servicebus
from emulators.dataverse import constants as dataverse
from emulators.marketo import identity as marketo
from emulators.processes import free_ports
from local.queues import DATAVERSE_KEY, DATAVERSE_POLICY, NAMES

MARKETO_HOST = "123-abc-456.mktorest.com"
HOSTS = (dataverse.LOGIN_HOST, dataverse.ORGANIZATION_HOST, MARKETO_HOST)
# All that children take over from the shell: a person's own app settings must not change what the stack runs.
INHERITED = ("COVERAGE_PROCESS_CONFIG", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports of 127.0.0.1, chosen once: a part that starts again listens where it did."""

    service_bus: int
    dataverse: int
    dataverse_control: int
    marketo: int
    marketo_control: int
    proxy: int
    blob: int
    queue: int
    table: int
    functions: int

    @classmethod
    def choose(cls) -> "Ports":
        """Find a free port for each."""
        names = list(cls.__dataclass_fields__)
        return cls(**dict(zip(names, free_ports(len(names)), strict=True)))


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where everything of one stack is, and the keys that its Functions hosts accept."""

    ports: Ports
    ca_bundle: Path
    webhook_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    admin_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def service_bus(self) -> str:
        """Connection string for the unmodified SDK, both its AMQP and its management client."""
        return servicebus.connection_string(self.ports.service_bus)

    @property
    def service_bus_of_dataverse(self) -> str:
        """What Dataverse posts with: it may send to the intake queue and nothing else."""
        return servicebus.connection_string(self.ports.service_bus, DATAVERSE_POLICY, DATAVERSE_KEY)

    @property
    def storage(self) -> str:
        """Connection string of Azurite."""
        return azurite.connection_string(
            blob_port=self.ports.blob, queue_port=self.ports.queue, table_port=self.ports.table
        )

    @property
    def client_certificate(self) -> Path:
        """Private key and certificate of the app registration, in one PEM file."""
        return self.ca_bundle.with_name("client.pem")

    @property
    def identity_endpoint(self) -> str:
        """What App Service gives to an app with a managed identity as IDENTITY_ENDPOINT."""
        return f"http://127.0.0.1:{self.ports.dataverse_control}{dataverse.IDENTITY_PATH}"

    @property
    def proxy(self) -> str:
        """URL of the CONNECT proxy."""
        return f"http://127.0.0.1:{self.ports.proxy}"

    def endpoints(self) -> dict[str, Any]:
        """Return what a client needs to drive the stack."""
        return {
            "service_bus": {
                "connection_string": self.service_bus,
                "queues": {name: queue for name, (_, queue) in NAMES.items()},
            },
            "dataverse": {
                "url": dataverse.ORGANIZATION_URL,
                "authority": f"https://{dataverse.LOGIN_HOST}/{dataverse.TENANT_ID}",
                "tenant_id": dataverse.TENANT_ID,
                "client_id": dataverse.CLIENT_ID,
                "client_secret": dataverse.CLIENT_SECRET,
                "username": dataverse.USERNAME,
                "password": dataverse.PASSWORD,
                "client_certificate": str(self.client_certificate),
                "identity_endpoint": self.identity_endpoint,
                "identity_header": dataverse.IDENTITY_HEADER,
                "managed_identity_client_id": dataverse.MANAGED_IDENTITY_CLIENT_ID,
            },
            "marketo": {
                "url": f"https://{MARKETO_HOST}",
                "client_id": marketo.CLIENT_ID,
                "client_secret": marketo.CLIENT_SECRET,
            },
            "storage": {"connection_string": self.storage},
            "functions": {
                "url": f"http://127.0.0.1:{self.ports.functions}",
                "webhook_key": self.webhook_key,
                "admin_key": self.admin_key,
            },
            "https_proxy": self.proxy,
            "ca_bundle": str(self.ca_bundle),
        }

    def app_settings(self) -> dict[str, str]:
        """Return the settings of a deployed app, and the way to the simulators."""
        bundle = str(self.ca_bundle)
        return {
            "ServiceBusConnection": self.service_bus,
            "AzureWebJobsStorage": self.storage,
            **dict(NAMES.values()),
            "RELEASE_SCHEDULE": "0 * * * * *",
            "RUN_SCHEDULE": "0 * * * * *",
            "RECONCILE_SCHEDULE": "0 5 * * * *",
            "WRITE_BACK_SCHEDULE": "0 */10 * * * *",
            "DATAVERSE_URL": dataverse.ORGANIZATION_URL,
            "DATAVERSE_AUTH": "password",
            "DATAVERSE_CLIENT_ID": dataverse.CLIENT_ID,
            "DATAVERSE_CLIENT_SECRET": dataverse.CLIENT_SECRET,
            "DATAVERSE_USERNAME": dataverse.USERNAME,
            "DATAVERSE_PASSWORD": dataverse.PASSWORD,
            "MARKETO_URL": f"https://{MARKETO_HOST}",
            "MARKETO_CLIENT_ID": marketo.CLIENT_ID,
            "MARKETO_CLIENT_SECRET": marketo.CLIENT_SECRET,
            "FUNCTIONS_WEBHOOK_KEY": self.webhook_key,
            "FUNCTIONS_ADMIN_KEY": self.admin_key,
            "HTTPS_PROXY": self.proxy,
            "https_proxy": self.proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            # httpx reads the first, requests (inside MSAL) one of the others.
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "CURL_CA_BUNDLE": bundle,
        }

    def functions_environment(self) -> dict[str, str]:
        """Return the whole environment of a Functions host."""
        return {**inherited_environment(), **self.app_settings()}

    def local_settings(self, changes: Mapping[str, str]) -> dict[str, Any]:
        """Return what local.settings.json holds: the app settings with `changes`, and what registering needs."""
        registering = {
            "CHANGES_SEND_CONNECTION": self.service_bus_of_dataverse,
            "WEBHOOK_URL": f"http://127.0.0.1:{self.ports.functions}/api/receive_webhook",
            "WEBHOOK_KEY": self.webhook_key,
        }
        return {"IsEncrypted": False, "Values": {**self.app_settings(), **registering, **changes}}


def inherited_environment() -> dict[str, str]:
    """Return what every child gets, whatever the machine has set."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


def write_private_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that only its owner can read, so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    unfinished.replace(path)
