"""Rows of the table of parked records: what they keep, also of and for the version before."""

from dataclasses import replace
from typing import Any

import pytest
from azure.data.tables import TableEntity

from shared.azure.parked_rows import Parked, child_of, child_row
from shared.model.outcome import Parent
from shared.model.record import Record
from tests.support.pipeline import NOON, SEEN
from tests.support.values import guid

ACCOUNT = Parent("company", "account", guid(9))


def kept(columns: dict[str, Any]) -> Parked:
    """What is read of a row that storage has."""
    entity: Any = TableEntity(columns)
    entity._metadata = {"etag": "1"}
    return child_of(ACCOUNT, entity)


def test_a_parked_record_keeps_what_must_travel_with_it() -> None:
    record = Record(
        "contact", guid(1), SEEN, correlation_id=guid(2), attempt=2, requested=True, parked_since=NOON,
        filter_changed=True, deciding=True, forced=True, replays=3, write_back=True, run="a-run/contact/7",
    )  # fmt: skip
    assert kept(child_row(Parked(ACCOUNT, "person", record))).record == record


def test_a_live_change_that_is_parked_over_a_runs_record_keeps_its_mark() -> None:
    of_run, live = (Record("contact", guid(1), SEEN, parked_since=NOON, run=mark) for mark in ("a-run/contact/7", ""))
    # Storage keeps the columns of a row that the next write does not have.
    columns = child_row(Parked(ACCOUNT, "person", of_run)) | child_row(Parked(ACCOUNT, "person", live))
    assert kept(columns).record == of_run


@pytest.mark.parametrize("name", ["filter_changed", "deciding", "forced", "write_back"])
def test_what_a_record_is_to_do_for_others_outlives_one_that_is_parked_over_it(name: str) -> None:
    plain = Record("contact", guid(1), SEEN, parked_since=NOON)
    to_do: dict[str, Any] = {name: True}
    asked = replace(plain, **to_do)
    columns = child_row(Parked(ACCOUNT, "person", asked)) | child_row(Parked(ACCOUNT, "person", plain))
    assert kept(columns).record == asked


@pytest.mark.parametrize("additive_last", [True, False])
def test_a_comparison_of_roles_outlives_a_record_that_only_adds_some(additive_last: bool) -> None:
    first, last = (
        Record("opportunity", guid(1), SEEN, parked_since=NOON, additive=additive)
        for additive in (not additive_last, additive_last)
    )
    columns = child_row(Parked(ACCOUNT, "opportunity_role", first)) | child_row(
        Parked(ACCOUNT, "opportunity_role", last)
    )
    assert not kept(columns).record.additive
    assert kept(child_row(Parked(ACCOUNT, "opportunity_role", replace(first, additive=True)))).record.additive


def test_a_record_that_an_earlier_version_parked_is_read() -> None:
    columns = {
        "PartitionKey": "company", "RowKey": f"{guid(9)}|contact|{guid(1)}", "Entity": "person", "FirstSeen": SEEN,
        "Since": NOON, "Correlation": guid(2), "Attempt": 2, "Requested": True, "Forced": True, "Replays": 3,
    }  # fmt: skip
    found = kept(columns)
    expected = Record(
        "contact", guid(1), SEEN, correlation_id=guid(2), attempt=2, requested=True, forced=True, replays=3,
        parked_since=NOON,
    )  # fmt: skip
    assert (found.record, found.linked_later) == (expected, False)


def test_an_earlier_version_can_read_what_this_one_parks() -> None:
    record = Record("contact", guid(1), SEEN, correlation_id=guid(2), attempt=2, requested=True, parked_since=NOON)
    columns = child_row(Parked(ACCOUNT, "person", record))
    del columns["Record"]  # which the earlier version does not know
    assert kept(columns).record == record


def test_what_only_one_try_knows_of_a_record_is_not_parked() -> None:
    waits = Record("contact", guid(1), SEEN, parked_since=NOON)
    record = replace(waits, collected=True, released=True, absent=1, last_seen=SEEN)
    assert kept(child_row(Parked(ACCOUNT, "person", record))).record == waits
