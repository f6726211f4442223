"""`python -m emulators.servicebus --port P [--queues FILE.json] [--cert FILE.pem --key FILE.pem]`."""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import ssl
import sys
import time
from pathlib import Path

from emulators.processes import die_with_parent
from emulators.servicebus import connection_string
from emulators.servicebus.namespace import Namespace
from emulators.servicebus.server import Server
from emulators.servicebus.settings import QUEUES, load_queues


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="emulators.servicebus", description="Service Bus emulator, in memory.")
    parser.add_argument("--port", type=int, required=True, help="port for AMQP and the management API; 0 picks one")
    parser.add_argument("--queues", type=Path, help="JSON file with the queues, instead of the built-in ones")
    parser.add_argument("--cert", type=Path, help="certificate (chain) for 127.0.0.1: the management API over HTTPS")
    parser.add_argument("--key", type=Path, help="private key of the certificate")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    tls = None
    if arguments.cert is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.cert, arguments.key)
    queues = QUEUES if arguments.queues is None else load_queues(arguments.queues)
    server = Server(Namespace(queues, time.time), arguments.port, tls)
    serving = asyncio.create_task(server.serve())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    ready = {"port": server.port, "connection_string": connection_string(server.port)}
    sys.stdout.write(f"READY {json.dumps(ready)}\n")
    sys.stdout.flush()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(_run(_arguments()))
