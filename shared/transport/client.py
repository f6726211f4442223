"""What the clients of both vendors have in common: how one call is made, and when it is made again.

A call is guarded by the circuit breaker, signed in, traced and counted. What an answer means is the vendor's own.
"""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import httpx

from ..model.codes import Kind
from ..model.errors import VendorError
from ..telemetry import spans
from . import call_count
from .tokens import SharedToken

log = logging.getLogger(__name__)

#: Tries of one call while the vendor is unwell, all within the same invocation.
TRANSIENT_TRIES = 3
#: More tries than any call makes.
UNLIMITED = 1_000

#: Errors of a call that never reached the vendor.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

Sleep = Callable[[float], Awaitable[None]]
#: Called in the moment when a call is sent, after all waiting. An error of it stops the call.
Begin = Callable[[], Awaitable[None]]


class Guard(Protocol):
    """Knows whether a vendor is away: the circuit breaker."""

    def call(self, system: str, *, of_records: bool = False) -> AbstractAsyncContextManager[int]:
        """Around a call of `system` with all its tries: gives how many it may have. Raises VendorError for none.

        `of_records`: it may fail because of the records in it; its caller finds out whether others would fail as well.
        """


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a vendor's API, with at most one of `content`, `form` and `json`.

    `repeatable`: it may be carried out twice. `refusals`: codes with which the vendor refuses no more than this
    request: it is not tried again, and no circuit opens. `begin`: set for requests that write records.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    form: Mapping[str, str] | None = None
    json: Mapping[str, Any] | None = None
    repeatable: bool = True
    refusals: frozenset[str] = frozenset()
    begin: Begin | None = None


@dataclass(repr=False)
class VendorClient(ABC):
    """Calls of one vendor's API. Without a `guard`, they are always made: those of an operator's commands."""

    #: The vendor's errors, which name it.
    error: ClassVar[type[VendorError]]
    #: The time that a call has, with all its tries, where the caller sets no deadline.
    timeout_seconds: ClassVar[float]
    #: Sent with every request.
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})
    #: Codes of other kinds that are tried again like those of a vendor that is unwell.
    also_transient: ClassVar[frozenset[str]] = frozenset()

    http: httpx.AsyncClient
    auth: SharedToken
    _: KW_ONLY
    clock: Callable[[], float]
    sleep: Sleep
    guard: Guard | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    @abstractmethod
    def _read(self, request: Request, response: httpx.Response, call: spans.Call) -> Any:
        """The value of an answer. Raises the vendor's error for one that is not success."""

    @abstractmethod
    def _pause(self, error: VendorError) -> float:
        """Seconds to wait after a call that came too early."""

    @abstractmethod
    def _may_repeat(self, request: Request, error: VendorError) -> bool:
        """Whether a request that failed like this may be sent again."""

    def _admitted(self, request: Request, deadline: float) -> AbstractAsyncContextManager[None]:  # noqa: ARG002
        """Around each try: waits until it may be sent. Raises the vendor's error when it may not."""
        return nullcontext()

    async def _on_error(self, error: VendorError) -> None:  # noqa: B027  (most have nothing to do)
        """After each try that failed."""

    async def _call(self, request: Request, deadline: float | None = None, tries: int = TRANSIENT_TRIES) -> Any:
        """One call, tried again as its kind of error allows, never past `deadline` (of the injected clock)."""
        of_records = request.begin is not None
        guarded = self.guard.call(self.error.system, of_records=of_records) if self.guard else nullcontext(UNLIMITED)
        async with guarded as most:
            try:
                return await self._tried(request, deadline, min(tries, most))
            except VendorError as error:
                if error.code not in request.refusals:
                    raise
                refused = error
        raise refused

    async def _tried(self, request: Request, deadline: float | None, tries: int) -> Any:
        deadline = self.clock() + self.timeout_seconds if deadline is None else deadline
        refreshed = False
        tried = 0
        while True:
            token = await self.auth.token()
            try:
                async with self._admitted(request, deadline):
                    return await self._send(request, token)
            except VendorError as error:
                tried += 1
                await self._on_error(error)
                if error.kind is Kind.TOKEN and not refreshed:
                    refreshed = True
                    self.auth.refuse(token)
                    continue
                again = error.code not in request.refusals and self._may_repeat(request, error)
                wait = self._wait(error, tried, tries) if again else None
                if wait is None or self.clock() + wait >= deadline:
                    raise
                endpoint = spans.endpoint_of(request.url)
                log.info("%s_wait endpoint=%s code=%s seconds=%.1f", error.system, endpoint, error.code, wait)
                await self.sleep(wait)

    def _wait(self, error: VendorError, tried: int, tries: int) -> float | None:
        """Seconds until the next try; None for no other."""
        if error.kind is Kind.THROTTLED:
            return self._pause(error)
        if (error.kind is Kind.TRANSIENT or error.code in self.also_transient) and tried < tries:
            return max(random.uniform(0.5, 1.0) * (1 << tried), error.retry_after or 0.0)  # noqa: S311  (jitter)
        return None

    async def _send(self, request: Request, token: str) -> Any:
        headers = {**self.headers, **request.headers, "Authorization": f"Bearer {token}"}
        with spans.calling(self.error.system, request.method, request.url) as call:
            call_count.count(self.error.system)
            try:
                response = await self.http.request(
                    request.method, request.url, headers=headers,
                    content=request.content, data=request.form, json=request.json,
                )  # fmt: skip
            except httpx.HTTPError as error:
                raise self.error(
                    "Unreachable", f"no answer: {type(error).__name__}", kind=Kind.TRANSIENT,
                    at_work=not isinstance(error, _NOT_SENT),
                ) from None  # fmt: skip
            return self._read(request, response, call)
