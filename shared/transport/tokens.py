"""One access token for all callers of the process, renewed when it expires or is refused."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

from ..model.errors import ConfigurationError, MsiSyncError, SignInError, VendorError


@dataclass(repr=False)
class SharedToken(ABC):
    """Signs in once per token lifetime, however many ask, and remembers refusals. Times are in seconds of `clock`."""

    #: A token is renewed so long before it expires.
    margin: ClassVar[float]
    #: After a refused sign-in, no other is tried for so long.
    refusal_seconds: ClassVar[float]
    #: A token that the vendor refuses is renewed, but not again within this time: if it refuses the new one too, a
    #: third would not help.
    renewal_seconds: ClassVar[float]

    _: KW_ONLY
    clock: Callable[[], float]
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _token: str = field(default="", init=False)
    _good_until: float = field(default=0.0, init=False)
    _renewed: float = field(default=float("-inf"), init=False)
    _failure: MsiSyncError | None = field(default=None, init=False)
    _failed_until: float = field(default=0.0, init=False)

    async def token(self) -> str:
        """A token that is valid for at least the margin, or for half of its lifetime if that is short.

        Raises SignInError with what to do about a refusal, ConfigurationError when there is nothing to sign in with,
        VendorError when the vendor does not answer.
        """
        asked = self.clock()
        async with self._lock:
            if self._token and self.clock() < self._good_until:
                return self._token
            if self._failure and asked < self._failed_until:
                raise self._failure.with_traceback(None)
            try:
                self._token, lifetime = await self._sign_in()
            except (SignInError, ConfigurationError) as error:
                self._remember(error, self.refusal_seconds)
                raise
            except VendorError as error:  # those who waited for this attempt fail with it, not one after the other
                self._remember(error, 0.0)
                raise
            self._good_until = self.clock() + max(lifetime - self.margin, lifetime / 2)
            return self._token

    def refuse(self, token: str) -> None:
        """The vendor refused this token: never use it again, whatever its clock says."""
        if token == self._token and self.clock() - self._renewed >= self.renewal_seconds:
            self._renewed = self.clock()
            self._token = ""

    @abstractmethod
    async def _sign_in(self) -> tuple[str, float]:
        """A new token and the seconds that it lives. Raises as `token` does."""

    def _remember(self, error: MsiSyncError, seconds: float) -> None:
        error.__context__ = None  # it may hold the request with the credentials
        self._failure = error
        self._failed_until = self.clock() + seconds
