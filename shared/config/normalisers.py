"""The forms that settings are pasted in: each is brought to the one that the product uses, or refused.

All raise ValueError with what the form must be; never with the value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from ..model.ids_and_times import GUID, guid

Text = TypeVar("Text", str, SecretStr)

#: Hosts of Dataverse environments (dataverse.md 6.4). Another host must be allowed by DATAVERSE_AUTHORITY being set.
DYNAMICS_SUFFIXES = (".dynamics.com", ".dynamics.cn", ".microsoftdynamics.us", ".appsplatform.us")

#: Paths of the login hosts that stand for no one tenant. Neither a password nor an application can sign in there.
NO_TENANTS = frozenset({"common", "consumers", "organizations"})

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_TENANT = re.compile(rf"{GUID}|[a-z0-9-]+(\.[a-z0-9-]+)+")


#: Settings that Azure fills in from elsewhere. Where it could not, the app is given the reference itself. Within quotes
#: or without its parenthesis it is none for Azure, but no secret either.
_REFERENCE = re.compile(r"@Microsoft\.(KeyVault|AppConfiguration)\b", re.IGNORECASE)
#: What is read of the environment: by this product, and by the Functions host for it.
_READ = re.compile(
    r"(DATAVERSE|MARKETO|WRITE_BACK|TRICKLE|BURST|WEBHOOK|PARENT|HISTORY|ServiceBusConnection|AzureWebJobsStorage|AZURE|"
    r"APPLICATIONINSIGHTS)\w*|\w+_QUEUE|\w+_TABLE|\w+_SCHEDULE|CHANGES_SEND_CONNECTION|SYNC_CONFIG|"
    r"TIME_BUDGET_SECONDS|CIRCUIT_SECONDS|MAX_ATTEMPTS|RUN_DAILY_SHARE|NOTIFY_URL|CONSOLE"
)


def unresolved(settings: Mapping[str, str]) -> list[str]:
    """The settings that hold a reference instead of the value that it stands for: it must never be sent as a password.

    Azure leaves a reference as it is when it cannot read the secret.
    """
    return [name for name, value in settings.items() if _READ.fullmatch(name) and _REFERENCE.search(value)]


def without(settings: Mapping[str, str]) -> list[str]:
    """Those of them that the app does without, and runs: the doctor tells."""
    return [name for name in unresolved(settings) if name in _NOT_NEEDED]


#: Settings whose secret may be missing: nobody is told of a long run, and everything is synced.
_NOT_NEEDED = frozenset({"NOTIFY_URL"})
#: What is done about them.
RESOLVE = (
    "nobody signs in until the reference is resolved: in Azure, the function app's Environment variables say why it "
    "is not (its identity needs the role Key Vault Secrets User, the secret must exist and be enabled), then python3 "
    "infra/operate.py secrets; elsewhere, msisync --env NAME brings the secrets along, or set the "
    "value; see docs/troubleshooting.md#key-vault"
)


def _https(url: str) -> SplitResult:
    """The address, its `netloc` being the host, and the port where it is not the usual one."""
    try:
        text = url.strip()
        parsed = urlsplit(text if "://" in text else f"https://{text}")
        host, port = (parsed.hostname or "").removesuffix("."), parsed.port
    except ValueError:
        raise ValueError("must be an https:// address") from None
    if parsed.scheme != "https" or not _HOST.fullmatch(host) or not text.isprintable():
        raise ValueError("must be an https:// address")
    if parsed.username or parsed.password:
        raise ValueError("must be an https:// address without user name or password")
    return parsed._replace(netloc=host if port in (None, 443) else f"{host}:{port}")


def root(url: str) -> str:
    """People paste any page of the environment: scheme and host are what counts."""
    return f"https://{_https(url).netloc}"


def organization_root(url: str) -> str:
    """`org.api.crm4.dynamics.com` is the same environment as `org.crm4.dynamics.com`, and has no other port."""
    address = root(url).replace(".api.crm", ".crm", 1)
    host = host_of(address)
    return f"https://{host}" if host.endswith(DYNAMICS_SUFFIXES) else address


def host_of(url: str) -> str:
    """The host of an address."""
    return urlsplit(url).hostname or ""


def authority(url: str) -> str:
    """Any of the login host's addresses for a tenant: host and tenant are what counts."""
    if not url.strip():
        return ""
    parsed = _https(url)
    named = parsed.path[1:].split("/")[0]
    if not named or named.lower() in NO_TENANTS:
        raise ValueError("must name the tenant, https://<login host>/<tenant id or domain>")
    return f"https://{parsed.netloc}/{named}"


