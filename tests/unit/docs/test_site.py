"""The documentation site: its contents come from the index page, and a mistake in a page fails the build."""

from pathlib import Path

import pytest

from docs.conf import contents
from tools.site import build

INDEX = """# Documentation

## Use

- [Commands](commands.md): all of them
- [README](../README.md), and [another](fields.md) page
"""


def test_the_contents_are_the_links_that_begin_an_entry_of_the_index() -> None:
    assert contents(INDEX) == "```{toctree}\n:hidden:\n:caption: Use\n\ncommands.md\n../README.md\n```"


def test_rows_of_a_table_are_contents_as_well_and_each_page_once() -> None:
    page = "# Commands\n\n| command |\n|---|\n| [a](commands/a.md) | \n| [a](commands/a.md) |\n"
    assert contents(page) == "```{toctree}\n:hidden:\n\ncommands/a.md\n```"


def build_of(folder: Path, page: str) -> int:
    """Build a site of an index and this page."""
    (folder / "source/docs").mkdir(parents=True)
    (folder / "source/docs/index.md").write_text("# Documentation\n\n- [Commands](commands.md)\n")
    (folder / "source/docs/commands.md").write_text(f"# Commands\n\n{page}")
    return build(folder / "source", folder / "site", folder / "cache")


def test_a_site_has_its_pages_a_search_and_a_beginning(tmp_path: Path) -> None:
    page = "See [the end](#the-end) of [this page](commands.md).\n\n## The end\n"
    assert build_of(tmp_path, page) == 0
    assert "Commands" in (tmp_path / "site/docs/commands.html").read_text()
    assert (tmp_path / "site/searchindex.js").exists()
    assert "url=docs/index.html" in (tmp_path / "site/index.html").read_text()


def test_dead_links_fail_the_build_and_are_all_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = "See [a](nowhere.md) and [b](#no-heading).\n\n![picture](no-picture.svg)\n"
    assert build_of(tmp_path, page) == 1
    said = capfd.readouterr().err
    assert [name for name in ("nowhere.md", "no-heading", "no-picture.svg") if name not in said] == []


def test_a_page_that_the_index_does_not_name_fails_the_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    (source / "docs/index.md").write_text("# Documentation\n")
    (source / "docs/forgotten.md").write_text("# Forgotten\n")
    assert build(source, tmp_path / "site", tmp_path / "cache") == 1
    assert "forgotten.md" in capfd.readouterr().err
