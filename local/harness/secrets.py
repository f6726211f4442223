"""Looks for secrets in what the Functions hosts have logged."""

import re
import ssl

import httpx
from azure.servicebus import parse_connection_string

from local.harness.system import System

#: Tokens by their looks: JSON Web Tokens, and whatever follows "Bearer" or a signature.
TOKENS = (re.compile(r"eyJ[A-Za-z0-9_-]{10,}"), re.compile(r"(?i)bearer\s+\S{8,}"), re.compile(r"(?i)[?&;]sig=\S{8,}"))


def logged(system: System) -> str:
    """Everything that the hosts of this stack have logged so far."""
    logs = sorted((system.stack.directory / "logs").glob("functions-*.log"))
    return "\n".join(log.read_text(errors="replace") for log in logs)


async def secrets_in_logs(system: System) -> list[str]:
    """Names of the secrets that occur in the logs, and what looks like a token."""
    given = system.endpoints
    storage = dict(part.split("=", 1) for part in given["storage"]["connection_string"].split(";") if part)
    secrets = {
        "Dataverse's client secret": given["dataverse"]["client_secret"],
        "Dataverse's password": given["dataverse"]["password"],
        "Marketo's client secret": given["marketo"]["client_secret"],
        "Marketo's token": await _marketo_token(system),
        "the storage key": storage["AccountKey"],
        "the bus's key": parse_connection_string(given["service_bus"]["connection_string"]).shared_access_key,
        "the webhook's key": system.webhook_key,
        "the admin key": given["functions"]["admin_key"],
    }
    text = logged(system)
    named = [name for name, secret in secrets.items() if secret and secret in text]
    return named + [found.group() for pattern in TOKENS for found in pattern.finditer(text)]


async def _marketo_token(system: System) -> str:
    """The token that the app has as well: Marketo gives the same one to all until it expires."""
    given = system.endpoints["marketo"]
    tls = ssl.create_default_context(cafile=system.endpoints["ca_bundle"])
    form = {
        "grant_type": "client_credentials",
        "client_id": given["client_id"],
        "client_secret": given["client_secret"],
    }
    async with httpx.AsyncClient(proxy=system.endpoints["https_proxy"], verify=tls, trust_env=False) as http:
        answer = await http.post(f"{given['url']}/identity/oauth/token", data=form)
    return str(answer.raise_for_status().json()["access_token"])
