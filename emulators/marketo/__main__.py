"""Serve one Marketo instance over TLS and its control API over plain HTTP, on 127.0.0.1, until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import logging
import ssl
import sys

from emulators.marketo.control import Control
from emulators.marketo.identity import CLIENT_ID, CLIENT_SECRET
from emulators.marketo.instance import Instance
from emulators.marketo.server import HOST, Gateway, listen
from emulators.processes import die_with_parent
from emulators.serving import add_tls_options, announce, asked_to_leave, tls_of

#: Whom a certificate that the simulator makes itself is for: any instance, and the address that it listens on.
NAMES = ("*.mktorest.com", HOST, "localhost")

logger = logging.getLogger("emulators.marketo")


async def _serve(options: argparse.Namespace, tls: ssl.SSLContext, trust: dict[str, str]) -> None:
    leave = asked_to_leave()
    instance = Instance(calls_per_window=options.calls_per_20s, concurrency=options.concurrency, daily=options.daily)
    gateway, port = await listen(Gateway(instance).application(), options.port, tls)
    control, control_port = await listen(Control(instance).application(), options.control_port)
    announce(port=port, control_port=control_port, **trust)
    logger.info("https://%s:%d, client id %s, secret %s %s", HOST, port, CLIENT_ID, CLIENT_SECRET, trust or "")
    await leave.wait()
    await gateway.cleanup()
    await control.cleanup()


def main() -> None:
    """Run the simulator."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m emulators.marketo", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TLS port of the REST and identity services")
    parser.add_argument("--control-port", type=int, default=0, help="plain HTTP port of the control API")
    add_tls_options(parser)
    parser.add_argument("--calls-per-20s", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--daily", type=int, default=50_000)
    options = parser.parse_args()
    with tls_of(options, NAMES) as (tls, trust):
        asyncio.run(_serve(options, tls, trust))


if __name__ == "__main__":
    main()
