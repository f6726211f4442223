"""`python -m emulators.servicebus --queue NAME…`: the emulator as a program, until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulators.processes import die_with_parent
from emulators.servicebus import connection_string
from emulators.servicebus.namespace import Namespace
from emulators.servicebus.sas import POLICIES, Policy, policy_of
from emulators.servicebus.server import Server
from emulators.servicebus.settings import QueueSettings, checked, load_queues, queue_of
from emulators.serving import announce, asked_to_leave, server_tls

#: The port of AMQP without TLS, as Microsoft's emulator has it.
AMQP_PORT = 5672

logger = logging.getLogger("emulators.servicebus")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.servicebus",
        description="Azure Service Bus queues on this machine, in memory, for the unmodified azure-servicebus SDK.",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=AMQP_PORT,
        help="port of 127.0.0.1 for AMQP and the management API; 0 picks one (default: %(default)s)",
    )
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME[:sessions]",
        help="a queue with the service's defaults; can be given several times",
    )
    parser.add_argument("--queues", type=Path, metavar="FILE.json", help="more queues, with all their settings")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="NAME:KEY:CLAIM[,CLAIM][:QUEUE]",
        help=f"a shared access policy beside those that are always there ({', '.join(POLICIES)}); "
        "claims are Send, Listen and Manage",
    )
    parser.add_argument("--cert", type=Path, help="certificate (chain) for 127.0.0.1: the management API over HTTPS")
    parser.add_argument("--key", type=Path, help="private key of the certificate")
    return parser


def _queues(options: argparse.Namespace) -> list[QueueSettings]:
    """Return what the command line names. Raises ValueError or OSError with what is wrong."""
    queues = [queue_of(text) for text in options.queue]
    if options.queues is not None:
        queues += load_queues(options.queues)
    return checked(queues, "the command line")


async def _serve(options: argparse.Namespace, queues: Sequence[QueueSettings], policies: Mapping[str, Policy]) -> None:
    leave = asked_to_leave()
    tls = server_tls(options.cert, options.key) if options.cert else None
    server = Server(Namespace(queues, time.time, policies), options.port, tls)
    serving = asyncio.create_task(server.serve())
    connection = connection_string(server.port)
    announce(port=server.port, connection_string=connection)
    named = ", ".join(f"{queue.name} (sessions)" if queue.sessions else queue.name for queue in queues)
    logger.info("queues: %s", named)
    logger.info("connection string: %s", connection)
    await leave.wait()
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def main() -> int:
    """Run the emulator and return its exit code: 2 for a wrong command line, 1 when it cannot start."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    parser = _parser()
    options = parser.parse_args()
    if not options.queue and options.queues is None:
        parser.error("name a queue with --queue NAME, or a file of queues with --queues FILE.json")
    if (options.cert is None) != (options.key is None):
        parser.error("--cert and --key go together")
    try:
        queues = _queues(options)
        policies = {**POLICIES, **dict(map(policy_of, options.policy))}
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(options, queues, policies))
    except OSError as error:
        logger.critical("port %d: %s", options.port, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
