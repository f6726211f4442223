"""Marketo's access token: client credentials by POST form, Bearer header only (marketo.md 1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from pydantic import SecretStr

from shared.codes import Kind
from shared.errors import MarketoError, SignInError

#: Ask again this long before expiry. Asking earlier only returns the same token with what is left of its life.
MARGIN_SECONDS = 15.0
#: A token that is about to die is handed out until it is dead: wait and ask again, this often.
TRIES = 5


class MarketoAuth:
    """The one token of this client id, shared by all calls of the process."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        client_id: str,
        client_secret: SecretStr,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._http = http
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires = 0.0

    async def token(self) -> str:
        """A token that is good for some seconds at least.

        Raises SignInError when Marketo refuses the credentials, MarketoError when it does not answer.
        """
        async with self._lock:
            for _ in range(TRIES):
                if self._token and self._clock() < self._expires:
                    return self._token
                token, lifetime = await self._request()
                if lifetime > 1:
                    self._token = token
                    self._expires = self._clock() + max(lifetime - MARGIN_SECONDS, lifetime / 2)
                else:
                    await self._sleep(1 + lifetime)
            raise MarketoError("DyingToken", "identity keeps returning an expired token", kind=Kind.TRANSIENT)

    def refuse(self, token: str) -> None:
        """Marketo said 601 or 602 to this token: never use it again, whatever its clock says."""
        if token == self._token:
            self._token = ""

    async def _request(self) -> tuple[str, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._client_secret.get_secret_value(),
        }
        try:
            response = await self._http.post("/identity/oauth/token", data=form)
            if response.status_code in (400, 401):
                raise SignInError(
                    "MarketoSignIn",
                    "Marketo refused the client id or secret; compare MARKETO_CLIENT_ID and MARKETO_CLIENT_SECRET with "
                    "Admin > LaunchPoint > View Details of the custom service",
                )
            response.raise_for_status()
            answer = response.json()
            return str(answer["access_token"]), float(answer["expires_in"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise MarketoError(
                "IdentityUnavailable", f"Marketo identity did not answer properly: {type(error).__name__}",
                kind=Kind.TRANSIENT,
            ) from None  # fmt: skip
