"""The documentation site: what `python3 dev.py docs` builds from the Markdown pages, as they are on GitHub.

The source folder is the whole checkout, so that links between the README and docs/ work on the site as well. Neither
the pages nor this file say twice which pages there are: the contents on the left are the links of docs/index.md, under
its headings, and of docs/commands.md.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

project = "msisync"
html_title = "msisync"
language = "en"
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "local/README.md", "emulators/**README.md"]
#: Folders that need not be searched for pages.
exclude_patterns = [".*", "**/node_modules", "**/__pycache__", "site", "build", "shared", "tests", "*.egg-info"]

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
myst_heading_anchors = 4  # as GitHub makes them
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_copy_source = False
html_show_copyright = False

#: Pages whose links are the contents of the site.
CONTENTS = ("docs/index", "docs/commands")


def contents(text: str) -> str:
    """Return the hidden tables of contents that say what the links of a page say, a table for each of its headings.

    A link counts when it is the first thing of a list's entry or of a table's row, and leads to a page here.
    """
    tables = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE):
        caption, _, rest = part.partition("\n")
        pages = re.findall(r"^(?:[-*] |\| *)\[[^\]]+\]\(([\w./-]+\.md)\)", rest, re.MULTILINE)
        if pages:
            options = [":hidden:", *([f":caption: {caption}"] if not caption.startswith("#") else [])]
            tables.append("\n".join(["```{toctree}", *options, "", *dict.fromkeys(pages), "```"]))
    return "\n\n".join(tables)


def add_contents(_: Any, name: str, source: list[str]) -> None:
    """Append a page's tables of contents while Sphinx reads it."""
    if name in CONTENTS:
        source[0] += "\n\n" + contents(source[0]) + "\n"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
