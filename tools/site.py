"""python3 dev.py docs: builds the documentation site from the Markdown pages, without network.

A link that leads nowhere, a page that is missing in the contents, or any other warning fails the build.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
#: Sphinx keeps its parsed pages here. Every build reads all pages again, because Sphinx repeats no warning of a page
#: that it takes from this cache.
CACHE = ROOT / ".local" / "site"
START = "docs/index.html"
REDIRECT = f'<!doctype html><title>msisync</title><meta http-equiv="refresh" content="0; url={START}">\n'


def build(source: Path, target: Path, cache: Path) -> int:
    """Build the pages below `source` into the empty folder `target`. Returns Sphinx's exit code: 1 after a warning."""
    options = ["--builder", "html", "--conf-dir", str(ROOT / "docs"), "--doctree-dir", str(cache), "--quiet"]
    strict = ["--fresh-env", "--fail-on-warning", "--keep-going"]
    command = [sys.executable, "-m", "sphinx", *options, *strict, str(source), str(target)]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        (target / "index.html").write_text(REDIRECT)
    return code


def main() -> int:
    """Build the site and say where it is. Returns the exit code."""
    argparse.ArgumentParser(prog="python3 dev.py docs", description=__doc__.partition("\n")[0]).parse_args()
    shutil.rmtree(SITE, ignore_errors=True)
    code = build(ROOT, SITE, CACHE)
    print(f"Built {SITE / 'index.html'}" if code == 0 else "The documentation has warnings; see above.")
    return code


if __name__ == "__main__":
    sys.exit(main())
