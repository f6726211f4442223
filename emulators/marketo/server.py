"""Marketo's two HTTP services, identity and REST, as Marketo's gateway presents them."""

import asyncio
import gzip
import json
import logging
import secrets
import ssl
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from emulators.marketo.answers import altered
from emulators.marketo.errors import UNCOUNTED, CallError, HttpError
from emulators.marketo.faults import Fault
from emulators.marketo.identity import API_USER, InvalidClientError
from emulators.marketo.instance import Call, Instance
from emulators.marketo.limits import Slot
from emulators.marketo.routes import check_allowed, endpoint_for, operation_for, template

_log = logging.getLogger(__name__)
HOST = "127.0.0.1"
# Long request lines must reach the gateway, which refuses them as Marketo does.
_MAX_LINE = 1024 * 1024
IDENTITY_PATH = "/identity/oauth/token"
MAX_URI = 8 * 1024
MAX_BODY = 1024 * 1024
# Marketo compresses nothing smaller (performance.md).
_GZIP_FROM = 1024


class _ResetError(Exception):
    """The connection is to be closed without an answer."""


class Gateway:
    """Judges every request in the order in which Marketo does: size, token, limits, path and verb, body, permission."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._unanswered: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY + 1)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._date)
        app.on_shutdown.append(self._stop)
        return app

    async def _stop(self, _app: web.Application) -> None:
        for task in self._unanswered:
            task.cancel()

    async def _date(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = self._instance.clock.http_date()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path == IDENTITY_PATH:
            return await self._identify(request)
        verb = request.method
        if verb == "POST":
            verb = request.query.get("_method", verb).upper()
        booked: list[Slot] = []
        result = "reset"
        try:
            response, result = await self._respond(request, verb, path, booked)
            if response is not None:
                await _send(request, response)
        finally:
            # Also when the host shuts down in the middle of a call: the place must be free again.
            for slot in booked:
                self._instance.limits.release(slot, counted=result not in UNCOUNTED)
            self._instance.stats.call(self._instance.limits.today(), verb, template(path), result)
        if response is not None:
            return response
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _respond(
        self, request: web.Request, verb: str, path: str, booked: list[Slot]
    ) -> tuple[web.Response | None, str]:
        """Return the answer (None: none at all) and the result to count; note in `booked` the place it occupies."""
        try:
            body = await self._receive(request, path)
            self._authorise(request)
            booked.append(self._instance.limits.admit())
            return _json(request, await self._execute(request, verb, path, body, booked)), "ok"
        except CallError as error:
            return _json(request, _failure(error)), error.code
        except HttpError as error:
            answer = web.Response(status=error.status, text=error.text, headers=error.headers)
            return answer, f"http {error.status}"
        except _ResetError:
            return None, "reset"
        except Exception:  # noqa: BLE001 (Marketo's 611 stands for every unhandled exception)
            _log.exception("%s %s", verb, path)
            return _json(request, _failure(CallError("611"))), "611"

    async def _receive(self, request: web.Request, path: str) -> bytes:
        if len(request.raw_path) > MAX_URI:
            raise HttpError(414, "Request-URI Too Long")
        # Adobe: double slashes in gateway URLs are no longer forgiven.
        if "//" in path:
            raise HttpError(404, json.dumps(_failure(CallError("610"))))
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise HttpError(413, "Request Entity Too Large") from None
        if len(body) > MAX_BODY:
            raise HttpError(413, "Request Entity Too Large")
        return body

    def _authorise(self, request: web.Request) -> None:
        """Accept a bearer token; the query parameter access_token is no longer one (authentication.md).

        Without a token Marketo denies access (603); its older 600 is in Adobe's table no more (error-codes.md).
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise CallError("603")
        self._instance.identity.check(token.strip())

    async def _execute(
        self, request: web.Request, verb: str, path: str, body: bytes, booked: list[Slot]
    ) -> dict[str, Any]:
        endpoint = endpoint_for(path)
        operation = operation_for(endpoint, verb)
        call = _call(request, verb, path, body)
        check_allowed(self._instance, endpoint, verb)
        held = self._instance.faults.take_hold(verb, path, body)
        fault = self._instance.faults.take(verb, path, body)
        if held is not None:
            gate = self._instance.gates[held.gate]
            if held.when == "before":
                await gate.arrive()
            elif held.when == "during":
                call = replace(call, hold=gate.arrive)
        if fault is not None and fault.when == "before":
            await self._strike(fault)
        work = operation(self._instance, endpoint.argument or endpoint.kind, call)
        if fault is not None and fault.when == "during":
            self._go_on_unanswered(work, booked)
            await self._strike(fault)
        answer: dict[str, Any] = {"requestId": _request_id(self._instance), "success": True, **await work}
        if held is not None and held.when == "after":
            await self._instance.gates[held.gate].arrive()
        if fault is not None and fault.kind == "answer":
            return altered(answer, fault, call.body)
        if fault is not None and fault.when == "after":
            await self._strike(fault)
        return answer

    def _go_on_unanswered(self, work: Awaitable[dict[str, Any]], booked: list[Slot]) -> None:
        """Carry a call out whose answer nobody gets: it occupies its place until it has ended."""
        slots = list(booked)
        booked.clear()

        async def go_on() -> None:
            try:
                await work
            except (CallError, HttpError):
                pass  # refused as a whole, and nobody hears it
            finally:
                for slot in slots:
                    self._instance.limits.release(slot, counted=True)

        task = asyncio.create_task(go_on())
        self._unanswered.add(task)
        task.add_done_callback(self._unanswered.discard)

    async def _strike(self, fault: Fault) -> None:
        if fault.kind == "code":
            raise CallError(fault.code, fault.message)
        if fault.kind == "status":
            raise HttpError(fault.status or 503, fault.message or "", self._retry_after(fault))
        if fault.kind == "malformed":
            raise HttpError(200, "<html><body>We are sorry")
        if fault.kind == "reset":
            raise _ResetError
        await asyncio.sleep(fault.seconds)

    def _retry_after(self, fault: Fault) -> dict[str, str]:
        """Return the header in either form of RFC 9110: seconds or a date."""
        wait = fault.retry_after
        if wait is None:
            return {}
        if fault.as_date:
            return {"Retry-After": self._instance.clock.http_date(float(wait))}
        return {"Retry-After": wait if isinstance(wait, str) else f"{wait:g}"}

    async def _identify(self, request: web.Request) -> web.Response:
        self._instance.stats.identity_calls += 1
        if request.method not in {"GET", "POST"}:
            return web.Response(status=405, text="Method Not Allowed")
        given = dict(request.query)
        if request.method == "POST":
            given |= {name: str(value) for name, value in (await request.post()).items()}
        if given.get("grant_type") != "client_credentials":
            error = {"error": "unsupported_grant_type", "error_description": "grant_type must be client_credentials"}
            return web.json_response(error, status=400)
        switches = self._instance.switches
        try:
            token, seconds = self._instance.identity.issue(
                given.get("client_id", ""), given.get("client_secret", ""), lifetime=switches.token_lifetime
            )
        except InvalidClientError:
            error = {"error": "invalid_client", "error_description": "Bad client credentials"}
            return web.json_response(error, status=401)
        if switches.reported_expires_in is not None:
            seconds = switches.reported_expires_in
        return web.json_response(
            {"access_token": token, "token_type": "bearer", "expires_in": seconds, "scope": API_USER}
        )


