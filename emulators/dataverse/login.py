"""The Microsoft Entra endpoints that MSAL calls, for one tenant with one app registration.

Endpoints: OpenID configuration, instance discovery, user realm, token (password, client credentials, refresh token; the
client shows its secret or an assertion signed with its certificate's key).
Error texts and numbers are those of the AADSTS reference; programmes are to branch on `error`.
"""

import base64
import json
import re
import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from uuid import uuid4

from emulators.dataverse import constants
from emulators.dataverse.assertions import ASSERTION_TYPE, ClientCertificate
from emulators.dataverse.environment import Environment
from emulators.dataverse.messages import ApiRequest, ApiResponse
from emulators.dataverse.sign_in_errors import ERRORS, SignInError
from emulators.dataverse.values import format_moment

_OPENID: Final = re.compile(r"^/(?P<tenant>[^/]+)/v2\.0/\.well-known/openid-configuration$")
_TOKEN: Final = re.compile(r"^/(?P<tenant>[^/]+)/oauth2/v2\.0/token$")
_REALM: Final = re.compile(r"^/common/userrealm/(?P<user>[^/]+)$", re.IGNORECASE)
_RESERVED_SCOPES: Final = frozenset({"openid", "profile", "offline_access"})
_SCOPE: Final = f"{constants.ORGANIZATION_URL}/.default"
_REFRESH_LIFETIME: Final = 90 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Session:
    """Whom an access token stands for: a user by name, or the application itself."""

    username: str | None
    client: str
    expires: float


