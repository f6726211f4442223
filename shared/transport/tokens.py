"""One access token for all callers of the process, renewed when it expires or is refused."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from ..model.errors import ConfigurationError, MsiSyncError, SignInError, VendorError


class SharedToken(ABC):
    """Signs in once per token lifetime, however many ask, and remembers refusals.

    A token is renewed `margin` before it expires. After a refused sign-in, no other is tried for `refusal_seconds`. A
    token that the vendor refuses is renewed, but not again within `renewal_seconds`: if it refuses the new one too, a
    third would not help. Times are in seconds of `clock`.
    """

    def __init__(
        self, *, clock: Callable[[], float], margin: float, refusal_seconds: float, renewal_seconds: float
    ) -> None:
        self._clock = clock
        self._margin = margin
        self._refusal_seconds = refusal_seconds
        self._renewal_seconds = renewal_seconds
        self._lock = asyncio.Lock()
        self._token = ""
        self._good_until = 0.0
        self._renewed = float("-inf")
        self._failure: MsiSyncError | None = None
        self._failed_until = 0.0

    async def token(self) -> str:
        """A token that is valid for at least the margin, or for half of its lifetime if that is short.

        Raises SignInError with what to do about a refusal, ConfigurationError when there is nothing to sign in with,
        VendorError when the vendor does not answer.
        """
        asked = self._clock()
        async with self._lock:
            if self._token and self._clock() < self._good_until:
                return self._token
            if self._failure and asked < self._failed_until:
                raise self._failure.with_traceback(None)
            try:
                self._token, lifetime = await self._sign_in()
            except (SignInError, ConfigurationError) as error:
                self._remember(error, self._refusal_seconds)
                raise
            except VendorError as error:  # those who waited for this attempt fail with it, not one after the other
                self._remember(error, 0.0)
                raise
            self._good_until = self._clock() + max(lifetime - self._margin, lifetime / 2)
            return self._token

    def refuse(self, token: str) -> None:
        """The vendor refused this token: never use it again, whatever its clock says."""
        if token == self._token and self._clock() - self._renewed >= self._renewal_seconds:
            self._renewed = self._clock()
            self._token = ""

    @abstractmethod
    async def _sign_in(self) -> tuple[str, float]:
        """A new token and the seconds that it lives. Raises as `token` does."""

    def _remember(self, error: MsiSyncError, seconds: float) -> None:
        error.__context__ = None  # it may hold the request with the credentials
        self._failure = error
        self._failed_until = self._clock() + seconds
