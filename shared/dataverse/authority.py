"""Where to sign in: the tenant's authority, and the hosts that may receive credentials (dataverse.md 6.4)."""

from __future__ import annotations

import re

import httpx

from ..config.normalisers import NO_TENANTS
from ..config.settings import DataverseSettings
from ..model.codes import Kind
from ..model.errors import DataverseError, SignInError

#: Hosts that may receive credentials without being set by the operator.
LOGIN_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.windows.net",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
        "login.chinacloudapi.cn",
    }
)
#: Clouds with their own login host.
_CLOUDS = {
    ".dynamics.cn": "login.partner.microsoftonline.cn",
    ".microsoftdynamics.us": "login.microsoftonline.us",
    ".appsplatform.us": "login.microsoftonline.us",
}
_CHALLENGE = re.compile(r'authorization_uri="?(https://[^\s",]+?)/oauth2/authorize', re.IGNORECASE)
_TENANT = re.compile(r"/[A-Za-z0-9.-]+")


async def find(settings: DataverseSettings, http: httpx.AsyncClient) -> str:
    """The authority: as set, from the tenant id, or from Dataverse's own 401 challenge.

    Raises SignInError when Dataverse names no known login host, DataverseError when it does not answer.
    """
    if settings.authority:
        return settings.authority
    if settings.tenant_id:
        host = next((login for cloud, login in _CLOUDS.items() if settings.url.endswith(cloud)), None)
        return f"https://{host or 'login.microsoftonline.com'}/{settings.tenant_id}"
    try:
        response = await http.get("/api/data/v9.2/WhoAmI")
    except httpx.HTTPError as error:
        raise DataverseError("Unreachable", f"no answer: {type(error).__name__}", kind=Kind.TRANSIENT) from None
    if response.status_code == 429 or response.status_code >= 500:
        raise DataverseError(f"HTTP {response.status_code}", "no challenge to sign in", kind=Kind.TRANSIENT)
    return _named(response.headers.get("WWW-Authenticate", ""))


def allowed_hosts(authority: str) -> frozenset[str]:
    """Hosts that credentials may be sent to: Microsoft's, and that of an authority which the operator set."""
    return LOGIN_HOSTS | {httpx.URL(authority).host}


def _named(challenge: str) -> str:
    found = _CHALLENGE.search(challenge)
    url = httpx.URL(found.group(1)) if found else httpx.URL()
    trusted = url.host in LOGIN_HOSTS and url.port is None and not url.userinfo
    if not trusted or not _TENANT.fullmatch(url.path) or url.path[1:].lower() in NO_TENANTS:
        raise SignInError(
            "NoTenant",
            "DATAVERSE_URL did not name a tenant at a known Microsoft login host: check it, or set DATAVERSE_TENANT_ID "
            "or DATAVERSE_AUTHORITY",
        )
    return f"https://{url.host}{url.path}"
