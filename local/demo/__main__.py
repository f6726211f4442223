"""`python -m local.demo [--size small|full] [--json] [--record FILE.svg] [--keep] [--directory DIR]`."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from emulators.processes import ChildError
from local import now_try
from local.control import StackError
from local.demo.run import Outcome, default_directory, run
from local.demo.screen import WIDTH, Screen, proof_tables, record_svg, verdict
from local.demo.watch import WatchError
from local.stack import DIRECTORY, Stack
from local.world import FULL, SMALL
from local.world.rest import ReadError

SIZES = {"small": SMALL, "full": FULL}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 dev.py demo",
        description="Watch thousands of changes on their way from Dynamics to Marketo, and the proof that all arrived.",
    )
    parser.add_argument("--size", choices=SIZES, default="full", help="how large the organisation is")
    parser.add_argument("--seed", type=int, default=1, help="another number makes another organisation")
    parser.add_argument("--json", action="store_true", help="print the result as JSON; progress goes to stderr")
    parser.add_argument("--record", type=Path, metavar="FILE.svg", help="save what is shown as a picture")
    parser.add_argument("--keep", action="store_true", help="leave the stack running until Ctrl-C")
    parser.add_argument(
        "--directory", type=Path, default=default_directory(DIRECTORY), help="where the stack keeps its state"
    )
    return parser.parse_args()


async def _demo(options: argparse.Namespace, console: Console) -> bool:
    """Run, show and return whether everything is right."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):  # a job in the background would inherit an ignored SIGINT
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    console.print("Starting Service Bus, Dataverse, Marketo, Azurite and the Functions host …", highlight=False)
    async with Stack(directory=options.directory, empty=True, copied=sys.platform == "linux") as stack:
        with Screen(console) as screen:
            outcome = await run(stack, SIZES[options.size], screen, seed=options.seed)
        tables = proof_tables(outcome.proof, outcome.calls)
        ending = [*verdict(outcome.proof), f"{outcome.seconds:.0f} s, without the start of the stack."]
        for renderable in (*tables, *ending):
            console.print(renderable)
        if options.record:
            record_svg(options.record, [outcome.progress.table(), *tables, *ending])
        if options.json:
            sys.stdout.write(json.dumps(_as_json(outcome), indent=2) + "\n")
            sys.stdout.flush()
        if options.keep:
            console.print(f"The stack keeps running; its addresses: {stack.endpoints_file}. Ctrl-C ends it.")
            for line in now_try.after_start(stack.directory):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    if not options.keep:
        for line in now_try.after_demo():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return outcome.proof.ok


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "ok": outcome.proof.ok,
        "seconds": round(outcome.seconds, 1),
        "entities": {
            name: {
                "expected": found.expected,
                "found": found.found,
                "right": found.right,
                "wrong": len(found.wrong),
                "missing": len(found.missing),
                "unexpected": len(found.unexpected),
                "duplicates": len(found.duplicates),
            }
            for name, found in outcome.proof.report.entities.items()
        },
        "absent": [
            {"reason": line.reason, "expected": line.expected, "found": line.found, "kept": line.kept}
            for line in outcome.proof.absences
        ],
        "calls": outcome.calls,
        "differences": list(outcome.proof.differences())[:100],
    }


def main() -> int:
    """Run the demo. Returns 0 only when every record and relation is right and every absence has its reason."""
    options = _arguments()
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = WIDTH
    try:
        return 0 if asyncio.run(_demo(options, console)) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Stopped.")
        return 130
    except (StackError, ChildError, WatchError, ReadError) as error:
        console.print(str(error), style="red", highlight=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
