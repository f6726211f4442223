"""What `msisync status` says about missed changes."""

from datetime import timedelta

from shared.cli.command import Exit
from shared.cli.status.command import as_json
from shared.cli.status.facts import Status
from shared.sync.heartbeat import Beat
from shared.sync.missed_changes_place import LATE, Place
from tests.support.status import text_of
from tests.support.values import NOON

DONE = Place(delta="/d", at=NOON - timedelta(minutes=12), since=NOON - timedelta(minutes=13))


def test_nothing_is_said_before_the_first_run(status: Status) -> None:
    assert "Missed changes" not in text_of(status)


def test_when_it_was_and_what_was_found(status: Status) -> None:
    status.missed_changes = {
        "account": DONE,
        "contact": Place(delta="/d", at=NOON - timedelta(minutes=1), changed=1200, deleted=34, own=900),
        "lead": Place(next="/n", began=NOON - timedelta(minutes=5), read=15_000),
    }
    shown = text_of(status, width=200)
    assert "2 tables, 12 min ago: 1,234 rows that the sync had not read (contact 1,234, 900 of them" in shown
    assert "lead is being read, 15,000 rows so far, since 5 min" in shown
    assert status.exit is Exit.OK
    found = as_json(status)["missed_changes"]["contact"]
    assert (found["changed"], found["deleted"]) == (1200, 34)
    status.missed_changes = {"account": DONE}
    assert "1 tables, 12 min ago: nothing was missing" in text_of(status)


def test_a_refusal_and_a_pass_that_does_not_end_need_attention(status: Status) -> None:
    status.missed_changes = {"account": Place(error="0x80040220: missing prvReadAccount")}
    (found,) = status.attentions
    assert "Dynamics does not tell what has changed in account (0x80040220" in found.text
    assert "change-tracking" in found.remedy
    late = Place(delta="/d", at=NOON - LATE - timedelta(hours=2))
    status.missed_changes = {"account": late}
    assert status.attentions == [], "who runs it once a week, or never, knows"
    status.beats = {"reconcile_changes": Beat(NOON)}
    assert [found.text for found in status.attentions] == ["account was not searched for missed changes for 26 h"]
