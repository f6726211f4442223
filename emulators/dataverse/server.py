"""Serves one environment: the two vendor hosts over TLS on one port, the control API over plain HTTP on another.

The app's identity endpoint, which App Service offers over plain HTTP too, is on the control port.
"""

import asyncio
import ssl
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web

from emulators.dataverse import constants, control, errors, managed_identity, sample, seeding
from emulators.dataverse.assertions import ClientCertificate
from emulators.dataverse.delivery import Delivery, QueueSender, ServiceBusQueueSender
from emulators.dataverse.environment import Environment, Fault
from emulators.dataverse.events import EventPipeline
from emulators.dataverse.login import Login
from emulators.dataverse.messages import ApiRequest, ApiResponse, error_response
from emulators.dataverse.webapi import WebApi

_LARGEST_LINE: Final = 256 * 1024  # so that too long URLs are answered by the API, not by the HTTP parser
_LARGEST_BODY: Final = 128 * 1024 * 1024


class Simulator:
    """An environment with everything that serves it. Start it, read the ports, stop it.

    `client_certificate` is the PEM of the certificate that the app registration has beside its secret.
    """

    def __init__(
        self,
        *,
        service_bus: str | None = None,
        empty: bool = False,
        environment: Environment | None = None,
        queues: QueueSender | None = None,
        client_certificate: bytes | None = None,
    ) -> None:
        self.environment = environment or Environment()
        if queues is None and service_bus is not None:
            queues = ServiceBusQueueSender(service_bus)
        self.delivery = Delivery(self.environment, queues)
        certificate = None if client_certificate is None else ClientCertificate(client_certificate)
        self.login = Login(self.environment, certificate)
        self.events = EventPipeline(self.environment, self.delivery)
        self.web_api = WebApi(self.environment, self.login, self.events)
        self._empty = empty
        self._runners: list[web.ServerRunner | web.AppRunner] = []
        self.port = 0
        self.control_port = 0

    async def start(self, tls: ssl.SSLContext, port: int = 0, control_port: int = 0) -> None:
        """Fill the store and listen on 127.0.0.1; port 0 chooses a free one."""
        seeding.reset(self.environment)
        if not self._empty:
            sample.load(self.environment)
        await self.delivery.start()
        server = web.Server(
            self._handle, request_factory=_large_request, max_line_size=_LARGEST_LINE, max_field_size=_LARGEST_LINE
        )
        self.port = await self._listen(web.ServerRunner(server, shutdown_timeout=0.5), port, tls)
        application = control.application(self.environment, self.events, self.delivery)
        application.router.add_get(constants.IDENTITY_PATH, managed_identity.IdentityEndpoint(self.login).token)
        runner = web.AppRunner(application, shutdown_timeout=0.5, access_log=None)
        self.control_port = await self._listen(runner, control_port, None)

    async def stop(self) -> None:
        """Stop listening and posting."""
        for runner in self._runners:
            await runner.cleanup()
        await self.delivery.stop()

    async def _listen(self, runner: web.ServerRunner | web.AppRunner, port: int, tls: ssl.SSLContext | None) -> int:
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        bound: int = runner.addresses[0][1]
        return bound

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        fault = self.environment.fault_for(request.method, unquote(target))
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        if _host(headers) == constants.ORGANIZATION_HOST:
            self.environment.stats.call(request.method, unquote(request.path))
        response = await self._faulty(request, ApiRequest(request.method, target, headers, body), fault)
        date = _http_date(int(self.environment.now()))
        return web.Response(status=response.status, headers={"Date": date, **response.headers}, body=response.body)

    async def _faulty(self, request: web.BaseRequest, content: ApiRequest, fault: Fault | None) -> ApiResponse:
        """Answer with the fault planned for the request, if there is one: instead, or after what was asked for."""
        if fault is None:
            return await self._answer(content)
        if fault.when == "before":
            failed = await self._fail(request, fault)
            return await self._answer(content) if failed is None else failed
        response = await self._answer(content)
        return await self._fail(request, fault) or response

    async def _fail(self, request: web.BaseRequest, fault: Fault) -> ApiResponse | None:
        """Let the fault strike; None where it only holds the request."""
        if fault.status == "hold":
            await self.environment.gates[fault.gate].arrive()
            return None
        if fault.status == "hang":
            await asyncio.sleep(fault.seconds)
        if isinstance(fault.status, str):
            if request.transport is not None:
                request.transport.abort()
            return ApiResponse(200)
        headers = fault.headers(self.environment.now())
        return error_response(errors.ApiError(fault.status, fault.code, fault.message, headers))

    async def _answer(self, request: ApiRequest) -> ApiResponse:
        host = _host(request.headers)
        if host == constants.ORGANIZATION_HOST:
            return await self.web_api.handle(request)
        if host == constants.LOGIN_HOST:
            return self.login.handle(request)
        return ApiResponse(421, {"Content-Type": "text/plain"}, b"No such host")


def _host(headers: Mapping[str, str]) -> str:
    return headers.get("host", "").partition(":")[0].lower()


def _large_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY)


@lru_cache(maxsize=1)
def _http_date(epoch: int) -> str:
    """The Date header, by the simulator's clock; many requests share a second."""
    return formatdate(epoch, usegmt=True)
