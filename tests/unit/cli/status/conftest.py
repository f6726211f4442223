"""What each test of the status begins with."""

import pytest

from shared.cli.status.facts import Status
from tests.support.status import all_is_well


@pytest.fixture
def status() -> Status:
    return all_is_well()
