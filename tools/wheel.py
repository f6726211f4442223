"""What hatchling asks while it builds the wheel: what the package needs, and what it is stamped with.

The dependencies are those of the `.in` files, each of which stands there once, with its reason. The stamp tells an
installed command which commit and which files of the app it was built from: git and the checkout are not there then.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

REQUIREMENTS = ("requirements.in", "requirements-cli.in")


class Dependencies(MetadataHookInterface):
    """Of the command, which runs the app's code."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the table [project]."""
        lines = (line for name in REQUIREMENTS for line in (Path(self.root) / name).read_text("utf-8").splitlines())
        metadata["dependencies"] = [wanted for line in lines if (wanted := line.partition("#")[0].strip())]


class Stamp(BuildHookInterface[Any]):
    """The file that shared/config/version.py reads in an installed package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds. Raises ValueError for an editable build, where no name can change."""
        if version == "editable":
            raise ValueError("python3 dev.py setup makes a .venv/bin/msisync that runs this checkout's code")
        sys.dont_write_bytecode = True  # a build leaves nothing behind
        sys.path.insert(0, self.root)
        from shared.config.version import STAMP, commit, deployed  # noqa: PLC0415  (the path is known now)

        self.folder = tempfile.TemporaryDirectory()
        stamp = Path(self.folder.name) / STAMP
        stamp.write_text(
            json.dumps({"commit": commit(Path(self.root)), "deployed": deployed(Path(self.root))}), "utf-8"
        )
        build_data["force_include"][str(stamp)] = f"msisync/config/{STAMP}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Called by hatchling when the wheel is there."""
        self.folder.cleanup()
