"""The CONNECT proxy as clients meet it: production host names, full TLS, nothing else reachable."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from emulators.certificates import Certificates, write_certificates
from emulators.processes import Child, free_ports

HOST = "login.example.com"


@dataclass
class Neighbourhood:
    """A TLS server that answers with what it was asked, and the proxy in front of it."""

    proxy: str
    proxy_port: int
    certificates: Certificates


def _command(port: int, *mappings: str) -> list[str]:
    command = [sys.executable, "-m", "emulators.proxy", "--port", str(port)]
    for mapping in mappings:
        command += ["--map", mapping]
    return command


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(next((line[16:] for line in head.splitlines() if line.lower().startswith("content-length")), "0"))
    body = await reader.readexactly(length)
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


@pytest_asyncio.fixture(scope="module")
async def neighbourhood(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Neighbourhood]:
    folder = tmp_path_factory.mktemp("proxy")
    certificates = write_certificates(folder, [HOST, "dead.example.com"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate, certificates.key)
    server = await asyncio.start_server(_echo, "127.0.0.1", 0, ssl=context)
    port, dead = free_ports(2)
    proxy = Child(
        "proxy",
        _command(port, f"{HOST}={server.sockets[0].getsockname()[1]}", f"dead.example.com={dead}"),
        log=folder / "proxy.log",
    )
    await proxy.start()
    yield Neighbourhood(f"http://127.0.0.1:{port}", port, certificates)
    await proxy.stop()
    server.close()
    await server.wait_closed()


async def test_httpx_reaches_a_simulator_by_its_production_name(neighbourhood: Neighbourhood) -> None:
    context = ssl.create_default_context(cafile=neighbourhood.certificates.bundle)
    async with httpx.AsyncClient(proxy=neighbourhood.proxy, verify=context) as client:
        answer = await client.post(f"https://{HOST}/token", content=b"x" * 3_000_000)
    assert answer.content == b"x" * 3_000_000


async def test_a_client_that_does_not_trust_the_authority_refuses(neighbourhood: Neighbourhood) -> None:
    async with httpx.AsyncClient(proxy=neighbourhood.proxy, verify=ssl.create_default_context()) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://{HOST}/")


async def _exchange(neighbourhood: Neighbourhood, request: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", neighbourhood.proxy_port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer.decode()


@pytest.mark.parametrize(
    ("request_line", "status", "text"),
    [
        ("CONNECT example.org:443 HTTP/1.1", "403 Forbidden", "There is no example.org:443 here."),
        (f"CONNECT {HOST}:80 HTTP/1.1", "403 Forbidden", f"This proxy serves: dead.example.com:443, {HOST}:443"),
        ("GET http://example.org/ HTTP/1.1", "405 Method Not Allowed", "only opens tunnels"),
        ("CONNECT dead.example.com:443 HTTP/1.1", "502 Bad Gateway", "does not answer"),
        ("CONNECT " + "a" * 20_000, "431 Request Header Fields Too Large", "too long"),
    ],
)
async def test_anything_else_is_refused(
    neighbourhood: Neighbourhood, request_line: str, status: str, text: str
) -> None:
    answer = await _exchange(neighbourhood, f"{request_line}\r\nHost: x\r\n".encode() + b"\r\n")
    assert answer.startswith(f"HTTP/1.1 {status}\r\n")
    assert text in answer


@pytest_asyncio.fixture
async def plain_proxy(tmp_path: Path) -> AsyncIterator[tuple[int, asyncio.Queue[bytes]]]:
    """A proxy in front of a server that answers only after the client's end of file, and what that server read."""
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        seen.put_nowait(everything)
        writer.write(b"all of it: " + everything)
        writer.close()

    server = await asyncio.start_server(answer_after_the_end, "127.0.0.1", 0)
    (port,) = free_ports(1)
    target = server.sockets[0].getsockname()[1]
    proxy = Child("proxy", _command(port, f"plain.example.com={target}"), log=tmp_path / "proxy.log")
    await proxy.start()
    yield port, seen
    await proxy.stop()
    server.close()


async def test_one_direction_may_end_before_the_other(plain_proxy: tuple[int, asyncio.Queue[bytes]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plain_proxy[0])
    writer.write(b"CONNECT Plain.Example.com:443 HTTP/1.1\r\n\r\nsent at once, ")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
    writer.write(b"sent later")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 10) == b"all of it: sent at once, sent later"
    writer.close()
    await writer.wait_closed()


async def test_what_an_early_leaver_sent_gets_through(plain_proxy: tuple[int, asyncio.Queue[bytes]]) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", plain_proxy[0])
    writer.write(b"CONNECT plain.example.com:443 HTTP/1.1\r\n\r\nbroken")
    await writer.drain()
    writer.close()
    assert await asyncio.wait_for(plain_proxy[1].get(), 10) == b"broken"
