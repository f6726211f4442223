"""Who may see and do what in the console: every request passes here, before any page.

A browser has other sites' pages open beside the console, and other users of this machine can connect to 127.0.0.1. So
each request must name the console's own host (no DNS rebinding) and be let in by an `Access`; and one that does
something must come from one of the console's own pages, with the token of its form. Answers may not be framed, cached
or combined with scripts and styles of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Protocol
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Of every answer. The pages need nothing from elsewhere, and no script or style that is not a file of the console.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    # Not no-referrer: browsers would then send `Origin: null` with the console's own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
#: What is served to anybody: the style of the page that says why nobody is let in.
PUBLIC = "/static/"
#: The longest body of a form.
MOST_BYTES = 1_000_000
#: The field of a form that holds its token.
CSRF = "csrf"

Form = ImmutableMultiDict[str, str]


class RefusedError(Exception):
    """A request that is not let in: the HTTP status, and for people what is wrong and what to do about it."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(title)
        self.status, self.title, self.text = status, title, text


@dataclass(frozen=True, slots=True)
class Operator:
    """Who is in front of the browser. `may_act`: whether for more than looking. `csrf`: the token of all its forms."""

    name: str
    may_act: bool
    csrf: str = field(repr=False)


class Access(Protocol):
    """Whom the console is for. One for the operator of this machine (local.py); a hosted console has another."""

    @property
    def hosts(self) -> frozenset[str]:
        """What the header Host may say, with the port."""
        ...

    @property
    def origins(self) -> frozenset[str]:
        """What the header Origin may say: scheme and host of the console's own pages."""
        ...

    def admit(self, request: Request) -> Operator | Response:
        """Who sends this request, or an answer that lets somebody in. Raises RefusedError."""
        ...


class Guard:
    """The outermost part of the console. `refuse` makes a page of a RefusedError.

    What it lets through has `state.operator` and, where it does something, `state.form`.
    """

    def __init__(self, app: ASGIApp, access: Access, refuse: Callable[[RefusedError], Response]) -> None:
        self.app, self.access, self.refuse = app, access, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":  # the start and the end of the server; there are no WebSockets
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Request(scope, receive)
        try:
            answer: ASGIApp = await self._admitted(request) or self.app
        except RefusedError as refused:
            answer = self.refuse(refused)
        except ClientDisconnect:
            return
        await answer(scope, receive, guarded)

    async def _admitted(self, request: Request) -> Response | None:
        if request.headers.get("host", "").lower() not in self.access.hosts:
            raise RefusedError(
                421, "Wrong host", "This is the console of msisync, and it answers to its own address alone."
            )
        if request.method not in ("GET", "HEAD", "POST"):
            raise RefusedError(405, "Not understood", "The console has pages and forms, nothing else.")
        if request.url.path.startswith(PUBLIC):
            return None
        if request.method == "POST":
            check_origin(request, self.access.origins)
        operator = self.access.admit(request)
        if isinstance(operator, Response):
            return operator
        request.state.operator = operator
        if request.method == "POST":
            request.state.form = await form_of(request)
            check_form(request.state.form, operator)
        return None


def check_origin(request: Request, origins: frozenset[str]) -> None:
    """Raise RefusedError unless a page of the console sends this: browsers say so in one header or the other."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in (None, "same-origin") or origin not in (*origins, None) or (site is None and origin is None):
        raise RefusedError(403, "From another site", "Nothing was done: only the console's own pages may ask for that.")


def check_form(form: Form, operator: Operator) -> None:
    """Raise RefusedError for who may only look, and for a form that no page of this session has shown."""
    if not operator.may_act:
        raise RefusedError(
            403, "For operators", "Nothing was done: your role lets you look at everything and change nothing."
        )
    if not equal(form.get(CSRF, ""), operator.csrf):
        raise RefusedError(403, "An old page", "Nothing was done: the form is of another session. Open the page anew.")


async def form_of(request: Request) -> Form:
    """The fields of a form, as browsers send them without files. Raises RefusedError."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise RefusedError(413, "Too much", "Nothing was done: choose fewer at once, or all that match a filter.")
    return ImmutableMultiDict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def equal(given: str, wanted: str) -> bool:
    """Whether somebody knows a secret, in a time that tells nothing of it; nobody knows an empty one."""
    return bool(wanted) and compare_digest(given.encode(), wanted.encode())
