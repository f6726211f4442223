"""The console on the operator's own machine: whoever has the address that the command printed, once, is the operator.

The token of that address is exchanged for a cookie that no script and no other site can use, and is of no use then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_urlsafe

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from .security import Operator, RefusedError, equal

HOST = "127.0.0.1"
#: Where the token is exchanged.
OPEN = "/open"


@dataclass
class LocalAccess:
    """Lets in the browser that comes first with the token. `name`: who runs the command."""

    name: str
    port: int
    _token: str = field(default_factory=token_urlsafe, repr=False)
    _session: str = field(default="", init=False, repr=False)
    _csrf: str = field(default_factory=token_urlsafe, init=False, repr=False)

    @property
    def hosts(self) -> frozenset[str]:
        """This machine, by both of its names."""
        return frozenset({f"{HOST}:{self.port}", f"localhost:{self.port}"})

    @property
    def origins(self) -> frozenset[str]:
        """The same, as browsers name the site of a page."""
        return frozenset(f"http://{host}" for host in self.hosts)

    @property
    def address(self) -> str:
        """The address that lets in once. It is for the operator's eyes: never log it."""
        return f"http://{HOST}:{self.port}{OPEN}?token={self._token}"

    @property
    def _cookie(self) -> str:
        """Cookies do not tell ports apart: two consoles have two."""
        return f"msisync_{self.port}"

    def admit(self, request: Request) -> Operator | Response:
        """Who has the cookie, or the cookie for who has the token. Raises RefusedError."""
        if request.url.path == OPEN and request.method == "GET":
            return self._opened(request.query_params.get("token", ""))
        if equal(request.cookies.get(self._cookie, ""), self._session):
            return Operator(self.name, may_act=True, csrf=self._csrf)
        raise RefusedError(
            401,
            "Not signed in",
            "Open the address that msisync console has printed. It works once: if it is used up, stop the command with "
            "Ctrl-C and start it again. If you have just come from another site, choose Overview below.",
        )

    def _opened(self, token: str) -> Response:
        if not equal(token, self._token):
            raise RefusedError(
                403,
                "The address is used up",
                "It works once. A browser that has used it may stay in: choose Overview below. For a new address, stop "
                "the command with Ctrl-C and start it again.",
            )
        self._token, self._session = "", token_urlsafe()
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        return answer
