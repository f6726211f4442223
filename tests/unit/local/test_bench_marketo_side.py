"""What a run looks like from Marketo: calls by kind, latencies."""

from typing import Any

from local.bench.marketo_side import calls_of, latencies, role_key, upserts
from local.world.expectations import Expectations, Expected

STATS: dict[str, Any] = {
    "calls": {
        "/rest/v1/leads.json": {"POST": {"ok": 4, "606": 1}, "GET": {"ok": 2}},
        "/rest/v1/leads/describe2.json": {"GET": {"ok": 1}},
        "/rest/v1/opportunities/roles.json": {"POST": {"ok": 3}},
        "/rest/v1/opportunities/roles/describe.json": {"GET": {"ok": 1}},
        "/rest/v1/leads/delete.json": {"DELETE": {"ok": 1}},
    },
    "identity_calls": 2,
    "max_calls_in_20s": 13,
    "peak_concurrency": 4,
}


def test_calls_are_counted_by_kind_and_object_with_those_that_were_refused() -> None:
    calls = calls_of(STATS)
    assert calls.by_kind["upsert"] == {"leads": 5, "opportunities/roles": 3}
    assert calls.by_kind["find"] == {"leads": 2}
    assert calls.by_kind["describe"] == {"leads": 1, "opportunities/roles": 1}
    assert (calls.of("upsert"), calls.of("other"), calls.total) == (8, 1, 13)
    assert calls.refused == {"606": 1}
    assert (calls.identity, calls.in_20_seconds, calls.at_once) == (2, 13, 4)


def test_records_stored_at_one_moment_came_in_one_call() -> None:
    stored = {"leads": {"a": 11.5, "b": 11.5, "c": 12.0}, "companies": {"k": 11.5}}
    assert upserts(stored, 10.0) == [(1.5, "company", 1), (1.5, "person", 2), (2.0, "person", 1)]


def test_a_role_is_known_by_the_external_key_of_its_person() -> None:
    assert role_key("deal|1001|Buyer | Deputy", {"1001": "contact"}) == ("deal", "contact", "Buyer | Deputy")


def test_latency_counts_from_the_first_of_a_records_rows_and_never_below_zero() -> None:
    expectations = Expectations()
    role = Expected("opportunity_role", ("deal", "anna", "Buyer"), {}, (("connection", "1"), ("connection", "2")))
    expectations.records["opportunity_role"][role.key] = role
    for key in ("early", "asked for"):
        expectations.records["company"][key] = Expected("company", key, {}, (("account", key),))
    enqueued = {
        ("connection", "1"): 5.0, ("connection", "2"): 4.0, ("account", "early"): 1.0, ("account", "asked for"): 9.0,
    }  # fmt: skip
    stored = {"roles": {"deal|7|Buyer": 10.0}, "companies": {"early": 3.5, "asked for": 8.0}}
    found = latencies(expectations, stored, {"7": "anna"}, enqueued)
    assert found["opportunity_role"] == [6.0]
    assert found["company"] == [2.5, 0.0]
