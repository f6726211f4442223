"""python3 dev.py generate: writes the files that say again, for another program, what the code says.

infra/queues.json and the emulator's configuration come from the table of queues, docs/licences.md from requirements.txt
and what the installed packages declare, the beginnings of docs/commands/*.md from the help of the commands.
tests/unit/infra/test_generated.py fails when one of them is not current.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from shared.cli.commands import all_commands
from shared.cli.queues import DELIVERIES, LOCK, QUEUES
from shared.config.settings import QueueSettings
from tools import command_pages

ROOT = Path(__file__).parents[1]
#: The longest that Service Bus knows: a message never expires. A pause of weeks must not lose changes.
NEVER = "P10675199DT2H48M5.4775807S"
#: The emulator refuses more (its Config-schema.json).
EMULATOR_LONGEST_LIFE = "PT1H"
#: Classifiers of packages that name their licence in no other way.
CLASSIFIER = "License :: OSI Approved :: "
#: SPDX's names for what packages write in other words.
SPDX = {
    "MIT License": "MIT",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True, slots=True)
class Vendored:
    """A file of another project that is deployed as it is."""

    name: str
    version: str
    licence: str
    path: str
    sha256: str


#: From the npm package htmx.org: dist/htmx.min.js.
VENDORED = (
    Vendored(
        "htmx",
        "2.0.11",
        "0BSD",
        "shared/cli/console/static/htmx.min.js",
        "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    ),
)


def duration(span: timedelta) -> str:
    """A span of whole minutes as ISO 8601 has it."""
    return f"PT{span // timedelta(minutes=1)}M"


def queues() -> list[dict[str, Any]]:
    """The queues with the property names of Azure's resource manager, and the app setting that names each."""
    return [
        {
            "setting": QueueSettings.model_fields[design.setting].alias,
            "name": design.name,
            "requiresSession": design.sessions,
            "lockDuration": duration(LOCK),
            "maxDeliveryCount": DELIVERIES,
            "defaultMessageTimeToLive": NEVER,
            # A message may bring a shorter life of its own: then it must not vanish either.
            "deadLetteringOnMessageExpiration": True,
            # A change that comes twice does no harm; one that is taken for another's double would be lost.
            "requiresDuplicateDetection": False,
            # All that Standard gives: a bulk import posts hundreds of thousands of notifications of some 20 KB.
            "maxSizeInMegabytes": 5120,
        }
        for design in QUEUES
    ]


def emulator() -> dict[str, Any]:
    """Configuration of Microsoft's Service Bus emulator: the same queues, within what it takes."""
    entries = []
    for queue in queues():
        name, _ = queue.pop("name"), queue.pop("setting")
        del queue["maxSizeInMegabytes"]  # it knows no such property
        queue["defaultMessageTimeToLive"] = EMULATOR_LONGEST_LIFE
        properties = {key[:1].upper() + key[1:]: value for key, value in queue.items()}
        entries.append({"Name": name, "Properties": properties})
    namespace = {"Name": "sbemulatorns", "Queues": entries, "Topics": []}  # it accepts no other name
    return {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "Console"}}}


def pinned(text: str) -> Iterator[tuple[str, str]]:
    """Name and version of every package of a lock file."""
    yield from re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)


def licence(name: str, read: Callable[[str], PackageMetadata] = metadata) -> str:
    """The licence that an installed package declares, in SPDX's words; empty when it is not installed."""
    try:
        declared = read(name)
    except PackageNotFoundError:
        return ""
    classifiers = declared.get_all("Classifier") or []
    classified = [text.removeprefix(CLASSIFIER) for text in classifiers if text.startswith(CLASSIFIER)]
    found = declared.get_all("License-Expression") or classified or declared.get_all("License") or [""]
    return " AND ".join(SPDX.get(text, text) for text in found)


def licences() -> str:
    """docs/licences.md: every package that is deployed, and its licence."""
    versions: dict[str, list[str]] = {}
    for name, version in pinned((ROOT / "requirements.txt").read_text()):
        versions.setdefault(name, []).append(version)
    rows = [f"| {name} | {' or '.join(found)} | {licence(name)} |" for name, found in sorted(versions.items())]
    head = [
        "# Licences",
        "",
        "Every package that is deployed with the app (`requirements.txt`), and the licence it declares. Written by",
        "`python3 dev.py generate`. The app itself is under the MIT licence (`LICENSE`).",
        "",
        "| package | version | licence |",
        "|---|---|---|",
    ]
    files = [f"| {file.name} | {file.version} | {file.licence} | `{file.path}` |" for file in VENDORED]
    more = ["", "And as a file of its own:", "", "| project | version | licence | file |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, *more, *files, ""])


def as_json(value: Any) -> str:
    """JSON as people read it."""
    return json.dumps(value, indent=2) + "\n"


FILES: Mapping[str, Callable[[], str]] = {
    "infra/queues.json": lambda: as_json(queues()),
    "local/docker/servicebus.json": lambda: as_json(emulator()),
    "docs/licences.md": licences,
    **{command_pages.path(command): partial(command_pages.page, command) for command in all_commands()},
}


def main() -> int:
    """Write what is not current, or with --check name it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 dev.py generate", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is not current")
    options = parser.parse_args()
    wanted = {ROOT / name: make() for name, make in FILES.items()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if not options.check:
        for path in stale:
            path.write_text(wanted[path], encoding="utf-8")
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is not current' if options.check else 'written'}")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
