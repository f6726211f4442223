"""What takes the place of a message that the broker gave up."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from local.harness.dead_letters import QUEUES
from shared.azure.receiver import Message
from shared.config.settings import QueueSettings
from shared.model.dead_letter import BROUGHT_BACK
from shared.sync.redelivery import GIVEN_UP, comes_back, sent_for
from tests.support.values import NOON

NAMES = QueueSettings.model_validate(QUEUES)
NOTIFICATION = Message(
    1,
    b'{"PrimaryEntityName": "contact"}',
    enqueued=datetime(2026, 3, 4, 11, 58, tzinfo=UTC),
    reason=GIVEN_UP,
    correlation_id="c-1",
    content_type="application/json",
    properties={"traceparent": "00-1", "DeadLetterReason": GIVEN_UP, "number": 2**40, "nothing": None, "attempts": 3},
)


def test_a_message_is_sent_again_as_it_was_with_a_mark_and_the_time_it_first_came() -> None:
    sent = sent_for(NOTIFICATION, "dynamics-changes", NAMES, NOON)
    assert (sent.queue, sent.body, sent.session) == ("dynamics-changes", NOTIFICATION.body, None)
    assert (sent.correlation_id, sent.content_type, sent.at) == ("c-1", "application/json", None)
    assert sent.properties == {
        "traceparent": "00-1", "number": str(2**40), "attempts": 3, "first_seen": "2026-03-04T11:58:00.000Z",
        "brought_back": "2026-03-04T12:00:00.000Z",
    }  # fmt: skip


def test_a_time_that_a_message_carries_already_stays() -> None:
    carried = {"first_seen": "2026-03-04T09:00:00.000Z"}
    sent = sent_for(replace(NOTIFICATION, properties=carried), "dynamics-changes", NAMES, NOON)
    assert sent.properties["first_seen"] == "2026-03-04T09:00:00.000Z"


def test_records_keep_their_session() -> None:
    assert sent_for(replace(NOTIFICATION, session="person"), "persons", NAMES, NOON).session == "person"


def test_what_cannot_be_bound_is_put_aside_with_its_reason() -> None:
    sent = sent_for(replace(NOTIFICATION, body=b"a value", is_data=False), "dynamics-changes", NAMES, NOON)
    assert (sent.queue, sent.body, sent.session) == ("dead-letters", b"a value", None)
    assert sent.properties["code"] == "NotBindable"
    assert sent.properties["source_queue"] == "dynamics-changes"
    assert sent.properties["first_seen"] == "2026-03-04T11:58:00.000Z"
    assert "AMQP value or sequence" in str(sent.properties["message"])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (NOTIFICATION, True),
        (replace(NOTIFICATION, reason="TTLExpiredException"), False),
        (replace(NOTIFICATION, reason="somebody's decision"), False),
        (replace(NOTIFICATION, properties={BROUGHT_BACK: "2026-03-04T11:59:00.000Z"}), False),
    ],
)
def test_only_what_was_delivered_in_vain_comes_back_and_once(message: Message, expected: bool) -> None:
    assert comes_back(message) is expected
