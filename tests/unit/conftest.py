"""The world that a file of tests describes."""

from typing import Any

import pytest


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Any:
    """Return a new `World` of the test's own file."""
    return request.module.World()
