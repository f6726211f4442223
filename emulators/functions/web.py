"""The host's HTTP side: HTTP triggers, the admin API of the real host, and a few calls of our own for tests."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiohttp import web

from emulators.functions import usage
from emulators.functions.channel import FunctionError
from emulators.functions.instances import Counters, Instances
from emulators.functions.routes import Keys, Routes
from emulators.functions.settings import HostError
from emulators.functions.timers import timer_invocation
from emulators.functions.triggers import HttpTrigger, TimerTrigger, Trigger
from emulators.functions.wire import Invocation, Typed

logger = logging.getLogger("emulators.functions.http")

#: FUNCTIONS_REQUEST_BODY_SIZE_LIMIT's default on the real host.
BODY_LIMIT = 104_857_600

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebSide:
    """Serves `/{prefix}/…` and `/admin/…`. `accepting` is cleared when the host begins to stop."""

    def __init__(self, triggers: Mapping[str, Trigger], prefix: str, keys: Keys, instances: Instances) -> None:
        self.accepting = True
        self._triggers = triggers
        self._keys = keys
        self._instances = instances
        self._routes = Routes([each for each in triggers.values() if isinstance(each, HttpTrigger)], prefix)
        self._host_id = uuid.uuid4().hex
        self._started = asyncio.get_running_loop().time()
        self._host_cpu_before = usage.cpu_seconds()
        self._background: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_get("/admin/host/ping", self._ping)
        app.router.add_get("/admin/host/status", self._for_admins(self._status))
        app.router.add_post("/admin/functions/{name}", self._for_admins(self._run_function))
        control = "/admin/local/functions/{name}/{action:start|stop|kill}"
        app.router.add_post(control, self._for_admins(self._control))
        app.router.add_get("/admin/local/stats", self._for_admins(self._stats))
        app.router.add_post("/admin/local/stats/reset", self._for_admins(self._reset_stats))
        app.router.add_post("/admin/local/profile/{action:start|stop}", self._for_admins(self._profile))
        app.router.add_route("*", "/{path:.*}", self._call_function)
        return app

    def _for_admins(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._keys.opens("admin", _shown_key(request)):
                return web.Response(status=401)
            return await handler(request)

        return guarded

    async def _call_function(self, request: web.Request) -> web.StreamResponse:
        found = self._routes.find(request.method, request.path)
        if found is None:
            return web.Response(status=404)
        trigger, parameters = found
        if not self._keys.opens(trigger.level, _shown_key(request)):
            return web.Response(status=401)
        if not self.accepting:
            return web.Response(status=503)
        invocation = await _http_invocation(trigger.function, request, parameters)
        try:
            result = await self._instances.invoke(invocation)
        except FunctionError as error:
            logger.warning("function %s failed: %s", trigger.function, error)
            return web.Response(status=500)
        return _response(result)

    async def _run_function(self, request: web.Request) -> web.StreamResponse:
        trigger = self._triggers.get(request.match_info["name"])
        if trigger is None:
            return web.Response(status=404)
        if not isinstance(trigger, TimerTrigger):
            text = (
                "Only timer functions can be run here: call an HTTP function's route, send to a queue function's queue."
            )
            return web.json_response({"message": text}, status=400)
        if not self.accepting:
            return web.Response(status=503)
        invocation = timer_invocation(trigger.function, past_due=False, last=None, following=None)
        if request.query.get("wait") == "1":
            try:
                await self._instances.invoke(invocation)
            except FunctionError as error:
                return web.json_response({"message": str(error)}, status=500)
            return web.Response(status=200)
        task = asyncio.create_task(self._run_unwatched(invocation))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return web.Response(status=202)

    async def _run_unwatched(self, invocation: Invocation) -> None:
        try:
            await self._instances.invoke(invocation)
        except FunctionError as error:
            logger.warning("function %s failed: %s", invocation.function, error)

    async def idle(self) -> None:
        """Return when the runs that were started with 202 are over."""
        await asyncio.gather(*self._background)

    async def _ping(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=200)

    async def _status(self, _request: web.Request) -> web.StreamResponse:
        uptime = asyncio.get_running_loop().time() - self._started
        state = "Running" if self.accepting else "Stopping"
        return web.json_response({"id": self._host_id, "state": state, "processUptime": int(uptime * 1000)})

    async def _control(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._instances.control(request.match_info["name"], request.match_info["action"])
        except HostError as error:
            return web.json_response({"message": str(error)}, status=409)
        return web.json_response({"workers": self._instances.pids()})

    async def _stats(self, _request: web.Request) -> web.StreamResponse:
        counters = self._instances.counters
        workers = await self._instances.stats()
        return web.json_response(
            {
                "functions": {name: vars(counters.get(name, Counters())) for name in self._triggers},
                "workers": workers,
                "worker": _together(workers.values()),
                "host": {
                    "cpu_seconds": usage.cpu_seconds() - self._host_cpu_before,
                    "peak_rss_bytes": usage.peak_rss_bytes(),
                },
            }
        )

    async def _reset_stats(self, _request: web.Request) -> web.StreamResponse:
        await self._instances.reset()
        self._host_cpu_before = usage.cpu_seconds()
        usage.reset_peak_rss()
        return web.Response(status=204)

    async def _profile(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"samples": await self._instances.profile(request.match_info["action"])})


def _together(workers: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The processor time of all worker processes, and the peak of the one that needed most memory."""
    of_process = {worker["pid"]: worker for worker in workers}.values()
    return {
        "cpu_seconds": sum(worker["cpu_seconds"] for worker in of_process),
        "converter_cpu_seconds": sum(worker["converter_cpu_seconds"] for worker in of_process),
        "peak_rss_bytes": max((worker["peak_rss_bytes"] for worker in of_process), default=0),
    }


def _shown_key(request: web.Request) -> str | None:
    return request.headers.get("x-functions-key") or request.query.get("code")


def http_value(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    query: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Typed:
    """Describe a request as the real host does: header names in lower case, no query parameters without a value."""
    value = {
        "method": Typed("string", method),
        "url": Typed("string", url),
        "headers": {name.lower(): Typed("string", text) for name, text in headers.items()},
        "query": {name: Typed("string", text) for name, text in (query or {}).items() if text},
        "params": {name: Typed("string", text) for name, text in (parameters or {}).items()},
        "body": Typed("bytes", body),
    }
    return Typed("http", value)


async def _http_invocation(function: str, request: web.Request, parameters: Mapping[str, str]) -> Invocation:
    headers = {name: ",".join(request.headers.getall(name)) for name in request.headers}
    query = {name: ",".join(request.query.getall(name)) for name in request.query}
    body = await request.read()
    value = http_value(request.method, str(request.url), headers, body, query=query, parameters=parameters)
    return Invocation(function, value)


def _response(result: Typed | None) -> web.Response:
    if result is None:
        return web.Response(status=204)
    if result.kind == "string":
        return web.Response(text=result.value)
    status, headers, cookies, body = result.value
    response = web.Response(status=status, headers=headers, body=body)
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie)
    return response
