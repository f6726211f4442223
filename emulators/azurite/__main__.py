"""`python -m emulators.azurite --location DIR`: becomes Azurite's node process."""

import argparse
import os
import sys
from pathlib import Path

from emulators.azurite import SCRIPT, SERVICES, node
from emulators.processes import die_with_parent

# The ports that every Azurite has unless it is told otherwise.
DEFAULT_PORTS = dict(zip(SERVICES, (10000, 10001, 10002), strict=True))


def main() -> None:
    """Replace this process by Azurite."""
    parser = argparse.ArgumentParser(prog="python -m emulators.azurite", description="Run Azurite in the foreground.")
    for service, port in DEFAULT_PORTS.items():
        parser.add_argument(f"--{service.lower()}-port", type=int, default=port, help="default: %(default)s")
    parser.add_argument("--location", type=Path, required=True, help="folder that keeps the data")
    options = parser.parse_args()
    die_with_parent()
    if not SCRIPT.is_file():
        sys.exit(f"Azurite is not installed: npm ci in {SCRIPT.parents[4]}, or python3 dev.py setup, installs it")
    command = [node(), str(SCRIPT), "--silent", "--disableTelemetry", "--location", str(options.location)]
    for service in map(str.lower, SERVICES):
        command += [f"--{service}Port", str(getattr(options, f"{service}_port"))]
    os.execv(command[0], command)  # noqa: S606 - the process is to become node, so that signals and the group reach it


if __name__ == "__main__":
    main()
