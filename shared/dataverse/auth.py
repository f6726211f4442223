"""Dataverse's access token, by MSAL: one of four ways to sign in, chosen by DATAVERSE_AUTH (dataverse.md 6).

MSAL is synchronous, so it runs in a thread, one request at a time. A refusal is remembered for some minutes, as
repeated sign-ins with a wrong password lock the account.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from ..config.settings import DataverseSettings
from ..model.codes import Kind
from ..model.errors import ConfigurationError, DataverseError, SignInError
from ..transport.tokens import SharedToken
from . import authority, remedies

if TYPE_CHECKING:
    from .identity import Acquire

#: Entra's tokens are valid for at least some minutes. If one seems to have expired, this machine's clock is wrong (a
#: managed identity's answer has the time of expiry, not the seconds).
SHORTEST_LIFE = 60.0

#: An error of OAuth is a word; Entra's description of it may name users.
_WORD = re.compile(r"[a-z_]{1,40}")
_RETRYABLE = frozenset({"temporarily_unavailable", "request_timeout", "server_error"})


def _connect(settings: DataverseSettings, login: str) -> Acquire:
    # With requests and cryptography this takes a quarter of a second: only the first sign-in pays for it.
    from . import identity  # noqa: PLC0415

    return identity.connect(settings, login)


@dataclass(repr=False)
class DataverseAuth(SharedToken):
    """The token of one environment for one identity.

    `http`: a client of the environment, whose answer to a call without a token names the tenant.
    """

    margin = 120.0
    refusal_seconds = 300.0
    renewal_seconds = 10.0  # hundreds of callers may try to renew a token that Dataverse keeps refusing

    settings: DataverseSettings
    http: httpx.AsyncClient
    _: KW_ONLY
    connect: Callable[[DataverseSettings, str], Acquire] = _connect
    _acquire: Acquire | None = field(default=None, init=False)

    async def _sign_in(self) -> tuple[str, float]:
        try:
            if self._acquire is None:
                by_identity = self.settings.auth == "managed_identity"
                login = "" if by_identity else await authority.find(self.settings, self.http)
                self._acquire = await asyncio.to_thread(self.connect, self.settings, login)
            return self._judged(await asyncio.to_thread(self._acquire))
        except (SignInError, ConfigurationError):
            self._acquire = None  # the certificate's file, or the tenant, may have changed by the next time
            raise

    def _judged(self, answer: Mapping[str, Any]) -> tuple[str, float]:
        if "access_token" in answer:
            return str(answer["access_token"]), max(float(answer.get("expires_in", 3600)), SHORTEST_LIFE)
        error = str(answer.get("error", "unknown"))
        error = error if _WORD.fullmatch(error) else "unknown"
        if error in _RETRYABLE:
            raise DataverseError("SignInUnavailable", f"Entra answered {error}", kind=Kind.TRANSIENT)
        numbers = [int(number) for number in answer.get("error_codes") or []]
        by_identity = self.settings.auth == "managed_identity"
        raise SignInError(*remedies.refusal(error, numbers, managed_identity=by_identity))