def tenant(given: str) -> str:
    """A tenant by its id or one of its domains."""
    named = given.strip().lower()
    if named in NO_TENANTS:
        raise ValueError("must be one tenant: nobody can sign in here by way of common, consumers or organizations")
    if named and not _TENANT.fullmatch(named):
        raise ValueError("must be the tenant's id (a guid) or one of its domains, contoso.onmicrosoft.com")
    return named


def connection_parts(connection: SecretStr) -> dict[str, str]:
    """The parts of a connection string of Service Bus or storage, by their names in lower case."""
    pairs = (part.partition("=") for part in connection.get_secret_value().split(";") if part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def endpoint_host(connection: SecretStr) -> str:
    """The host of a connection string's endpoint; empty where there is none."""
    return urlsplit(connection_parts(connection).get("endpoint", "")).netloc


def service_bus(given: SecretStr) -> SecretStr:
    """A connection string of Service Bus with a key; that of one queue's policy names the queue."""
    parts = connection_parts(given)
    address = parts.get("endpoint", "")
    if not re.fullmatch(r"(sb|amqps?|https?)://[^/<>\s]+/?", address, re.IGNORECASE) or not all(
        parts.get(name) for name in ("sharedaccesskeyname", "sharedaccesskey")
    ):
        raise ValueError(
            "must be a connection string, Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=<name>;"
            "SharedAccessKey=<key>"
        )
    return given


def service_bus_namespace(given: SecretStr) -> SecretStr:
    """A connection string that opens every queue of a namespace."""
    if connection_parts(service_bus(given)).get("entitypath"):
        raise ValueError(
            "must be a connection string of the namespace: this one has an EntityPath, so it opens one queue"
        )
    return given


def identifier(given: str) -> str:
    """A GUID, perhaps in braces."""
    try:
        return guid(given.strip()) or ""
    except ValueError:
        raise ValueError("must be a GUID, 8 digits, three times 4, and 12, with hyphens") from None


def service_bus_host(given: str) -> str:
    """A namespace as the Functions host reads it as well, which takes nothing but the host's name."""
    if given and not (_HOST.fullmatch(given.lower()) and "." in given):
        raise ValueError("must be the namespace's host name alone, <namespace>.servicebus.windows.net")
    return given


def storage(given: SecretStr) -> SecretStr:
    """A storage account's connection string, with a key or a shared access signature."""
    parts = connection_parts(given)
    opens = (parts.get("accountkey") and parts.get("accountname")) or parts.get("sharedaccesssignature")
    if not opens and parts.get("usedevelopmentstorage", "").lower() != "true":
        raise ValueError(
            "must be a connection string, DefaultEndpointsProtocol=https;AccountName=<account>;AccountKey=<key>;"
            "EndpointSuffix=core.windows.net, or UseDevelopmentStorage=true"
        )
    return given


def table_endpoint(given: str) -> str:
    """Where an account's tables are; a path is an emulator's account."""
    return given and f"https://{_https(given).netloc}{_https(given).path.rstrip('/')}"


def table(given: str, longest: int = 63) -> str:
    """The name of a table of Table Storage."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2,}", given) or len(given) > longest:
        raise ValueError(f"must be 3 to {longest} letters and digits, and begin with a letter")
    return given


#: The beginning of the names of tables of which there is one a day: eight digits follow.
tables = partial(table, longest=55)


def webhook(given: str) -> str:
    """An address of the app; `msisync register` looks at it more closely."""
    if given and not re.fullmatch(r"https?://\S+", given):
        raise ValueError("must be https://<app>.azurewebsites.net/api/receive_webhook")
    return given


def notify(given: SecretStr) -> SecretStr:
    """An address that takes a POST, kept as it is: its path and query hold the key."""
    if given.get_secret_value():
        _https(given.get_secret_value())
    return given


def no_blanks(given: Text) -> Text:
    """Blanks around it came with pasting, and no sign-in works with them (of a password, dataverse.md 6.1)."""
    text = given.get_secret_value() if isinstance(given, SecretStr) else given
    if text != text.strip():
        raise ValueError("must not begin or end with a blank")
    return given
