"""Who an operator is, for the history."""

import asyncio
import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.cli import operator
from shared.cli.operator import LENGTH, UNKNOWN, acting_as


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    operator._of_this_process.cache_clear()
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    yield tmp_path
    operator._of_this_process.cache_clear()


def profile(home: Path, content: object) -> None:
    (home / "azureProfile.json").write_text(json.dumps(content), encoding="utf-8-sig")  # as az writes it


def test_who_is_signed_in_to_az(home: Path) -> None:
    other = {"user": {"name": "eve@contoso.com"}}
    profile(home, {"subscriptions": [other, {"user": {"name": "ada@contoso.com"}, "isDefault": True}]})
    assert operator.operator() == "ada@contoso.com"


def test_else_the_user_of_this_machine() -> None:
    assert operator.operator() == "ada"


@pytest.mark.parametrize("content", [{"subscriptions": []}, {}, [], {"subscriptions": [{"isDefault": True}]}])
def test_so_it_is_where_nobody_is_signed_in_to_az(home: Path, content: object) -> None:
    profile(home, content)
    assert operator.operator() == "ada"


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert operator.operator() == UNKNOWN


async def test_who_acts_for_others_says_for_whom() -> None:
    async def who() -> str:
        await asyncio.sleep(0)
        return operator.operator()

    with acting_as("grace"):
        task = asyncio.create_task(who())
    assert await task == "grace"
    assert operator.operator() == "ada"


def test_a_name_is_one_short_line() -> None:
    with acting_as("a\nb" + "x" * 500):
        assert "\n" not in operator.operator()
        assert len(operator.operator()) == LENGTH
