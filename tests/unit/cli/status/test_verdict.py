"""The first line of `msisync status`: all is well, or what needs attention most."""

from datetime import timedelta

import pytest

from shared.azure.parked_rows import ParkedCount
from shared.cli.command import Exit
from shared.cli.finding import Severity
from shared.cli.status.facts import STATE, Status
from shared.cli.status.verdict import judge
from shared.sync.circuit import Outage
from shared.sync.heartbeat import TIMER, Beat
from tests.support.values import NOON


@pytest.fixture(autouse=True)
def _runs(status: Status) -> None:
    status.beats = {TIMER: Beat(NOON, "i-1", "1.0")}


def test_all_is_well(status: Status) -> None:
    found = judge(status)
    assert (found.severity, found.code, found.remedy) == (Severity.OK, "AllIsWell", "")
    assert found.text == "All is well: nothing waits; 0 records synced in the last hour"


def test_what_moves_is_well_and_counted(status: Status) -> None:
    person = status.entities["person"]
    person.queue.waiting, person.queue.oldest = 1, NOON - timedelta(seconds=4)
    person.last_hour, person.parked = {"synced": 1204}, ParkedCount({"company": 3}, NOON)
    assert judge(status).text == (
        "All is well: 1 message waits, the oldest change for 4 s; 3 records are parked; 1,204 records synced in the "
        "last hour"
    )
    assert judge(status).exit is Exit.OK


def test_where_the_app_has_never_run_the_doctor_is_next(status: Status) -> None:
    status.beats = {}
    found = judge(status)
    assert (found.code, found.remedy, found.exit) == ("NeverRun", "msisync doctor", Exit.OK)
    assert found.text.startswith("Nothing waits; ")


def test_one_thing_is_said_with_what_ends_it(status: Status) -> None:
    status.entities["person"].queue.status = "ReceiveDisabled"
    found = judge(status)
    assert (found.text, found.remedy) == ("1 thing needs attention: persons is paused", "msisync resume person")
    assert (found.severity, found.exit) == (Severity.ATTENTION, status.exit)


def test_of_several_things_the_cause_is_named(status: Status) -> None:
    status.dead_letters.waiting = 7
    status.entities["person"].queue.oldest = NOON - timedelta(hours=1)
    status.circuits["person"] = Outage(NOON - timedelta(minutes=9), NOON + timedelta(minutes=1), "marketo 503: away")
    found = judge(status)
    assert found.text.startswith("3 things need attention, first: no calls for person since")
    assert "2026-03-04 12:01 UTC" in found.remedy
    status.beats, status.schedule = {TIMER: Beat(NOON - timedelta(hours=1), "i-1", "1.0")}, "0 * * * * *"
    assert "the app has told nothing for" in judge(status).text


def test_what_could_not_be_looked_at_is_worst(status: Status) -> None:
    status.unseen = {"changes": "no right to manage", "person": "no right to manage", STATE: "storage is away"}
    status.dead_letters.waiting = 1
    found = judge(status)
    assert (found.severity, found.exit, found.remedy) == (Severity.FAILED, status.exit, "msisync doctor")
    assert found.text == (
        "changes and 1 more could not be looked at: no right to manage; besides, 1 thing needs attention"
    )
