"""The console in the Function App: App Service Authentication has signed the browser in with Entra, and says who it is.

The platform writes the header X-MS-CLIENT-PRINCIPAL, and takes it out of what browsers send, but only while its
authentication is on. So nobody is let in unless WEBSITE_AUTH_ENABLED, which the platform sets then, says so. Roles are
the app roles of the app registration. Several instances serve one browser: what is checked rests on no memory.
https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from .security import Operator, RefusedError

HEADER = "x-ms-client-principal"
#: Set by the platform: whether its authentication is on, and the app's own host name.
AUTH_ENABLED, HOST_NAME = "WEBSITE_AUTH_ENABLED", "WEBSITE_HOSTNAME"
#: The webhook's address is excepted from the platform's sign-in (infra/app.bicep), so nobody is believed there.
NOT_OURS = "/api/"
#: The values of the app roles. An operator may look as well.
READER, OPERATOR = "reader", "operator"
#: How Entra is called in the principal.
_ENTRA = "aad"
#: Claims, the best first: they have long names in some tokens and short ones in others.
_IDS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")
_NAMES = (
    *("preferred_username", "upn", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"),
    *("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "name"),
)
_ROLES = ("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")


class _Claim(BaseModel):
    typ: str
    val: str


class _Header(BaseModel):
    """What the header holds, in base64."""

    auth_typ: str
    claims: list[_Claim]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who has signed in. `id`: the object id of Entra, which a person keeps."""

    id: str
    name: str
    roles: frozenset[str]


def principal_of(header: str) -> Principal | None:
    """Who the platform says has signed in with Entra; None for a header that it does not write."""
    try:
        said = _Header.model_validate_json(b64decode(header, validate=True))
    except (ValueError, ValidationError):
        return None
    id_ = _first(said.claims, _IDS)
    if said.auth_typ != _ENTRA or not id_:
        return None
    roles = frozenset(claim.val for claim in said.claims if claim.typ in _ROLES)
    return Principal(id_, _first(said.claims, _NAMES) or id_, roles)


def _first(claims: Iterable[_Claim], names: Iterable[str]) -> str:
    found = {claim.typ: claim.val for claim in reversed([*claims]) if claim.val}
    return next((found[name] for name in names if name in found), "")


@dataclass(frozen=True, slots=True)
class EntraAccess:
    """Lets in whom App Service Authentication has signed in and who has one of the roles.

    `host`: the app's name; `is_on`: whether that authentication is; `key`: what the tokens of forms are made with, the
    same in all instances.
    """

    host: str
    is_on: bool
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str], secret: str) -> EntraAccess:
        """As the platform says in the environment. `secret`: any that all instances have and nobody else."""
        is_on = environment.get(AUTH_ENABLED, "").casefold() == "true"
        key = hmac.digest(secret.encode(), b"msisync console: tokens of forms", "sha256")
        return cls(environment.get(HOST_NAME, "").lower(), is_on, key)

    @property
    def hosts(self) -> frozenset[str]:
        """The app's own name: one of a custom domain is another."""
        return frozenset({self.host} - {""})

    @property
    def origins(self) -> frozenset[str]:
        """The same, as browsers name the site of a page."""
        return frozenset(f"https://{host}" for host in self.hosts)

    def admit(self, request: Request) -> Operator:
        """Who has signed in, with what their role allows. Raises RefusedError."""
        if not self.is_on:
            raise RefusedError(
                503,
                "Sign-in is off",
                "The console is set up (CONSOLE=entra), but App Service Authentication of this Function App is off, so "
                "anybody could claim to be an operator. docs/console.md says how to turn it on.",
            )
        if request.url.path.startswith(NOT_OURS):
            raise RefusedError(404, "No such page", "Nothing is at this address.")
        principal = principal_of(request.headers.get(HEADER, ""))
        if principal is None:
            raise RefusedError(401, "Not signed in", "Sign in with Entra first: reload this page.")
        if not principal.roles & {READER, OPERATOR}:
            raise RefusedError(
                403,
                "No role",
                f"You are signed in as {principal.name}, and have no role in msisync. Whoever administers it in Entra "
                "can give you one: reader, who looks at everything, or operator, who also acts. Then sign out "
                "(/.auth/logout) and in again.",
            )
        token = hmac.digest(self.key, principal.id.encode(), "sha256").hex()
        return Operator(principal.name, may_act=OPERATOR in principal.roles, csrf=token)
