"""The product's own functions, indexed and invoked by Microsoft's azure-functions-runtime, as the platform does it.

The payloads are those of the real host; what the app does with them is seen at its pipeline, which is replaced.
"""

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emulators.dataverse.notifications import Notification, Origin, notification
from emulators.functions import conformance
from emulators.functions.conformance import ConformanceError, IndexedFunction
from emulators.functions.metadata import QueueMessage, batch_invocation
from emulators.functions.timers import timer_invocation
from emulators.functions.web import http_value
from shared.model.record import Record, encode
from shared.sync.incoming import Incoming

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13),
    reason="NOT CHECKED: THE PRODUCT'S CONFORMANCE WITH MICROSOFT'S azure-functions-runtime, WHICH NEEDS PYTHON 3.13",
)

APP = Path(__file__).parents[2]
ENQUEUED = datetime(2026, 3, 4, 10, 2, 11, tzinfo=UTC)
CONTACT = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
#: Functions that sync, and the entity of each.
SYNCS = {
    "sync_sales_persons": "sales_person", "sync_companies": "company", "sync_persons": "person",
    "sync_opportunities": "opportunity", "sync_opportunity_roles": "opportunity_role",
}  # fmt: skip
TIMERS = {"release_deferred", "reconcile_changes", "write_back_msi", "carry_on_runs"}


class RecordingPipeline:
    """Stands where the product's pipeline is, and keeps what the functions give it."""

    def __init__(self) -> None:
        self.routed: list[Incoming] = []
        self.synced: list[tuple[str, list[Incoming]]] = []
        self.accepted: list[tuple[bytes, str, dict[str, str]]] = []
        self.releases = 0
        self.redeliveries = 0
        self.failure: Exception | None = None

    async def accept(self, body: bytes, content_type: str, headers: dict[str, str]) -> tuple[int, str]:
        self.accepted.append((body, content_type, headers))
        return 202, "queued"

    async def route(self, messages: list[Incoming]) -> None:
        if self.failure:
            raise self.failure
        self.routed += messages

    async def sync(self, entity: str, messages: list[Incoming]) -> None:
        self.synced.append((entity, messages))

    async def release(self) -> None:
        self.releases += 1

    async def run(self) -> None:
        """The redelivery of what the broker gave up, which the same timer does first."""
        self.redeliveries += 1


@pytest.fixture(scope="module")
def functions() -> Iterator[dict[str, IndexedFunction]]:
    yield {function.name: function for function in conformance.index(APP)}
    conformance.close()


@pytest.fixture
def pipeline(functions: dict[str, IndexedFunction], monkeypatch: pytest.MonkeyPatch) -> RecordingPipeline:
    recording = RecordingPipeline()
    monkeypatch.setattr(sys.modules["function_app"], "pipeline", lambda: recording)
    monkeypatch.setattr(sys.modules["function_app"], "redelivery", lambda: recording)
    assert functions
    return recording


def changed() -> Notification:
    row: dict[str, Any] = {"contactid": CONTACT, "firstname": "Ada"}
    return notification("Update", "contact", row, Origin(at=time.time()), columns=["firstname"])


def test_all_eleven_functions_are_indexed(functions: dict[str, IndexedFunction]) -> None:
    """With which bindings: see tests/unit/app/test_function_app.py."""
    assert set(functions) == {"receive_webhook", "route_changes", *SYNCS, *TIMERS}


async def test_route_changes_gets_notifications_as_they_were_sent(
    functions: dict[str, IndexedFunction], pipeline: RecordingPipeline
) -> None:
    good = changed()
    bodies = [good.json().encode(), b"", b"@\x06\xb5\xff binary", "\ufeff{}".encode(), b"x" * 200_000]
    messages = [
        QueueMessage(body=body, enqueued_time=ENQUEUED, application_properties=good.properties()) for body in bodies
    ]
    invocation = batch_invocation("route_changes", messages, binary=True)
    assert (
        await conformance.invoke(functions["route_changes"], {"messages": invocation.data}, invocation.metadata) is None
    )
    assert [message.body for message in pipeline.routed] == bodies
    assert {message.enqueued for message in pipeline.routed} == {ENQUEUED}
    assert all(dict(message.properties) == good.properties() for message in pipeline.routed)


@pytest.mark.parametrize("name", SYNCS)
async def test_sync_functions(functions: dict[str, IndexedFunction], pipeline: RecordingPipeline, name: str) -> None:
    entity = SYNCS[name]
    body = encode(entity, [Record("contact", CONTACT, ENQUEUED, requested=True)])
    messages = [QueueMessage(body=body, session_id=entity, enqueued_time=ENQUEUED) for _ in range(100)]
    invocation = batch_invocation(name, messages, binary=True)
    await conformance.invoke(functions[name], {"messages": invocation.data}, invocation.metadata)
    ((seen, batch),) = pipeline.synced
    assert seen == entity
    assert [message.body for message in batch] == [body] * 100
    assert {message.enqueued for message in batch} == {ENQUEUED}


async def test_receive_webhook_gets_the_request_and_answers_it(
    functions: dict[str, IndexedFunction], pipeline: RecordingPipeline
) -> None:
    posted = changed()
    body = posted.json().encode()
    request = http_value("POST", "https://app/api/receive_webhook?code=k", posted.headers(), body, query={"code": "k"})
    answer = await conformance.invoke(functions["receive_webhook"], {"req": request})
    assert answer.value["status_code"].value == "202"
    assert json.loads(answer.value["body"].value) == {"status": "queued"}
    ((seen, content_type, headers),) = pipeline.accepted
    assert (seen, content_type) == (body, "application/json")
    assert headers["x-ms-dynamics-entity-name"] == "contact"


async def test_release_deferred_runs(functions: dict[str, IndexedFunction], pipeline: RecordingPipeline) -> None:
    invocation = timer_invocation("release_deferred", past_due=True, last=ENQUEUED, following=ENQUEUED)
    await conformance.invoke(functions["release_deferred"], {"timer": invocation.data}, invocation.metadata)
    assert (pipeline.redeliveries, pipeline.releases) == (1, 1)


async def test_failures_reach_the_platform(functions: dict[str, IndexedFunction], pipeline: RecordingPipeline) -> None:
    pipeline.failure = OSError("the broker is away")
    invocation = batch_invocation("route_changes", [QueueMessage(body=b"{}")], binary=True)
    with pytest.raises(ConformanceError, match="the broker is away"):
        await conformance.invoke(functions["route_changes"], {"messages": invocation.data}, invocation.metadata)
