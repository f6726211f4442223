"""`python3 dev.py stack write`, `read` and `delete`: what they take, and what they say."""

import json
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from local import now_try
from local.control import StackError
from local.rows import Rows, as_id, body_of
from shared.cli.entity_words import as_table

#: Each command with its help, and what follows the table.
ROW_COMMANDS = {
    "write": ("create a row in Dynamics, or change the one that has the id", "[ID] column=value"),
    "read": ("show a row of Dynamics", "ID"),
    "delete": ("delete a row of Dynamics", "ID"),
}
WORDS_HELP = "column=text, column:=JSON for numbers and the like, column=/accounts(ID) for a row that it refers to"


def on_rows(directory: Path, command: str, table: str, words: Sequence[str]) -> Iterator[str]:
    """Do it, and give the lines to be printed. Raises StackError."""
    with suppress(ArgumentTypeError):  # a table that is not synced is named as Dynamics names it
        table = as_table(table)
    id_ = as_id(words[0])
    columns = words[1:] if id_ else words
    if command != "write" and (not id_ or columns):
        raise StackError(f"{command} takes the id of one row")
    body = body_of(columns) if command == "write" else {}
    if command == "write" and not body:
        raise StackError("write takes at least one column=value")
    with Rows.of(directory) as rows:
        if command == "read":
            yield json.dumps(rows.read(table, id_), indent=2)
        elif command == "delete":
            rows.delete(table, id_)
            yield f"{table} {id_} is deleted."
        else:
            written = rows.write(table, id_, body)
            yield f"{table} {written} is {'changed' if id_ else 'created'}."
            yield from now_try.after_write(directory, table, written)
