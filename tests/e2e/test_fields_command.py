"""`msisync fields` as an operator runs it, on a running stack, healthy and broken."""

import asyncio
import json
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from local.harness import System
from local.harness.commands import Ended, run, run_here
from local.harness.showing import way_to
from local.stack import ROOT

SHIPPED = (ROOT / "sync.toml").read_text(encoding="utf-8")


class Operator:
    """Somebody with a terminal, the settings of the stack and a sync.toml."""

    def __init__(self, system: System, directory: Path) -> None:
        self.system = system
        self._config = directory / "sync.toml"
        self._config.write_text(SHIPPED, encoding="utf-8")

    def configure(self, old: str, new: str) -> None:
        assert SHIPPED.count(old) == 1
        self._config.write_text(SHIPPED.replace(old, new), encoding="utf-8")

    def write(self, text: str) -> None:
        self._config.write_text(text, encoding="utf-8")

    def _settings(self, changes: dict[str, str]) -> Path:
        """The stack's settings file with other values; a named file goes over the environment."""
        given = json.loads(self.system.stack.settings_file.read_text())["Values"]
        file = self._config.with_name(f"{uuid4()}.settings.json")
        file.write_text(json.dumps({"Values": {**given, "SYNC_CONFIG": str(self._config), **changes}}))
        return file

    async def fields(self, *arguments: str, own_process: bool = False, **changes: str) -> Ended:
        how = run if own_process else run_here
        ended = await how(self._settings(changes), "fields", *arguments)
        vendors = (self.system.endpoints["dataverse"], self.system.endpoints["marketo"])
        secrets = [vendor[name] for vendor in vendors for name in ("client_secret", "password") if name in vendor]
        assert not [secret for secret in secrets if secret in ended.out + ended.err]
        return ended


@pytest.fixture
async def operator(system: System, tmp_path: Path) -> AsyncIterator[Operator]:
    with way_to(system):
        yield Operator(system, tmp_path)
    await system.dataverse("/switches", {"removed_columns": {}, "unreadable_columns": {}})


async def test_healthy_check(operator: Operator) -> None:
    ended, as_json = await asyncio.gather(
        operator.fields("check", own_process=True), operator.fields("check", "--json")
    )
    assert (ended.code, ended.err) == (0, "")
    assert "all of them can be synced" in ended.out
    assert as_json.code == 0
    assert {finding["severity"] for finding in as_json.json["findings"]} <= {"ok"}


async def test_healthy_list(operator: Operator) -> None:
    ended = await operator.fields("list", "contact", "--find", "phone")
    assert (ended.code, ended.err) == (0, "")
    (line,) = [line for line in ended.out.splitlines() if line.startswith("telephone1 ")]
    assert line.split() == ["telephone1", "String", "50", "Business", "Phone", "phone"]


async def test_healthy_suggest_prints_what_sync_toml_takes(operator: Operator) -> None:
    ended = await operator.fields("suggest")
    assert (ended.code, ended.err) == (0, "")
    lines = tomllib.loads(ended.out)
    assert lines["write_back"]["priority"] == "new_priority"
    section = SHIPPED.index("[write_back]")
    rest = SHIPPED.index("[systemuser.fields]")
    names = ended.out[ended.out.index("[write_back]") :]
    operator.write(SHIPPED[:section] + names + SHIPPED[rest:])
    checked, again = await asyncio.gather(operator.fields("check"), operator.fields("suggest", "--json"))
    assert checked.code == 0
    assert again.json["write_back"] == {}


async def test_a_missing_column_needs_attention(operator: Operator) -> None:
    await operator.system.dataverse("/switches", {"removed_columns": {"contact": ["jobtitle"]}})
    ended = await operator.fields("check")
    assert ended.code == 1
    assert "attention contact.fields.title: contact has no column jobtitle" in ended.out


async def test_an_object_that_marketo_denies(operator: Operator) -> None:
    await operator.system.marketo("/switches", {"denied_objects": ["opportunities"]})
    checked, listed, suggested = await asyncio.gather(
        operator.fields("check"), operator.fields("list", "opportunity"), operator.fields("suggest", "opportunity")
    )
    assert (checked.code, listed.code, suggested.code) == (2, 1, 0)
    assert "603" in listed.out
    assert "603" in suggested.out
    assert tomllib.loads(suggested.out) == {}


async def test_a_sync_toml_that_cannot_be_used(operator: Operator) -> None:
    operator.configure("language = 1033 ", 'language = "English" ')
    for ended in await asyncio.gather(*(operator.fields(name) for name in ("list", "suggest", "check"))):
        assert (ended.code, ended.out) == (2, "")
        assert "language" in ended.err


async def test_a_sign_in_that_is_refused(operator: Operator) -> None:
    ended = await operator.fields("list", "contact", "--json", MARKETO_CLIENT_SECRET="wrong")
    assert ended.code == 2
    assert ended.json["error"]["message"]


async def test_a_table_that_there_is_not_is_a_wrong_command_line(operator: Operator) -> None:
    ended = await operator.fields("list", "contracts")
    assert ended.code == 64
    assert "did you mean contact?" in ended.err
