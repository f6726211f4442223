"""Serve one Marketo instance over TLS and its control API over plain HTTP, on 127.0.0.1, until SIGTERM."""

import argparse
import asyncio
import json
import logging
import signal
import ssl
import sys

from emulators.marketo.control import Control
from emulators.marketo.instance import Instance
from emulators.marketo.server import Gateway, listen
from emulators.processes import die_with_parent


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instance = Instance(calls_per_window=options.calls_per_20s, concurrency=options.concurrency, daily=options.daily)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(options.cert, options.key)
    gateway, port = await listen(Gateway(instance).application(), options.port, tls)
    control, control_port = await listen(Control(instance).application(), options.control_port)
    sys.stdout.write(f"READY {json.dumps({'port': port, 'control_port': control_port})}\n")
    sys.stdout.flush()
    await stop.wait()
    await gateway.cleanup()
    await control.cleanup()


def main() -> None:
    """Run the simulator."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m emulators.marketo", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TLS port of the REST and identity services")
    parser.add_argument("--control-port", type=int, default=0, help="plain HTTP port of the control API")
    parser.add_argument("--cert", required=True, help="certificate chain, PEM")
    parser.add_argument("--key", required=True, help="its private key, PEM")
    parser.add_argument("--calls-per-20s", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--daily", type=int, default=50_000)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
