"""A burst in the evening of a day whose share is nearly used: it stops there, and ends after midnight, complete."""

from local.bench.figures import all_met
from local.bench.quota import quota_figures, simulate

MIDNIGHT_HOURS = 4 + 5 / 60


def test_a_burst_stops_at_the_share_and_ends_after_midnight_complete() -> None:
    quota = simulate(3000, left=8)
    assert quota.calls["2026-03-04"] == 8
    assert 0 < quota.before_midnight < 3000
    assert quota.closed_after < 0.1
    assert MIDNIGHT_HOURS <= quota.opened_after <= MIDNIGHT_HOURS + 0.05
    assert quota.complete_after <= quota.opened_after + 0.1
    assert quota.stored == 3000
    assert quota.refusals == {}
    assert quota.dead_letters == 0
    assert quota.most_in_window <= 50
    assert quota.most_at_a_time <= 5
    assert quota.sent_again <= 2 * 3000 / 100 + 1
    assert all_met(list(quota_figures(quota)))
