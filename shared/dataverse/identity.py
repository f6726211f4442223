"""The four ways to sign in to Entra, each with its MSAL client. Import it late: MSAL loads slowly.

MSAL keeps the refresh token; only transport/tokens.py keeps the access token, so each call here asks Entra.

azure-identity would not make this shorter: its credentials keep returning a cached token that Dataverse has refused,
and give Entra's error numbers only in a text; MSAL would remain for the password flow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msal
import requests
from msal.exceptions import MsalError
from msal.managed_identity import DEFAULT_TO_VM, get_managed_identity_source

from ..config.settings import DataverseSettings
from ..model.codes import Kind
from ..model.errors import DataverseError, SignInError
from ..transport.retry_after import retry_after
from . import certificate
from .authority import allowed_hosts

#: Seconds to connect and to answer. MSAL has no time-outs.
TIMEOUT = (10.0, 30.0)
#: The identity endpoint of a virtual machine answers on the local link, or does not exist.
LINK_TIMEOUT = (2.0, 30.0)

#: Asks for a new token, in a thread; the answer is MSAL's.
Acquire = Callable[[], Mapping[str, Any]]
_UNWELL = frozenset({429, 502, 503, 504})


def connect(settings: DataverseSettings, authority: str) -> Acquire:
    """What signs in as DATAVERSE_AUTH says. Asks the authority for its endpoints, except for a managed identity.

    Raises as its result does: SignInError, ConfigurationError (the certificate), DataverseError (no answer).
    """
    if settings.auth == "managed_identity":
        return managed_identity(settings)
    session = Session(allowed_hosts(authority))
    credential: Any = settings.client_secret.get_secret_value()
    if settings.auth == "certificate":
        credential = certificate.read(
            settings.client_certificate.get_secret_value(),
            settings.client_certificate_password.get_secret_value(),
            now=datetime.now(UTC),
        )
    app = _application(settings.client_id, credential, authority, session)
    return by_password(app, settings) if settings.auth == "password" else by_application(app, settings)


def by_password(app: Any, settings: DataverseSettings) -> Acquire:
    """Resource owner password: by the refresh token while there is one, as MSAL's password call never uses it."""
    scopes = [f"{settings.url}/.default"]

    def acquire() -> dict[str, Any]:
        with _refusals():
            accounts = app.get_accounts(settings.username)
            renewed = accounts and app.acquire_token_silent(scopes, accounts[0], force_refresh=True)
            if renewed and "access_token" in renewed:
                return dict(renewed)
            password = settings.password.get_secret_value()
            return dict(app.acquire_token_by_username_password(settings.username, password, scopes))

    return acquire


def by_application(app: Any, settings: DataverseSettings) -> Acquire:
    """Client credentials, with a secret or a certificate."""

    def acquire() -> dict[str, Any]:
        with _refusals():
            app.remove_tokens_for_client()  # otherwise MSAL would return the one that Dataverse has refused
            return dict(app.acquire_token_for_client([f"{settings.url}/.default"]))

    return acquire


def managed_identity(settings: DataverseSettings) -> Acquire:
    """The app's identity in Azure. Its endpoint caches tokens, so a renewal may return the same one."""
    given: Any = msal.SystemAssignedManagedIdentity()
    if settings.client_id:
        given = msal.UserAssignedManagedIdentity(client_id=settings.client_id)
    on_machine = get_managed_identity_source() is DEFAULT_TO_VM
    session = Session(None, LINK_TIMEOUT if on_machine else TIMEOUT)
    session.trust_env = False  # the endpoint is on this machine: no proxy

    def acquire() -> dict[str, Any]:
        client = msal.ManagedIdentityClient(given, http_client=session)  # with an empty cache
        try:
            with _refusals():
                return dict(client.acquire_token_for_client(resource=settings.url))
        except DataverseError as error:
            if not on_machine or error.code != "SignInUnreachable":
                raise
        raise SignInError(
            "NoManagedIdentity",
            "there is no managed identity here (IDENTITY_ENDPOINT is not set): in Azure, switch the app's identity on; "
            "elsewhere use DATAVERSE_AUTH=client_secret, certificate or password",
        )

    return acquire


class Session(requests.Session):
    """MSAL's HTTP session, with time-outs, for `hosts` only (None: for the identity endpoint that Azure names)."""

    def __init__(self, hosts: frozenset[str] | None, timeout: tuple[float, float] = TIMEOUT) -> None:
        super().__init__()
        self.headers["Connection"] = "close"  # the next sign-in is in an hour
        self._hosts = hosts
        self._timeout = timeout

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request or follow one redirect. Raises SignInError (a foreign host), DataverseError (no answer)."""
        url = urlsplit(str(request.url))
        if self._hosts is not None and (url.scheme != "https" or url.hostname not in self._hosts):
            raise SignInError(
                "ForeignHost",
                f"the login host leads on to {url.hostname}, which is no known Microsoft login host and gets no "
                "credentials. A user of a federated domain cannot sign in like this: use a cloud-only account "
                "(user@<tenant>.onmicrosoft.com), or DATAVERSE_AUTH=client_secret or certificate",
            )
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        try:
            response = super().send(request, **kwargs)
        except OSError as error:
            raise _unwell("SignInUnreachable", type(error).__name__) from None
        if response.status_code in _UNWELL:
            wait = retry_after(response.headers)
            raise _unwell("SignInUnavailable", f"HTTP {response.status_code}", retry_after=wait)
        return response


def _application(client_id: str, credential: Any, authority: str, session: Session) -> Any:
    try:
        return msal.ConfidentialClientApplication(
            client_id,
            authority=authority,
            client_credential=credential,
            http_client=session,
            # Both would use hosts that are neither Microsoft's nor set by the operator.
            instance_discovery=False,
            azure_region=msal.ConfidentialClientApplication.DISABLE_MSAL_FORCE_REGION,
        )
    except ValueError as error:
        if isinstance(error.__context__, json.JSONDecodeError):
            raise _unwell("SignInUnavailable", "no JSON") from None
        raise SignInError(
            "UnknownTenant", "the login host knows no such tenant: check DATAVERSE_TENANT_ID or DATAVERSE_AUTHORITY"
        ) from None
    except (MsalError, KeyError, TypeError, AttributeError) as error:
        raise _unwell("SignInUnavailable", type(error).__name__) from None


@contextmanager
def _refusals() -> Iterator[None]:
    """MSAL returns Entra's refusals as values, but raises for a federated realm and for unreadable answers."""
    try:
        yield
    except (MsalError, json.JSONDecodeError) as error:
        raise _unwell("SignInUnavailable", type(error).__name__) from None
    except (RuntimeError, ValueError) as error:  # trying again could lock the account
        raise SignInError(
            type(error).__name__,
            "the sign-in cannot be done like this (a federated user?): use a cloud-only account "
            "(user@<tenant>.onmicrosoft.com), or DATAVERSE_AUTH=client_secret or certificate",
        ) from None


def _unwell(code: str, what: str, retry_after: float | None = None) -> DataverseError:
    return DataverseError(code, f"Entra: {what}", kind=Kind.TRANSIENT, retry_after=retry_after)
