"""Dead letters as people and pipes get them."""

import io
from typing import Any

from rich.text import Text

from shared.cli.dead_letters.text import show_brief
from shared.cli.output import Console

ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
REASON = "Invalid value for field 'email': an e-mail address of 12 characters, blanks around it"
LETTER = {
    "address": "opportunity-roles/dead/12345", "since": "2026-03-04T12:00:00.000Z", "code": "1003", "reason": REASON,
    "table": "contact", "id": ID, "rows": 3, "replays": 2,
}  # fmt: skip


def shown(*, terminal: bool, **changes: Any) -> list[str]:
    output = io.StringIO()
    show_brief(Console(file=output, width=80, force_terminal=terminal, soft_wrap=not terminal), {**LETTER, **changes})
    return [line.rstrip() for line in Text.from_ansi(output.getvalue()).plain.splitlines()]


def test_on_a_terminal_of_80_columns_the_whole_reason_is_there_with_the_row_below_it() -> None:
    lines = shown(terminal=True)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("opportunity-roles/dead/12345  1003  Invalid value for field 'email'")
    text = " ".join(line.strip() for line in lines)
    assert REASON in text
    assert f"2026-03-04 12:00  contact {ID} and 2 more" in text
    assert text.endswith("replayed 2 times")


def test_in_a_pipe_it_is_one_line() -> None:
    (line,) = shown(terminal=False)
    for word in ("opportunity-roles/dead/12345", "2026-03-04T12:00:00.000Z", "1003", ID, REASON):
        assert word in line
    assert "no row named" in shown(terminal=False, id="", table="", rows=0)[0]
