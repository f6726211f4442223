"""What is known of Marketo's day: how it will end."""

import pytest

from shared.marketo.usage import Usage
from tests.support.values import NOON


@pytest.mark.parametrize(("used", "elapsed", "forecast"), [(500, 0.25, 2000), (0, 0.5, 0), (90, 0.01, None)])
def test_the_day_ends_as_it_has_begun(used: int, elapsed: float, forecast: int | None) -> None:
    assert Usage(used, 30_000, elapsed, None, None, None, NOON).forecast == forecast
