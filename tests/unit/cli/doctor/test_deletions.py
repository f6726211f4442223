"""The check of the brake on deletions."""

from shared.cli.doctor.deletions import finding
from shared.cli.finding import Severity
from shared.config.sync_toml import LifecyclePolicy

ON = {"on": "2026-03-04T11:58:00.000Z", "limit": 500, "stopped": 41}


def test_a_brake_that_is_on_needs_an_operator() -> None:
    found = finding({"person": ON, "company": {"slots": {}}}, LifecyclePolicy())
    assert (found.severity, found.text) == (Severity.ATTENTION, "the brake is on: person")
    assert "msisync lifecycle release" in found.remedy
    assert "41 in dead-letters" in found.details[0]


def test_without_a_brake_it_says_what_is_done_with_each_entity() -> None:
    found = finding({}, LifecyclePolicy(person="delete"))
    assert found.severity is Severity.OK
    assert "person delete, opportunity delete" in found.text
