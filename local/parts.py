"""How each part of the stack is started: the command lines."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emulators.certificates import Certificates
from local.endpoints import HOSTS, MARKETO_HOST, Addresses, Ports
from local.queues import POLICY, QUEUES


@dataclass(frozen=True)
class MarketoLimits:
    """What the simulated subscription allows (Marketo: 100 calls per 20 s, 10 at once, 50,000 a day)."""

    calls_per_20s: int = 100
    concurrency: int = 10
    daily: int = 50_000


SUBSCRIPTION = MarketoLimits()
#: What the app, and the libraries below it, import at a function's first call.
SLOW_IMPORTS = (
    *("shared.app.composition", "shared.dataverse.identity", "msal_extensions"),
    *("azure.data.tables.aio", "azure.servicebus.aio", "azure.core.pipeline.transport._aiohttp"),
    *("httpcore", "anyio._backends._asyncio", "_strptime"),
)


def neighbour_commands(
    addresses: Addresses, directory: Path, certificates: Certificates, *, limits: MarketoLimits, empty: bool
) -> dict[str, list[str]]:
    """Return the command of every part but the Functions hosts. `directory` holds Azurite's data and queues.json."""
    ports = addresses.ports
    tls = {"cert": certificates.certificate, "key": certificates.key}
    return {
        "service-bus": _module(
            "servicebus", port=ports.service_bus, queues=directory / "queues.json", policy=POLICY, **tls
        ),
        "dataverse": [
            *_module("dataverse", port=ports.dataverse, control_port=ports.dataverse_control, **tls),
            *("--service-bus", addresses.service_bus_of_dataverse),
            *("--client-certificate", str(addresses.client_certificate)),
            *(["--empty"] if empty else []),
        ],
        "marketo": _module("marketo", port=ports.marketo, control_port=ports.marketo_control, **tls, **asdict(limits)),
        "proxy": [*_module("proxy", port=ports.proxy), *_mappings(ports)],
        "azurite": _module(
            "azurite",
            blob_port=ports.blob,
            queue_port=ports.queue,
            table_port=ports.table,
            location=directory / "azurite",
        ),
    }


def functions_command(
    name: str, port: int, *, app: Path, directory: Path, profile: bool, one_process: bool, copied: bool
) -> list[str]:
    """Return the command of a Functions host. Hosts with the same `directory` share the locks of their timers."""
    command = _module("functions", port=port, app_dir=app, name=name, lock_dir=directory / "locks")
    command += ["--one-process"] if one_process else []
    command += ["--copied", *SLOW_IMPORTS] if copied else []
    if not profile:
        return command
    python, *rest = command
    return [python, "-m", "cProfile", "-o", str(directory / f"functions-{name}.prof"), *rest]


def write_queues(directory: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write queues.json: the queues of the product with `changes` by name, and those that only `changes` has."""
    queues = {queue.name: asdict(queue) for queue in QUEUES}
    for name, fields in changes.items():
        queues[name] = {**queues.get(name, {"name": name}), **fields}
    (directory / "queues.json").write_text(json.dumps(list(queues.values()), indent=2))


def _mappings(ports: Ports) -> list[str]:
    targets = {host: ports.marketo if host == MARKETO_HOST else ports.dataverse for host in HOSTS}
    return [argument for host, port in targets.items() for argument in ("--map", f"{host}={port}")]


def _module(name: str, /, **options: object) -> list[str]:
    command = [sys.executable, "-m", f"emulators.{name}"]
    for option, value in options.items():
        command += [f"--{option.replace('_', '-')}", str(value)]
    return command
