"""docs/fields.md has the table of conversions as it is, and every code of a field that is left out."""

import re

from shared.sync.conversions import TABLE, Conversion, Source
from shared.sync.converters import Family
from tests.support.values import ROOT

PAGE = (ROOT / "docs/fields.md").read_text(encoding="utf-8")


def test_the_table_is_the_one_that_is_used() -> None:
    notes: list[str] = []

    def mark(cell: Conversion) -> str:
        if cell.convert is None:
            return "–"  # noqa: RUF001  (as the page writes it)
        if not cell.note:
            return "yes"
        if cell.note not in notes:
            notes.append(cell.note)
        return f"{'(yes)' if cell.rare else 'yes'} {notes.index(cell.note) + 1}"

    for source, row in TABLE.items():
        if source is not Source.ANY:
            assert f"| {source} | {' | '.join(mark(row[family]) for family in Family)} |" in PAGE
    for number, note in enumerate(notes, 1):
        assert f"\n{number}. {note}\n" in PAGE


def test_every_code_is_explained() -> None:
    text = "".join(
        (ROOT / "shared/sync" / name).read_text() for name in ("conversions.py", "converters.py", "mapping.py")
    )
    text += (ROOT / "shared/model/outcome.py").read_text()
    codes = set(re.findall(r'(?:UnfitError|LeftOut)\((?:name, )?"(\w+)"', text))
    assert codes
    assert codes == set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| Code | Why |") :]))
