"""An Azurite with many parked records. Over HTTP it takes hours to write 100,000 rows, so its file is made.

What the product has written of one record and one parent is repeated there, with other ids.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from emulators import azurite
from emulators.processes import Child, free_ports
from shared.azure.parked_rows import Note, NoteState, note_row
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.model.outcome import Parent, WillNotCome

#: Records that wait for one parent.
CHILDREN = 2
_FILE = "__azurite_db_table__.json"
_SINCE = datetime(2026, 3, 4, 12, tzinfo=UTC)


@asynccontextmanager
async def storage(directory: Path) -> AsyncIterator[str]:
    """Run an Azurite with its data in a directory; gives its connection string."""
    blob, queue, table = free_ports(3)
    command = [sys.executable, "-m", "emulators.azurite", "--location", str(directory)]
    command += ["--blob-port", str(blob), "--queue-port", str(queue), "--table-port", str(table)]
    child = Child("azurite", command, log=directory.with_suffix(".log"), is_ready=azurite.is_listening)
    await child.start()
    try:
        yield azurite.connection_string(blob_port=blob, queue_port=queue, table_port=table)
    finally:
        await child.stop()


async def park(directory: Path, number: int) -> None:
    """Have so many contacts wait in the data of an Azurite that does not run, for accounts that Marketo refused."""
    async with storage(directory) as connection:
        settings = StorageSettings.model_validate({"AzureWebJobsStorage": connection})
        account = Account(settings)
        table = account.table(settings.parked_table)
        for row in (_note(0), _contact(0)):
            await table.upsert(row)
        await account.close()
    content = json.loads((directory / _FILE).read_text())
    (rows,) = (each for each in content["collections"] if each["name"].endswith(f"${settings.parked_table}"))
    note, contact = sorted(rows["data"], key=lambda document: str(document["RowKey"]))
    documents = [_renamed(note, _note(at)["RowKey"]) for at in range(number // CHILDREN)]
    documents += [_renamed(contact, _contact(at)["RowKey"]) for at in range(number)]
    for at, document in enumerate(documents, 1):
        document["$loki"] = at
    in_order = list(range(len(documents)))  # both indices: the notes' keys come before the contacts'
    indices = {name: {**index, "values": in_order} for name, index in rows["binaryIndices"].items()}
    rows |= {"data": documents, "maxId": len(documents), "binaryIndices": indices}
    (directory / _FILE).write_text(json.dumps(content))


def _renamed(document: dict[str, Any], key: str) -> dict[str, Any]:
    renamed = deepcopy(document)
    renamed["RowKey"] = renamed["properties"]["RowKey"] = key
    return renamed


def _contact(at: int) -> dict[str, Any]:
    key = f"{_guid(at // CHILDREN)}|contact|{_guid(at)}"
    return {"PartitionKey": "company", "RowKey": key, "Entity": "person", "Since": _SINCE}


def _note(at: int) -> dict[str, Any]:
    parent = Parent("company", "account", _guid(at))
    cause = WillNotCome("1003", "Invalid value for field 'website'", _SINCE)
    return note_row(Note(parent, _SINCE, _SINCE, state=NoteState.WILL_NOT_COME, cause=cause))


def _guid(at: int) -> str:
    return str(UUID(int=at + 1))
