"""What the doctor makes of change tracking: off for a table, refused by Dynamics, or on."""

from shared.cli.doctor.tracking import tracking
from shared.cli.finding import Severity

ON = {"account": True, "contact": True}


def test_tables_without_change_tracking_are_named_with_the_way_to_switch_it_on() -> None:
    found = tracking({**ON, "lead": False, "connection": False}, {})
    assert found.severity is Severity.ATTENTION
    assert "off for lead, connection" in found.text
    assert "make.powerapps.com" in found.remedy
    assert "Track changes" in found.remedy


def test_what_dynamics_refuses_is_told_with_its_code() -> None:
    rows = {"account": {"error": "0x80040220: missing prvReadAccount"}, "lead": {"error": "of a table of old"}}
    found = tracking(ON, rows)
    assert found.severity is Severity.ATTENTION
    assert found.details == ("account: 0x80040220: missing prvReadAccount",)
    assert "whole organisation" in found.remedy


def test_all_is_well_before_the_first_run_and_whatever_another_version_has_noted() -> None:
    assert tracking(ON, {}).severity is Severity.OK
    assert tracking(ON, {"account": {"at": "never"}}).text == "on for 2 tables"
