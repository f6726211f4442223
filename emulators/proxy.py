"""A CONNECT proxy that leads host names to ports of this machine, and refuses every other.

`python -m emulators.proxy --port P --map login.example.com=4431 --map api.example.com=4432`

So an app runs with production URLs and full TLS, and only the standard variable HTTPS_PROXY is set.
"""

import argparse
import asyncio
from collections.abc import Mapping
from typing import cast

from emulators.processes import die_with_parent
from emulators.serving import announce, asked_to_leave

HEAD_LIMIT = 16 * 1024
HEAD_END = b"\r\n\r\n"


class Splice(asyncio.Protocol):
    """One end of a tunnel: what arrives here leaves at the peer, no faster than the peer takes it."""

    def __init__(self, peer: "Splice | None" = None) -> None:
        self.peer = peer
        self.ended = False
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The connection of this end. Only there once it is made."""
        assert self._transport is not None  # noqa: S101 - asyncio calls connection_made before anything else
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        if self.peer is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end of this direction on; the tunnel stays until both directions have ended."""
        self.ended = True
        if self.peer is None or self.peer.ended:
            return False
        self.peer.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end: at once when this one broke, else after what is still to be written."""
        if self.peer is None:
            return
        if exc is None:
            self.peer.transport.close()
        else:
            self.peer.transport.abort()

    def pause_writing(self) -> None:
        """Stop the sender at the other end while this end's buffer is full."""
        if self.peer is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the sender at the other end go on."""
        if self.peer is not None:
            self.peer.transport.resume_reading()


class Client(Splice):
    """A client's end: reads the CONNECT request, opens the tunnel or says why not."""

    def __init__(self, targets: Mapping[str, int]) -> None:
        super().__init__()
        self._targets = targets
        self._head = bytearray()
        self._opening: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Collect the request's head, then pass bytes on."""
        if self.peer is not None:
            self.peer.transport.write(data)
            return
        self._head += data
        if self._opening is None:
            self._read_request()

    def eof_received(self) -> bool:
        """Pass the end on, once there is a tunnel."""
        if self.peer is None and self._opening is not None:
            self.ended = True
            return True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a tunnel that is still being opened, too."""
        if self._opening is not None:
            self._opening.cancel()
        super().connection_lost(exc)

    def _read_request(self) -> None:
        head, end, _ = bytes(self._head).partition(HEAD_END)
        if len(head) > HEAD_LIMIT:
            self._refuse("431 Request Header Fields Too Large", "The head of the request is too long.")
            return
        if not end:
            return
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target = rest.partition(" ")[0].lower()
        if method != "CONNECT":
            self._refuse("405 Method Not Allowed", "This proxy only opens tunnels (CONNECT).")
        elif target not in self._targets:
            known = ", ".join(sorted(self._targets))
            self._refuse("403 Forbidden", f"There is no {target} here. This proxy serves: {known}.")
        else:
            self._head = self._head[len(head) + len(end) :]
            self._opening = asyncio.ensure_future(self._open(self._targets[target]))

    async def _open(self, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Simulator(self), "127.0.0.1", port)
        except OSError as error:
            self._refuse("502 Bad Gateway", f"The simulator behind this name does not answer: {error}.")

    def connected(self, simulator: "Simulator") -> None:
        """Begin the tunnel: the client learns of it, and what it sent without waiting for that goes on."""
        self.peer = simulator
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        simulator.transport.write(bytes(self._head))
        if self.ended:
            simulator.transport.write_eof()

    def _refuse(self, status: str, why: str) -> None:
        body = f"{why}\n".encode()
        fields = f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close"
        self.transport.write(f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + body)
        self.transport.close()


class Simulator(Splice):
    """The simulator's end of a tunnel."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the client, unless it has left meanwhile."""
        super().connection_made(transport)
        if self._client.transport.is_closing():
            transport.close()
        else:
            self._client.connected(self)


async def serve(port: int, targets: Mapping[str, int]) -> asyncio.Server:
    """Listen on 127.0.0.1. `targets` maps `host:port` as a client names it (lower case) to a local port."""
    return await asyncio.get_running_loop().create_server(lambda: Client(targets), "127.0.0.1", port)


def _mapping(text: str) -> tuple[str, int]:
    host, _, port = text.partition("=")
    return f"{host.lower()}:443", int(port)


async def _run(port: int, targets: Mapping[str, int]) -> None:
    leave = asked_to_leave()
    server = await serve(port, targets)
    announce(port=server.sockets[0].getsockname()[1])
    await leave.wait()
    server.close()


def main() -> None:
    """Run the proxy until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m emulators.proxy", description="CONNECT proxy that leads host names to ports here."
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--map", action="append", type=_mapping, default=[], metavar="HOST=PORT", help="host:443 → local port"
    )
    options = parser.parse_args()
    die_with_parent()
    asyncio.run(_run(options.port, dict(options.map)))


if __name__ == "__main__":
    main()
