"""For tests: a simulator inside the test's own process, and clients that reach it under the vendors' host names."""

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import requests
import trustme
from requests.adapters import HTTPAdapter

from emulators.dataverse import constants
from emulators.dataverse.columns import LOOKUP_TABLE
from emulators.dataverse.delivery import PostError
from emulators.dataverse.messages import ApiRequest, ApiResponse
from emulators.dataverse.notifications import Notification
from emulators.dataverse.seeding import fixed_id, message_id
from emulators.dataverse.server import Simulator
from emulators.dataverse.store import Row
from emulators.servicebus.sas import POLICIES

HOSTS = (constants.LOGIN_HOST, constants.ORGANIZATION_HOST)


@dataclass
class RecordingQueues:
    """A queue sender that keeps what it is given, and fails as often as it is told to."""

    sent: list[tuple[str, Notification]] = field(default_factory=list)
    failures: int = 0

    async def send(self, endpoint: Row, notifications: Sequence[Notification]) -> None:
        """Keep the notifications, or raise PostError."""
        if self.failures > 0:
            self.failures -= 1
            raise PostError("The queue is not available.", transient=True)
        self.sent += [(endpoint["path"], notification) for notification in notifications]

    async def close(self) -> None:
        """Nothing to let go."""

    def bodies(self) -> list[dict[str, Any]]:
        """What was posted, parsed."""
        return [json.loads(notification.json()) for _, notification in self.sent]


class VendorTransport(httpx.AsyncBaseTransport):
    """Takes requests for the vendors' hosts to the simulator's port, TLS and host name included."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self._port = port
        self._inner = httpx.AsyncHTTPTransport(verify=trust)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send to 127.0.0.1, with the vendor's name in the handshake."""
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class VendorAdapter(HTTPAdapter):
    """The same for `requests`, which MSAL uses; one adapter serves one host."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Ask for, and check, the vendor's name."""
        super().init_poolmanager(*args, **kwargs, server_hostname=self._host, assert_hostname=self._host)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send to 127.0.0.1."""
        request.headers["Host"] = self._host
        request.url = str(request.url).replace(f"https://{self._host}", f"https://127.0.0.1:{self._port}", 1)
        return super().send(request, *args, **kwargs)


class Running:
    """A started simulator with its certificates."""

    def __init__(self, simulator: Simulator, authority: trustme.CA) -> None:
        self.simulator = simulator
        self.environment = simulator.environment
        self._authority = authority
        self.control_url = f"http://127.0.0.1:{simulator.control_port}"

    def transport(self) -> VendorTransport:
        """An httpx transport to both vendor hosts."""
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(trust)
        return VendorTransport(self.simulator.port, trust)

    def session(self, ca_file: str) -> requests.Session:
        """A `requests` session for MSAL's http_client; the CA is written to `ca_file`."""
        self._authority.cert_pem.write_to_path(ca_file)
        session = requests.Session()
        session.trust_env = False
        session.verify = ca_file
        for host in HOSTS:
            session.mount(f"https://{host}", VendorAdapter(host, self.simulator.port))
        return session

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = "", **headers: str
    ) -> "Answer":
        """Ask the Web API without a socket, as the sync user unless a token is given (None: no token)."""
        if token == "":
            token = self.access_token()
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            all_headers["authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = ApiRequest(method, f"/api/data/v9.2/{path}", all_headers, content)
        return Answer(await self.simulator.web_api.handle(request))

    def access_token(self) -> str:
        """Sign the sync user in, past the counters."""
        return self.simulator.login.access_token_for(constants.USERNAME)


class Answer:
    """A response, with its JSON at hand."""

    def __init__(self, response: ApiResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.body

    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The Dataverse error code."""
        return str(self.json()["error"]["code"])

    @property
    def row_id(self) -> str:
        """The id in OData-EntityId."""
        return self.headers["OData-EntityId"].rpartition("(")[2].rstrip(")")


def registration(table: str, *, queue: str = "changes", watched: str = "") -> dict[str, list[Row]]:
    """Rows for `seed`: an endpoint for the queue, and steps that post each change of a table's rows.

    An update is posted when it touches one of the `watched` columns; without them, always. A deletion has a pre-image.
    """
    policy = "SendOnly"
    endpoint = {
        "serviceendpointid": fixed_id("serviceendpoint"),
        "name": "Changes",
        "contract": 6,
        "authtype": 2,
        "connectionmode": 1,
        "messageformat": 2,
        "namespaceformat": 2,
        "namespaceaddress": "sb://contoso-sync.servicebus.windows.net/",
        "solutionnamespace": "contoso-sync",
        "path": queue,
        "saskeyname": policy,
        "saskey": POLICIES[policy].key,
        "userclaim": 2,
    }
    steps = [
        {
            "sdkmessageprocessingstepid": fixed_id("step", message, table),
            "name": f"{table} {message}",
            "stage": 40,
            "mode": 1,
            "rank": 1,
            "asyncautodelete": True,
            "filteringattributes": watched if message == "Update" else "",
            "_eventhandler_value": endpoint["serviceendpointid"],
            "_eventhandler_value" + LOOKUP_TABLE: "serviceendpoint",
            "_sdkmessageid_value": message_id(message),
            "_sdkmessagefilterid_value": fixed_id("sdkmessagefilter", message, table),
        }
        for message in ("Create", "Update", "Delete")
    ]
    image = {
        "sdkmessageprocessingstepimageid": fixed_id("image", table),
        "name": "pre",
        "entityalias": "pre",
        "imagetype": 0,
        "messagepropertyname": "Target",
        "_sdkmessageprocessingstepid_value": fixed_id("step", "Delete", table),
    }
    return {
        "serviceendpoint": [endpoint],
        "sdkmessageprocessingstep": steps,
        "sdkmessageprocessingstepimage": [image],
    }


@cache
def _certificates() -> tuple[trustme.CA, ssl.SSLContext]:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(tls)
    return authority, tls


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Running]:
    """Start a simulator on free ports; the options are those of `Simulator`."""
    authority, tls = _certificates()
    simulator = Simulator(**options)
    await simulator.start(tls)
    try:
        yield Running(simulator, authority)
    finally:
        await simulator.stop()
