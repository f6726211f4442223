"""Marketo's access token: client credentials by POST form, Bearer header only (marketo.md 1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass

import httpx
from pydantic import SecretStr

from ..model.codes import Kind
from ..model.errors import MarketoError, SignInError
from ..transport.retry_after import retry_after
from ..transport.tokens import SharedToken

#: Marketo returns a token until it expires: one that is about to is waited out and asked for again, this often.
TRIES = 5


@dataclass(repr=False)
class MarketoAuth(SharedToken):
    """The one token of this client id: Marketo gives the same to all who ask, until it expires."""

    margin = 15.0
    refusal_seconds = 60.0  # a wrong id or secret stays wrong until an operator fixes it
    renewal_seconds = 0.0  # tokens may be revoked at any time, and signing in again locks no account

    http: httpx.AsyncClient
    client_id: str
    client_secret: SecretStr
    _: KW_ONLY
    sleep: Callable[[float], Awaitable[None]]

    async def _sign_in(self) -> tuple[str, float]:
        for _ in range(TRIES):
            token, lifetime = await self._request()
            if lifetime > 1:
                return token, lifetime
            await self.sleep(1 + max(lifetime, 0.0))
        raise MarketoError("DyingToken", "identity keeps returning an expired token", kind=Kind.TRANSIENT)

    async def _request(self) -> tuple[str, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret.get_secret_value(),
        }
        wait: float | None = None
        try:
            response = await self.http.post("/identity/oauth/token", data=form)
            if response.status_code in (400, 401):
                raise SignInError(
                    "MarketoSignIn",
                    "Marketo refused the client id or secret; compare MARKETO_CLIENT_ID and MARKETO_CLIENT_SECRET with "
                    "Admin > LaunchPoint > View Details of the custom service",
                )
            wait = retry_after(response.headers)
            response.raise_for_status()
            answer = response.json()
            return str(answer["access_token"]), float(answer["expires_in"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise MarketoError(
                "IdentityUnavailable", f"Marketo identity did not answer properly: {type(error).__name__}",
                kind=Kind.TRANSIENT, retry_after=wait,
            ) from None  # fmt: skip
