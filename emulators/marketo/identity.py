"""Marketo's identity service: one shared token per custom service."""

import math
import uuid
from collections.abc import Callable

from emulators.marketo.errors import CallError

CLIENT_ID = "c5a1b1f6-6f6f-4c53-9a53-7b1a5f0a1d11"
CLIENT_SECRET = "local-marketo-secret"
API_USER = "api.user@contoso.example"
DEFAULT_LIFETIME = 3600.0


class InvalidClientError(Exception):
    """Unknown client id or wrong secret: the only HTTP 401 that Marketo answers."""


class Identity:
    """Issues the token of the one custom service and judges the tokens that calls carry."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._expiry: dict[str, float] = {}
        self._current: str | None = None

    def issue(self, client_id: str, client_secret: str, *, lifetime: float = DEFAULT_LIFETIME) -> tuple[str, int]:
        """Return the token and its remaining seconds; the same token until it has expired.

        The remaining seconds are rounded down, so a dying token is handed out with 0.

        Raises:
            InvalidClientError: id or secret is wrong.
        """
        if (client_id, client_secret) != (CLIENT_ID, CLIENT_SECRET):
            raise InvalidClientError
        now = self._clock()
        if self._current is None or self._expiry.get(self._current, now) <= now:
            self._current = f"{uuid.uuid4()}:int"
            self._expiry[self._current] = now + lifetime
        return self._current, max(0, math.ceil(self._expiry[self._current] - now) - 1)

    def check(self, token: str) -> None:
        """Accept a live token.

        Raises:
            CallError: 602 the first time that one comes which has expired, 601 from then on and for any other.
        """
        expiry = self._expiry.get(token)
        if expiry is None:
            raise CallError("601")
        if expiry <= self._clock():
            del self._expiry[token]
            raise CallError("602")

    def revoke(self) -> None:
        """Make every token issued so far invalid."""
        self._expiry.clear()
        self._current = None
