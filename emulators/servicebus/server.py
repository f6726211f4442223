"""The listening port, shared by AMQP and the management HTTP API."""

import asyncio
import contextlib
import logging
import socket
import ssl
from functools import partial

from aiohttp import web

from emulators.servicebus.admin import AdminApi
from emulators.servicebus.attach import attach
from emulators.servicebus.connection import AmqpConnection
from emulators.servicebus.namespace import Namespace

# How a connection begins, by its first byte.
TLS_HANDSHAKE = b"\x16"
AMQP_HEADER = b"A"

logger = logging.getLogger(__name__)


class Server:
    """Accepts connections on 127.0.0.1 and tells AMQP, TLS and HTTP apart by their first byte.

    `tls` serves the management API over HTTPS, which is all that the SDK's administration client speaks.
    """

    def __init__(self, namespace: Namespace, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._namespace = namespace
        self._tls = tls
        self._http = web.Server(AdminApi(namespace), access_log=None)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self._listener.setblocking(False)
        self._open: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._listener.getsockname()[1]
        return port

    async def serve(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                client, _ = await loop.sock_accept(self._listener)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = loop.create_task(self._welcome(client))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
        finally:
            self._listener.close()
            for task in self._open:
                task.cancel()
            await self._http.shutdown(timeout=1)

    async def _welcome(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            first = await _peek(client)
            if first == AMQP_HEADER:
                await loop.connect_accepted_socket(partial(AmqpConnection, self._namespace, attach), client)
            elif first == TLS_HANDSHAKE and self._tls is not None:
                await loop.connect_accepted_socket(self._http, client, ssl=self._tls)
            elif first and first != TLS_HANDSHAKE:
                await loop.connect_accepted_socket(self._http, client)
            else:
                if first:
                    logger.warning("a TLS client was turned away: no certificate was given (--cert, --key)")
                client.close()
        except OSError as error:
            logger.info("connection ended at its start: %s", error)
            client.close()


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _peek(client: socket.socket) -> bytes:
    """Return the first byte without taking it; nothing when the client left."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(client, _finish, readable)
    try:
        await readable
    finally:
        loop.remove_reader(client)
    with contextlib.suppress(OSError):
        return client.recv(1, socket.MSG_PEEK)
    return b""