def _call(request: web.Request, verb: str, path: str, body: bytes) -> Call:
    """Read parameters and body: JSON for writes, a form or (for compound keys) JSON behind `_method=GET`."""
    params = _joined([(name, value) for name, value in request.query.items() if name != "_method"])
    if request.method == "GET":
        return Call(verb, path, params)
    if verb == "GET" and request.content_type == "application/x-www-form-urlencoded":
        try:
            return Call(verb, path, params | _joined(parse_qsl(body.decode(), keep_blank_values=True)))
        except UnicodeDecodeError:
            raise CallError("609") from None
    if request.content_type != "application/json":
        raise CallError("612")
    try:
        content = json.loads(body, parse_constant=_refuse_constant) if body else None
    except ValueError:  # UnicodeDecodeError is one too
        raise CallError("609") from None
    if verb == "GET" and isinstance(content, dict):
        listed = {name: ",".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in content.items()}
        params |= {name: value for name, value in listed.items() if name != "input"}
    return Call(verb, path, params, content)


def _refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python reads but JSON does not know."""
    raise ValueError(name)


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters; one given several times (as in activities.md) is a list."""
    params: dict[str, str] = {}
    for name, value in pairs:
        params[name] = f"{params[name]},{value}" if name in params else value
    return params


async def _send(request: web.Request, response: web.Response) -> None:
    """Send the whole answer, because a call executes until it has been answered."""
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has gone; that does not concern the call


def _failure(error: CallError) -> dict[str, Any]:
    return {"requestId": _random_id(), "success": False, "errors": [error.as_json()]}


def _request_id(instance: Instance) -> str:
    return f"{_random_id()}#{int(instance.clock() * 1000):x}"


def _random_id() -> str:
    return secrets.token_hex(2)


def _json(request: web.Request, answer: dict[str, Any]) -> web.Response:
    body = json.dumps(answer).encode()
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    if len(body) >= _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = gzip.compress(body, compresslevel=1)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers=headers)


async def listen(app: web.Application, port: int, tls: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    """Serve an application and return its runner and the port in fact bound (0 chooses a free one)."""
    runner = web.AppRunner(
        app, access_log=None, max_line_size=_MAX_LINE, max_field_size=_MAX_LINE, shutdown_timeout=0.05
    )
    await runner.setup()
    await web.TCPSite(runner, HOST, port, ssl_context=tls).start()
    return runner, int(runner.addresses[0][1])
