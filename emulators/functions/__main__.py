"""`python -m emulators.functions --port P --app-dir DIR --name NAME [--lock-dir DIR] [--one-process] [--copied …]`."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from emulators.functions.host import Arguments, run_host
from emulators.functions.settings import HostError
from emulators.processes import die_with_parent


def main() -> int:
    """Run the host and return its exit code: 2 when the app cannot be run as it is configured."""
    die_with_parent()
    parser = argparse.ArgumentParser(
        prog="python -m emulators.functions", description="Runs a Python function app on this machine."
    )
    parser.add_argument("--port", type=int, default=0, help="port of the HTTP side; 0 chooses a free one")
    parser.add_argument("--app-dir", type=Path, required=True, help="folder with function_app.py and host.json")
    parser.add_argument("--name", default="host", help="name of this instance in the log")
    parser.add_argument("--lock-dir", type=Path, help="folder that instances share: one of them runs a timer")
    parser.add_argument("--one-process", action="store_true", help="one worker for all functions, not one for each")
    parser.add_argument(
        "--copied",
        nargs="*",
        metavar="MODULE",
        help="start workers as copies (fork) of a process that has loaded the app and these modules: quicker",
    )
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.ERROR)
    arguments = Arguments(
        port=options.port,
        app_dir=options.app_dir.resolve(),
        name=options.name,
        lock_dir=options.lock_dir,
        one_process=options.one_process,
        copied=options.copied,
    )
    try:
        return asyncio.run(run_host(arguments))
    except HostError as error:
        logging.getLogger("emulators.functions.host").critical("%s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
