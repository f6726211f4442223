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


@pytest.mark.parametrize(
    ("page", "warning"),
    [
        ("See [the end](#the-end) of [this page](commands.md).\n\n## The end\n", ""),
        ("See [nothing](nowhere.md).\n", "nowhere.md"),
        ("See [nothing](#nowhere).\n", "nowhere"),
        ("![picture](nowhere.svg)\n", "nowhere.svg"),
    ],
)
def test_dead_links_fail_the_build(tmp_path: Path, capfd: pytest.CaptureFixture[str], page: str, warning: str) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "docs").mkdir(parents=True)
    (source / "docs/index.md").write_text("# Documentation\n\n- [Commands](commands.md)\n")
    (source / "docs/commands.md").write_text(f"# Commands\n\n{page}")
    code = build(source, site, tmp_path / "cache")
    assert code == (1 if warning else 0)
    assert warning in capfd.readouterr().err
    if not warning:
        assert "Commands" in (site / "docs/commands.html").read_text()
        assert (site / "searchindex.js").exists()
        assert "url=docs/index.html" in (site / "index.html").read_text()


def test_a_page_that_the_index_does_not_name_fails_the_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    (source / "docs/index.md").write_text("# Documentation\n")
    (source / "docs/forgotten.md").write_text("# Forgotten\n")
    assert build(source, tmp_path / "site", tmp_path / "cache") == 1
    assert "forgotten.md" in capfd.readouterr().err
