"""Ctrl-C while msisync is still being imported."""

import sys
from types import ModuleType

import pytest

from shared.cli import start


class Slow(ModuleType):
    """A module whose import the keyboard ends."""

    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt


def test_who_stops_it_at_once_sees_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shared.cli.main", Slow("shared.cli.main"))
    assert start.main() == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Interrupted: stopped by the keyboard; nothing has been done\n")
