"""What each emulator does as a program: it says when it is ready, serves until it is asked to leave, and has TLS."""

import argparse
import asyncio
import contextlib
import json
import signal
import ssl
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

READY = "READY "


def announce(**facts: object) -> None:
    """Write the line `READY {…}` to stdout: whoever started this program waits for it and reads its ports there."""
    sys.stdout.write(f"{READY}{json.dumps(facts)}\n")
    sys.stdout.flush()


def asked_to_leave() -> asyncio.Event:
    """Return what SIGTERM and SIGINT set from now on. Call it before `announce`: who waits for that may ask at once."""
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    return leave


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the server's side of TLS with a certificate (chain) and its private key, both PEM."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls


def add_tls_options(parser: argparse.ArgumentParser) -> None:
    """Add --cert and --key, which may both be left out."""
    parser.add_argument("--cert", type=Path, help="certificate chain (PEM); without it one is made for this start")
    parser.add_argument("--key", type=Path, help="its private key (PEM)")


@contextlib.contextmanager
def tls_of(options: argparse.Namespace, hosts: Sequence[str]) -> Iterator[tuple[ssl.SSLContext, dict[str, str]]]:
    """Give the TLS that the options ask for, and what clients must know of it.

    Without --cert it is a certificate for `hosts` of an authority that is made for this start: `ca_bundle` is where.
    """
    if options.cert is not None:
        yield server_tls(options.cert, options.key), {}
        return
    from emulators.certificates import write_certificates  # noqa: PLC0415  (slow to import, and rarely needed)

    with tempfile.TemporaryDirectory(prefix="emulator-") as directory:
        files = write_certificates(Path(directory), hosts)
        yield server_tls(files.certificate, files.key), {"ca_bundle": str(files.bundle)}
