"""What every test of a command begins with."""

import pytest

from shared.cli import invocation


@pytest.fixture(autouse=True)
def _as_nobody_has_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts msisync leaves its words to none of those that come after it in this process."""
    monkeypatch.setattr(invocation, "_in_use", invocation.Invocation())
