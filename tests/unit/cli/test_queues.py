"""How the queues must be: the doctor's table against host.json and the triggers; and each flaw."""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from azure.servicebus.management import EntityStatus

import function_app
from shared.cli.finding import Severity
from shared.cli.queues import LOCK, QUEUES, QueueDesign, flaws
from shared.config.settings import QueueSettings
from tests.support.settings import QUEUE_NAMES
from tests.support.values import ROOT

SETTINGS = QueueSettings.model_validate(QUEUE_NAMES)
SESSIONS = QueueDesign("person", "q", sessions=True)


@dataclass
class Queue:
    """What the management says of a queue that is as designed."""

    requires_session: bool | None = True
    lock_duration: timedelta | None = timedelta(minutes=5)
    max_delivery_count: int | None = 10
    default_message_time_to_live: timedelta | None = timedelta(days=10675199)
    dead_lettering_on_message_expiration: bool | None = False
    forward_to: str | None = None
    status: Any = EntityStatus.ACTIVE


def test_every_queue_of_the_settings_is_in_the_table() -> None:
    assert {design.setting for design in QUEUES} == set(QueueSettings.model_fields)


def test_the_lock_outlasts_an_invocation_of_the_host() -> None:
    hours, minutes, seconds = json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":")
    assert timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds)) < LOCK


def test_the_triggers_want_sessions_where_the_table_does() -> None:
    wanted = {}
    for builder in function_app.app._function_builders:  # get_functions() works once in a process
        trigger = builder._function.get_trigger()
        assert trigger
        binding = trigger.get_dict_repr()
        if binding["type"] == "serviceBusTrigger":
            wanted[QUEUE_NAMES[binding["queueName"].strip("%")]] = binding.get("isSessionsEnabled", False)
    designed = {SETTINGS.of(design.setting): design.sessions for design in QUEUES}
    assert wanted == {name: sessions for name, sessions in designed.items() if name != "dead-letters"}


def test_a_queue_as_designed_has_no_flaw() -> None:
    assert list(flaws(SESSIONS, Queue())) == []
    assert list(flaws(QueueDesign("changes", "q", sessions=False), Queue(requires_session=False))) == []


@pytest.mark.parametrize(
    ("change", "text", "remedy", "grave"),
    [
        ({"requires_session": False}, "no sessions", "create it with sessions", True),
        ({"lock_duration": timedelta(seconds=60)}, "60 s", "PT5M", True),
        ({"max_delivery_count": 3}, "3 deliveries", "max delivery count to 10", False),
        ({"default_message_time_to_live": timedelta(days=14)}, "vanish after 14 days", "dead letters", True),
        ({"forward_to": "elsewhere"}, "forwards", "forwarding", True),
        ({"status": EntityStatus.DISABLED}, "Disabled", "Active", True),
        ({"status": EntityStatus.SEND_DISABLED}, "SendDisabled", "Active", True),
        ({"status": EntityStatus.RECEIVE_DISABLED}, "paused", f"msisync resume {SESSIONS.setting}", False),
    ],
)
def test_each_flaw_is_told_with_its_remedy(change: dict[str, Any], text: str, remedy: str, *, grave: bool) -> None:
    (flaw,) = flaws(SESSIONS, replace(Queue(), **change))
    assert text in flaw.text
    assert remedy in flaw.remedy
    assert flaw.severity is (Severity.FAILED if grave else Severity.ATTENTION)


def test_messages_that_expire_into_the_dead_letters_are_all_right() -> None:
    queue = Queue(default_message_time_to_live=timedelta(days=14), dead_lettering_on_message_expiration=True)
    assert list(flaws(SESSIONS, queue)) == []


def test_a_queue_with_sessions_that_needs_none_is_read_by_nobody() -> None:
    (flaw,) = flaws(QueueDesign("dead_letters", "q", sessions=False), Queue())
    assert "nothing reads it" in flaw.text
