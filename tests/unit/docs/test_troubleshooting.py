"""The page by symptom: every code that the product raises is on it, and what commands point to is there."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from shared.cli.remedies import remedy
from shared.model import codes
from tests.support.values import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
#: What is called with a code: errors, outcomes and refusals.
CALLED = re.compile(r"(Error|Failed|Refusal|Retry|Unavailable)$")


def anchors(page: str) -> set[str]:
    """Of each heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def own_codes() -> Iterator[tuple[str, str]]:
    """Each code that stands in the source, and where."""
    for path in sorted((ROOT / "shared").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if CALLED.search(name):
                    given = [*node.args[:2], *(word.value for word in node.keywords if word.arg == "code")]
                    found = [inner for each in given for inner in ast.walk(each)]
                    texts = (str(inner.value) for inner in found if isinstance(inner, ast.Constant))
                    yield from ((text, path.name) for text in texts if re.fullmatch(r"[A-Z][A-Za-z]{3,40}", text))


def test_every_code_of_our_own_has_an_entry() -> None:
    known = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE.partition("## Codes")[2]))
    found = dict(own_codes())
    assert len(found) > 50
    assert {code: where for code, where in found.items() if code not in known} == {}


@pytest.mark.parametrize(("system", "table"), [("marketo", codes.MARKETO), ("dataverse", codes.DATAVERSE)])
def test_every_code_of_a_vendor_is_told_in_words_and_has_a_remedy(system: str, table: Mapping[str, Any]) -> None:
    for code, told in table.items():
        assert told.meaning
        assert "msisync dead-letters" in remedy(code, system, "--id x")


def test_what_commands_and_documents_point_to_is_there() -> None:
    places = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("infra/*.py"), *ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]
    pointed = {
        (path.name, anchor)
        for path in places
        for anchor in re.findall(r"troubleshooting\.md#([\w-]+)", path.read_text(encoding="utf-8"))
    }
    assert {name for name, _ in pointed} >= {
        "normalisers.py", "facts.py", "notes.py", "deployment.py", "settings_file.py",
    }  # fmt: skip
    assert {anchor for _, anchor in pointed} <= anchors(PAGE)


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_anchors_within_the_documents_are_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([\w-]+\.md)?#([\w-]+)\)", text):
        other = text if not target else (ROOT / "docs" / target).read_text(encoding="utf-8")
        assert anchor in anchors(other), f"{target}#{anchor}"
