"""A newcomer's own row: written, read and deleted by dev.py's own commands, against the Web API of a stack."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from local.control import StackError
from local.row_commands import on_rows
from local.stack import Stack


@pytest_asyncio.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The neighbours alone, with the sample company."""
    async with Stack(directory=tmp_path_factory.mktemp("stack"), with_functions=False) as running:
        yield running


@pytest.fixture
def say(stack: Stack) -> Callable[..., list[str]]:
    """Runs a command as it is typed after `dev.py stack`, and gives its lines."""

    def run(line: str) -> list[str]:
        command, table, *words = shlex.split(line)
        return list(on_rows(stack.directory, command, table, words))

    return run


async def test_a_row_is_created_changed_read_and_deleted(stack: Stack, say: Callable[[str], list[str]]) -> None:
    told = await asyncio.to_thread(say, "write contact firstname=Ada lastname=Byron emailaddress1=ada@contoso.example")
    table, id_, *_ = told[0].split()
    assert (table, told[0]) == ("contact", f"contact {id_} is created.")
    assert told[1] == "Now try:"
    shown, history, read = (shlex.split(line) for line in told[2:])
    assert shown[-3:] == ["show", "person", id_]
    assert history[-2:] == ["history", id_]
    assert shown[1:3] == ["--settings", str(stack.settings_file)]
    assert read[2:] == ["stack", "read", "contact", id_, "--directory", str(stack.directory)]

    changed = await asyncio.to_thread(say, f"write contact {id_.upper()} jobtitle=Countess numberofchildren:=3")
    assert changed[0] == f"contact {id_} is changed."
    row = json.loads("".join(await asyncio.to_thread(say, f"read contact {id_}")))
    assert {"firstname": "Ada", "jobtitle": "Countess", "contactid": id_}.items() <= row.items()

    assert await asyncio.to_thread(say, f"delete contact {id_}") == [f"contact {id_} is deleted."]
    with pytest.raises(StackError, match=r"Dynamics refuses it: .*Does Not Exist"):
        await asyncio.to_thread(say, f"write contact {id_} jobtitle=Nobody")


async def test_a_row_may_refer_to_another_one(say: Callable[[str], list[str]]) -> None:
    account = (await asyncio.to_thread(say, "write companies name=Contoso"))[0].split()[1]
    line = f"write contact lastname=Byron parentcustomerid_account=/accounts({account})"
    contact = (await asyncio.to_thread(say, line))[0].split()[1]
    row = json.loads("".join(await asyncio.to_thread(say, f"read contact {contact}")))
    assert row["_parentcustomerid_value"] == account


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("write contact 2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", "write takes at least one column=value"),
        ("write contact firstname", "'firstname' is not a column and its value"),
        ("write contact creditlimit:=many", "'many' of creditlimit is no JSON"),
        ("read contact ann", "read takes the id of one row"),
        ("write contcat lastname=Byron", "Dynamics refuses it: "),
        ("write contact lastnam=Byron", "Dynamics refuses it: .*lastnam"),
    ],
)
async def test_what_is_wrong_is_said(say: Callable[[str], list[str]], line: str, told: str) -> None:
    with pytest.raises(StackError, match=told):
        await asyncio.to_thread(say, line)


def test_without_a_stack_up_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no stack is running in .*: start it with python3 dev\.py up"):
        list(on_rows(tmp_path, "write", "contact", ["lastname=Byron"]))
