"""Dataverse's access token, by MSAL: resource owner password (the guide's way) or client secret (dataverse.md 6).

MSAL is synchronous, so it runs in a thread, one request at a time. Its cache and refresh token do the renewing. A
refusal is remembered for some minutes: asking again with a wrong password locks the account.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx

from shared.codes import Kind
from shared.errors import DataverseError, SignInError
from shared.settings import DataverseSettings

#: Hosts that may be given credentials without the operator naming them (dataverse.md 6.4).
LOGIN_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.windows.net",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
        "login.chinacloudapi.cn",
    }
)
REFUSAL_SECONDS = 300.0
MARGIN_SECONDS = 120.0

_CHALLENGE = re.compile(r'authorization_uri="?(https://[^\s",]+?)/oauth2/authorize', re.IGNORECASE)
_RETRYABLE = frozenset({"temporarily_unavailable", "request_timeout", "server_error"})

#: AADSTS number → what the operator does about it (dataverse.md 6.3).
REMEDIES = {
    50126: "check user name (the UPN, user@domain) and password",
    50034: "no such user in this tenant: check user name and tenant",
    51004: "no such user in this tenant: check user name and tenant",
    50053: "the account is locked: unlock it",
    50055: "the password has expired: set a new one",
    50056: "the account has no password in Entra: set one",
    50057: "the account is disabled: enable it",
    50072: "MFA is demanded: exclude the sync user from it, or use DATAVERSE_AUTH=client_secret",
    50074: "MFA is demanded: exclude the sync user from it, or use DATAVERSE_AUTH=client_secret",
    50076: "MFA is demanded: exclude the sync user from it, or use DATAVERSE_AUTH=client_secret",
    50078: "MFA is demanded: exclude the sync user from it, or use DATAVERSE_AUTH=client_secret",
    50079: "MFA is demanded: exclude the sync user from it, or use DATAVERSE_AUTH=client_secret",
    50158: "a Conditional Access policy blocks the sync user: exclude it, or use DATAVERSE_AUTH=client_secret",
    53003: "a Conditional Access policy blocks the sync user: exclude it, or use DATAVERSE_AUTH=client_secret",
    530035: "security defaults block the sync user: exclude it, or use DATAVERSE_AUTH=client_secret",
    65001: "grant admin consent for Dynamics CRM user_impersonation to the app registration",
    700016: "DATAVERSE_CLIENT_ID is not known in this tenant: check it and DATAVERSE_TENANT_ID",
    7000215: "DATAVERSE_CLIENT_SECRET is wrong: use the secret's value, not its id",
    7000222: "DATAVERSE_CLIENT_SECRET has expired: create a new one",
    7000218: "the app registration demands a secret: set DATAVERSE_CLIENT_SECRET",
    500011: "DATAVERSE_URL is not known in this tenant: check it and DATAVERSE_TENANT_ID",
    50059: "check DATAVERSE_TENANT_ID",
    50128: "check DATAVERSE_TENANT_ID",
    90002: "check DATAVERSE_TENANT_ID",
    50194: "the app registration is single tenant: set DATAVERSE_TENANT_ID",
    70011: "check the form of DATAVERSE_URL",
    28002: "check the form of DATAVERSE_URL",
    50105: "assign the sync user to the enterprise application",
    50196: "Entra saw too many sign-ins in a row: wait, and see that only one app uses this account",
}


class DataverseAuth:
    """The token of one environment for one identity."""

    def __init__(self, settings: DataverseSettings, http: httpx.AsyncClient, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._lock = asyncio.Lock()
        self._app: Any = None
        self._token = ""
        self._expires = 0.0
        self._refusal: tuple[float, str, str] | None = None

    async def token(self) -> str:
        """A token that is good for two minutes at least.

        Raises SignInError with what to do about a refusal, DataverseError when Entra does not answer.
        """
        async with self._lock:
            if self._token and self._clock() < self._expires:
                return self._token
            if self._refusal and self._clock() < self._refusal[0]:
                raise SignInError(*self._refusal[1:])
            if self._app is None:
                authority = await self._authority()
                self._app = await asyncio.to_thread(self._create_app, authority)
            self._accept(await asyncio.to_thread(self._acquire))
            return self._token

    def refuse(self, token: str) -> None:
        """Dataverse answered 401 to this token: ask MSAL for another one."""
        if token == self._token:
            self._token = ""

    def _accept(self, answer: dict[str, Any]) -> None:
        if "access_token" in answer:
            lifetime = float(answer.get("expires_in", 3600))
            self._token = str(answer["access_token"])
            self._expires = self._clock() + max(lifetime - MARGIN_SECONDS, lifetime / 2)
            return
        error = str(answer.get("error", "unknown"))
        if error in _RETRYABLE:
            raise DataverseError("SignInUnavailable", f"Entra answered {error}", kind=Kind.TRANSIENT)
        numbers = [int(n) for n in answer.get("error_codes") or []]
        advice = next(
            (REMEDIES[n] for n in numbers if n in REMEDIES), "see the code in Microsoft's list of AADSTS codes"
        )
        code = f"AADSTS{numbers[0]}" if numbers else error
        raise self._refused(code, f"Entra refused the sign-in ({error}): {advice}")

    def _refused(self, code: str, message: str) -> SignInError:
        """Remember the refusal, so that nobody asks again at once."""
        self._refusal = (self._clock() + REFUSAL_SECONDS, code, message)
        return SignInError(code, message)

    def _create_app(self, authority: str) -> Any:
        import msal  # noqa: PLC0415  (with requests it costs a tenth of a second: only a cold sign-in pays it)

        try:
            return msal.ConfidentialClientApplication(
                self._settings.client_id,
                authority=authority,
                client_credential=self._settings.client_secret.get_secret_value(),
            )
        except Exception as error:  # noqa: BLE001  (MSAL raises requests' errors, ValueError and its own)
            raise DataverseError("SignInUnavailable", f"Entra: {type(error).__name__}", kind=Kind.TRANSIENT) from None

    def _acquire(self) -> dict[str, Any]:
        settings = self._settings
        scopes = [f"{settings.url}/.default"]
        try:
            if settings.auth == "client_secret":
                if not self._token:
                    self._app.remove_tokens_for_client()  # a refused token must not come back from the cache
                return dict(self._app.acquire_token_for_client(scopes))
            accounts = self._app.get_accounts(settings.username)
            silent = accounts and self._app.acquire_token_silent(scopes, accounts[0], force_refresh=not self._token)
            if silent and "access_token" in silent:
                return dict(silent)
            return dict(
                self._app.acquire_token_by_username_password(
                    settings.username, settings.password.get_secret_value(), scopes
                )
            )
        except OSError as error:  # what requests raises: nobody answered, or with nonsense
            raise DataverseError("SignInUnavailable", f"Entra: {type(error).__name__}", kind=Kind.TRANSIENT) from None
        except (RuntimeError, ValueError) as error:  # so a federated realm refuses: asking again could lock the account
            advice = "the federation server refused the sign-in: see DATAVERSE_AUTH=client_secret"
            raise self._refused(type(error).__name__, advice) from None

    async def _authority(self) -> str:
        """The tenant's authority: as set, by tenant id, or from Dataverse's own 401 challenge (dataverse.md 6.4)."""
        settings = self._settings
        if settings.authority:
            return settings.authority
        if settings.tenant_id:
            return f"https://login.microsoftonline.com/{settings.tenant_id}"
        try:
            response = await self._http.get("/api/data/v9.2/WhoAmI")
        except httpx.HTTPError as error:
            raise DataverseError("Unreachable", f"no answer: {type(error).__name__}", kind=Kind.TRANSIENT) from None
        if response.status_code == 429 or response.status_code >= 500:
            raise DataverseError(f"HTTP {response.status_code}", "no challenge to sign in", kind=Kind.TRANSIENT)
        found = _CHALLENGE.search(response.headers.get("WWW-Authenticate", ""))
        authority = found.group(1) if found else ""
        if httpx.URL(authority).host not in LOGIN_HOSTS:
            raise SignInError(
                "NoTenant",
                "DATAVERSE_URL did not name a known Microsoft login host: check it, or set DATAVERSE_TENANT_ID "
                "or DATAVERSE_AUTHORITY",
            )
        return authority
