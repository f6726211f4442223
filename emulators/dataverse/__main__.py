"""`python -m emulators.dataverse`: the simulator as a process of the stack."""

import argparse
import asyncio
import json
import logging
import signal
import ssl
import sys
from pathlib import Path

from emulators.dataverse.server import Simulator
from emulators.processes import die_with_parent


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.dataverse", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TLS port of the Web API and the login host")
    parser.add_argument("--control-port", type=int, default=0, help="plain HTTP port of the control API")
    parser.add_argument("--cert", type=Path, required=True, help="certificate chain (PEM) for both host names")
    parser.add_argument("--key", type=Path, required=True, help="its private key (PEM)")
    parser.add_argument("--service-bus", help="connection string of the Service Bus that events are posted to")
    parser.add_argument("--client-certificate", type=Path, help="certificate (PEM) of the app registration")
    parser.add_argument("--empty", action="store_true", help="start without the sample company")
    arguments = parser.parse_args()
    die_with_parent()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(_serve(arguments))
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(arguments.cert, arguments.key)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificate = arguments.client_certificate
    simulator = Simulator(
        service_bus=arguments.service_bus,
        empty=arguments.empty,
        client_certificate=None if certificate is None else certificate.read_bytes(),
    )
    await simulator.start(tls, arguments.port, arguments.control_port)
    ready = {"port": simulator.port, "control_port": simulator.control_port}
    print(f"READY {json.dumps(ready)}", flush=True)  # noqa: T201 - the line that the stack waits for
    await stop.wait()
    await simulator.stop()


if __name__ == "__main__":
    sys.exit(main())
