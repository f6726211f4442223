"""What a test's telemetry exports, in memory."""

from collections.abc import Iterator

import pytest

from local.harness.telemetry import Telemetry, in_memory


@pytest.fixture
def told() -> Iterator[Telemetry]:
    """Listen to spans and metrics."""
    with in_memory().listening() as telemetry:
        yield telemetry