class Login:
    """Signs in, and knows whom an access token was given to."""

    def __init__(self, environment: Environment, certificate: ClientCertificate | None = None) -> None:
        self._environment = environment
        self._certificate = certificate
        self._sessions: dict[str, Session] = {}
        self._refresh: dict[str, Session] = {}

    def session(self, token: str) -> Session | None:
        """The session of an access token; None when it is unknown or has expired."""
        found = self._sessions.get(token)
        if found is not None and found.expires <= self._environment.now():
            del self._sessions[token]
            return None
        return found

    def access_token_for(self, username: str | None) -> str:
        """An access token without a sign-in, for tests; None stands for the application."""
        return self.issue_token(username)[0]

    def issue_token(self, username: str | None, client: str = constants.CLIENT_ID) -> tuple[str, float]:
        """An access token for a user or, without a name, for an application, and when it expires."""
        now = self._environment.now()
        lifetime = self._environment.switches.token_lifetime
        token = _jwt(_claims(username, client, now, lifetime))
        self._sessions[token] = Session(username, client, now + lifetime)
        return token, now + lifetime

    def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer a request to the login host."""
        path = unquote(request.path)
        if request.method == "GET":
            if match := _OPENID.match(path):
                return self._openid(match["tenant"])
            if path == "/common/discovery/instance":
                return _json(_instance_metadata())
            if match := _REALM.match(path):
                return _json(_realm(match["user"]))
        if request.method == "POST" and (match := _TOKEN.match(path)):
            return self._token(match["tenant"], request.body)
        return ApiResponse(404, {"Content-Type": "text/html"}, b"Not found")

    def _openid(self, tenant: str) -> ApiResponse:
        known = _is_tenant(tenant)
        if not known and tenant not in {"common", "organizations"}:
            return self._refused(SignInError(90002), tenant, {}, error="invalid_tenant")
        issuer = constants.TENANT_ID if known else "{tenantid}"
        path = f"https://{constants.LOGIN_HOST}/{constants.TENANT_ID if known else tenant}"
        return _json(
            {
                "issuer": f"https://{constants.LOGIN_HOST}/{issuer}/v2.0",
                "authorization_endpoint": f"{path}/oauth2/v2.0/authorize",
                "token_endpoint": f"{path}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{path}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{path}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["code", "id_token"],
                "subject_types_supported": ["pairwise"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
            }
        )

    def _token(self, tenant: str, body: bytes) -> ApiResponse:
        form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        try:
            answer = self._grant(tenant, form)
        except SignInError as error:
            self._environment.stats.refused_sign_ins += 1
            return self._refused(error, tenant, form)
        self._environment.stats.sign_ins += 1
        return _json(answer)

    def _grant(self, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
        self._check_client(tenant, form)
        grant = form.get("grant_type", "")
        if grant == "client_credentials":
            _check_scope(form, reserved=False)
            return self._issue(None, form)
        if grant == "password":
            self._check_user(form)
            _check_scope(form, reserved=True)
            return self._issue(form["username"], form)
        if grant == "refresh_token":
            session = self._refresh.pop(form.get("refresh_token", ""), None)
            if session is None or session.username is None or session.expires <= self._environment.now():
                raise SignInError(70000)
            self._check_planned(session.username)
            _check_scope(form, reserved=True)
            return self._issue(session.username, form)
        raise SignInError(70003, grant=grant)

    def _check_client(self, tenant: str, form: Mapping[str, str]) -> None:
        if "grant_type" not in form:
            raise SignInError(900144, parameter="grant_type")
        if tenant in {"common", "organizations", "consumers"}:
            raise SignInError(50194)
        if not _is_tenant(tenant):
            raise SignInError(90002)
        client = form.get("client_id", "")
        if client.lower() != constants.CLIENT_ID:
            raise SignInError(700016)
        if "client_assertion" in form:
            self._check_assertion(tenant, form)
        elif "client_secret" not in form:
            raise SignInError(7000218)
        elif form["client_secret"] != constants.CLIENT_SECRET:
            raise SignInError(7000215)
        self._check_planned(constants.CLIENT_ID)

    def _check_assertion(self, tenant: str, form: Mapping[str, str]) -> None:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise SignInError(900144, parameter="client_assertion_type")
        if self._certificate is None:
            raise SignInError(700027, reason="The key was not found.")
        audiences = {
            f"https://{constants.LOGIN_HOST}/{name}/oauth2/v2.0/token" for name in (tenant, constants.TENANT_ID)
        }
        self._certificate.check(form["client_assertion"], constants.CLIENT_ID, audiences, self._environment.now())

    def _check_planned(self, name: str) -> None:
        planned = self._environment.switches.sign_in_errors
        for candidate, number in planned.items():
            if candidate.lower() == name.lower():
                raise SignInError(number)

    def _check_user(self, form: Mapping[str, str]) -> None:
        username = form.get("username", "").lower()
        if not username or "password" not in form:
            raise SignInError(900144, parameter="username" if not username else "password")
        if username != constants.USERNAME:
            raise SignInError(50034)
        self._check_planned(username)
        if form["password"] != constants.PASSWORD:
            raise SignInError(50126)

    def _issue(self, username: str | None, form: Mapping[str, str]) -> dict[str, Any]:
        token, expires = self.issue_token(username)
        lifetime = self._environment.switches.token_lifetime
        now = expires - lifetime
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        }
        if username is None:
            return answer
        scopes = form.get("scope", "").split()
        answer["scope"] = f"{constants.ORGANIZATION_URL}/user_impersonation {_SCOPE}"
        if "offline_access" in scopes:
            answer["refresh_token"] = f"1.{secrets.token_urlsafe(48)}"
            self._refresh[answer["refresh_token"]] = Session(username, constants.CLIENT_ID, now + _REFRESH_LIFETIME)
        if "openid" in scopes:
            answer["id_token"] = _jwt(
                {**_claims(username, constants.CLIENT_ID, now, lifetime), "aud": constants.CLIENT_ID}
            )
        if form.get("client_info"):
            info = {"uid": constants.SYNC_USER_ID, "utid": constants.TENANT_ID}
            answer["client_info"] = _base64(json.dumps(info).encode())
        return answer

    def _refused(
        self, refusal: SignInError, tenant: str, form: Mapping[str, str], *, error: str | None = None
    ) -> ApiResponse:
        status, name, suberror, text = ERRORS.get(
            refusal.number, (400, "invalid_grant", None, "The sign-in was refused.")
        )
        details = {
            "tenant": tenant,
            "client": form.get("client_id", ""),
            "resource": form.get("scope", "").partition("/.default")[0].split(" ")[-1],
            "scope": f"The scope {form.get('scope', '')} is not valid.",
            **refusal.details,
        }
        trace, correlation = str(uuid4()), str(uuid4())
        stamp = format_moment(self._environment.now()).replace("T", " ")
        body: dict[str, Any] = {
            "error": error or name,
            "error_description": (
                f"AADSTS{refusal.number}: {text.format_map(defaultdict(str, details))} Trace ID: {trace} "
                f"Correlation ID: {correlation} Timestamp: {stamp}"
            ),
            "error_codes": [refusal.number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://{constants.LOGIN_HOST}/error?code={refusal.number}",
        }
        if suberror is not None:
            body["suberror"] = suberror
        return _json(body, status)


def _is_tenant(tenant: str) -> bool:
    return tenant.lower() in {constants.TENANT_ID, constants.TENANT_DOMAIN}


def _check_scope(form: Mapping[str, str], *, reserved: bool) -> None:
    scopes = set(form.get("scope", "").split())
    wanted = scopes - _RESERVED_SCOPES if reserved else scopes
    if not wanted:
        raise SignInError(900144, parameter="scope")
    for scope in wanted:
        if not scope.endswith("/.default"):
            raise SignInError(70011 if reserved else 1002012, scope=scope)
        if scope.removesuffix("/.default").rstrip("/") != constants.ORGANIZATION_URL:
            raise SignInError(500011, resource=scope.removesuffix("/.default"))
        if scope != _SCOPE:
            raise SignInError(28002)


def _claims(username: str | None, client: str, now: float, lifetime: int) -> dict[str, Any]:
    claims = {
        "aud": constants.ORGANIZATION_URL,
        "iss": f"https://sts.windows.net/{constants.TENANT_ID}/",
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + lifetime,
        "appid": client,
        "tid": constants.TENANT_ID,
        "sub": username or client,
        "oid": constants.SYNC_USER_ID if username else client,
        "uti": secrets.token_urlsafe(12),
        "ver": "1.0",
    }
    if username:
        claims |= {"upn": username, "preferred_username": username, "name": username, "scp": "user_impersonation"}
    return claims


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwt(claims: Mapping[str, Any]) -> str:
    """A token in the form of a JWT. Nobody checks its signature: the simulator looks tokens up."""
    header = _base64(json.dumps({"typ": "JWT", "alg": "RS256", "kid": "local"}).encode())
    return f"{header}.{_base64(json.dumps(claims).encode())}.{_base64(secrets.token_bytes(64))}"


def _realm(user: str) -> dict[str, Any]:
    domain = user.rpartition("@")[2].lower()
    if domain != constants.TENANT_DOMAIN:
        return {"ver": "1.0", "account_type": "Unknown", "cloud_instance_name": "microsoftonline.com"}
    return {
        "ver": "1.0",
        "account_type": "Managed",
        "domain_name": domain,
        "cloud_instance_name": "microsoftonline.com",
        "cloud_audience_urn": "urn:federation:MicrosoftOnline",
    }


def _instance_metadata() -> dict[str, Any]:
    host = constants.LOGIN_HOST
    aliases = [host, "login.windows.net", "login.microsoft.com", "sts.windows.net"]
    return {
        "tenant_discovery_endpoint": f"https://{host}/common/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": "login.windows.net", "aliases": aliases}],
    }


def _json(content: Any, status: int = 200) -> ApiResponse:
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store, no-cache"}
    return ApiResponse(status, headers, json.dumps(content).encode())
