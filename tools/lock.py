"""python3 dev.py lock: pins what the app and its development need, with hashes, for every Python it runs on.

The `.in` files name what is wanted and why; the `.txt` files that this writes name every package that comes with it.
A pin changes only when its line does, or with --upgrade. Needs the package index.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What is written, and from what; the second is held to the first's pins by a -c line of its own.
LOCKS = {
    "requirements.txt": ("requirements.in",),
    "requirements-dev.txt": ("requirements-dev.in",),
    "requirements-infra.txt": ("requirements-infra.in", "--override", "requirements-infra-override.in"),
}
OLDEST_PYTHON = "3.11"


def compile_lock(target: str, *arguments: str) -> None:
    """Run uv: one file for all platforms and Pythons. Raises CalledProcessError when it cannot be had."""
    options = ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--quiet"]
    named = ["--output-file", target, "--custom-compile-command", "python3 dev.py lock"]
    uv = [sys.executable, "-m", "uv", "pip", "compile"]
    subprocess.run([*uv, *arguments, *options, *named], cwd=ROOT, check=True)


def main() -> int:
    """Write the files, or with --check compare them. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 dev.py lock", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is not current")
    parser.add_argument("--upgrade", action="store_true", help="take the newest of what comes with the pinned packages")
    options = parser.parse_args()
    before = {name: (ROOT / name).read_text() for name in LOCKS if (ROOT / name).exists()}
    for target, arguments in LOCKS.items():
        compile_lock(target, *arguments, *(["--upgrade"] if options.upgrade else []))
    changed = [name for name in LOCKS if (ROOT / name).read_text() != before.get(name)]
    if options.check:
        for name in changed:
            (ROOT / name).write_text(before.get(name, ""))
    print(f"{', '.join(changed) or 'nothing'} {'would change' if options.check else 'changed'}")
    return 1 if changed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
