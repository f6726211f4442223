"""Serve one Dataverse environment and its sign-in over TLS, and its control API over plain HTTP, on 127.0.0.1."""

import argparse
import asyncio
import logging
import ssl
import sys
from pathlib import Path

from emulators.dataverse import constants
from emulators.dataverse.server import Simulator
from emulators.processes import die_with_parent
from emulators.serving import add_tls_options, announce, asked_to_leave, tls_of

#: Whom a certificate that the simulator makes itself is for.
NAMES = (constants.LOGIN_HOST, constants.ORGANIZATION_HOST)

logger = logging.getLogger("emulators.dataverse")


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m emulators.dataverse", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TLS port of the Web API and the login host")
    parser.add_argument("--control-port", type=int, default=0, help="plain HTTP port of the control API")
    add_tls_options(parser)
    parser.add_argument("--service-bus", help="connection string of the Service Bus that events are posted to")
    parser.add_argument("--client-certificate", type=Path, help="certificate (PEM) of the app registration")
    parser.add_argument("--empty", action="store_true", help="start without the sample company")
    options = parser.parse_args()
    die_with_parent()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    logger.setLevel(logging.INFO)
    with tls_of(options, NAMES) as (tls, trust):
        asyncio.run(_serve(options, tls, trust))


async def _serve(options: argparse.Namespace, tls: ssl.SSLContext, trust: dict[str, str]) -> None:
    leave = asked_to_leave()
    certificate = options.client_certificate
    simulator = Simulator(
        service_bus=options.service_bus,
        empty=options.empty,
        client_certificate=None if certificate is None else certificate.read_bytes(),
    )
    await simulator.start(tls, options.port, options.control_port)
    announce(port=simulator.port, control_port=simulator.control_port, **trust)
    logger.info("%s and %s on 127.0.0.1:%d %s", *NAMES, simulator.port, trust or "")
    await leave.wait()
    await simulator.stop()


if __name__ == "__main__":
    main()
