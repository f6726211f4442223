"""The benchmark of the history: what it says of a measurement."""

from dataclasses import replace

from local.bench.figures import all_met
from local.bench.history import Cost, HistoryRun, history_figures

CHEAP = Cost(requests=7, added=20, written=100, cpu=50, bytes=300_000)
RUN = HistoryRun(full=CHEAP, alone=replace(CHEAP, requests=2000), run=CHEAP, look_up=0.02, look_up_requests=2)


def test_single_changes_may_cost_a_request_for_each_line_and_batches_may_not() -> None:
    assert all_met(history_figures(RUN))
    assert not all_met(history_figures(replace(RUN, full=RUN.alone)))


def test_times_are_in_milliseconds_and_sizes_in_kilobytes() -> None:
    values = {figure.name: (figure.value, figure.unit) for figure in history_figures(RUN)}
    assert values["  size"] == (300, "kB")
    assert values["a look-up of one record, a day kept"] == (20, "ms")
