"""The time of instances, which begins in the morning."""

import pytest

from local.instances import MORNING
from local.virtual import Time


@pytest.fixture
def time() -> Time:
    return Time(MORNING)
