"""A small initial sync in virtual time, whose carrier is killed: it is complete, and its calls are full."""

from local.bench.simulated_run import simulate


def test_a_simulated_run_is_complete_though_its_carrier_is_killed() -> None:
    run = simulate(1_500, kills=3)
    assert run.killed >= 1
    assert (run.lost, run.doubled, run.refused) == (0, 0, 0)
    assert run.calls["person upsert"] <= 7
