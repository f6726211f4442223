"""Is the app alive: what functions note, and what doctor and status make of it."""

from datetime import timedelta
from typing import Any, cast

import pytest

from infra import deployment
from shared.cli.doctor import notes
from shared.cli.finding import Severity
from shared.cli.status.facts import Entity, Queue, Status
from shared.cli.status.text import frame
from shared.config.settings import MarketoSettings
from shared.model.entities import ENTITIES
from shared.sync.heartbeat import (
    FUNCTIONS,
    KIND,
    RECONCILE,
    TIMER,
    Beat,
    Heartbeat,
    beat_of,
    instance,
    interval,
    silence,
)
from tests.support.state import SharedState
from tests.support.values import NOON
from tests.unit.cli.test_output import shown

EACH_MINUTE = "0 * * * * *"
MINUTE = timedelta(minutes=1)
MARKETO = MarketoSettings.model_construct()


class World:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.storage = SharedState()
        self.asked = 0
        self.heartbeat = Heartbeat(
            cast(Any, self.storage),
            now=lambda: NOON + timedelta(seconds=self.seconds),
            clock=lambda: self.seconds,
            version=self.version,
        )

    def version(self) -> str:
        self.asked += 1
        return "0.1.0+abc"


async def test_the_timer_notes_each_run_with_the_version(world: World) -> None:
    for second in (0, 1, 60):
        world.seconds = second
        await world.heartbeat.beat(TIMER)
    row = world.storage.stored[KIND, TIMER]
    assert beat_of(row) == Beat(NOON + timedelta(seconds=60), instance(), "0.1.0+abc")
    assert (world.storage.requests, world.asked) == (3, 1)


async def test_a_function_with_work_notes_itself_once_a_minute_in_each_process(world: World) -> None:
    for second in range(0, 180, 5):
        world.seconds = second
        await world.heartbeat.beat("sync_persons")
        await world.heartbeat.beat("sync_companies")
    assert world.storage.requests == 6
    assert world.asked == 0
    assert "version" not in world.storage.stored[KIND, "sync_persons"]


async def test_storage_that_is_away_disturbs_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.storage.storage_away = True
    await world.heartbeat.beat("sync_persons")
    await world.heartbeat.beat("sync_persons")
    assert world.storage.requests == 1
    assert "heartbeat_not_written function=sync_persons error=ServiceRequestError" in caplog.text


def test_the_functions_are_those_of_the_app() -> None:
    assert {*FUNCTIONS.values(), TIMER, RECONCILE} == deployment.functions() - {
        "receive_webhook",
        "write_back_msi",
        "carry_on_runs",
    }
    assert FUNCTIONS.keys() == {"changes", *ENTITIES}


@pytest.mark.parametrize(
    ("schedule", "every"),
    [
        (EACH_MINUTE, 1), ("0 */5 * * * *", 5), ("*/20 * * * * *", 1), ("0 7,37 * * * *", 60), ("0 0 0 1 1 *", None),
        ("0 */5 8 * * *", None), ("", None), ("nonsense", None),
    ],
)  # fmt: skip
def test_how_often_a_timer_runs(schedule: str, every: int | None) -> None:
    assert interval(schedule) == (timedelta(minutes=every) if every else None)


@pytest.mark.parametrize(
    ("minutes", "schedule", "is_late"),
    [
        (4, EACH_MINUTE, False), (6, EACH_MINUTE, True), (14, "0 */5 * * * *", False), (16, "0 */5 * * * *", True),
        (600_000, "0 0 0 1 1 *", False), (-30, EACH_MINUTE, False), (-90, EACH_MINUTE, False),
    ],
)  # fmt: skip
def test_a_timer_is_late_after_three_of_its_intervals(minutes: int, schedule: str, is_late: bool) -> None:
    assert bool(silence(Beat(NOON - minutes * MINUTE), schedule, NOON)) is is_late


@pytest.mark.parametrize("row", [{}, {"at": None}, {"at": "yesterday"}, {"at": 5}])
def test_a_row_that_cannot_be_read_is_no_note(row: dict[str, Any]) -> None:
    assert beat_of(row) is None


# -- doctor -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "schedule", "status", "text"),
    [
        (1, EACH_MINUTE, Severity.OK, "has run now; version 0.1.0+abc, this msisync is"),
        (12, "0 */5 * * * *", Severity.OK, "has run 12 min ago"),
        (20, EACH_MINUTE, Severity.FAILED, "has not run for 20 min; version 0.1.0+abc"),
        (None, EACH_MINUTE, Severity.ATTENTION, "has never run here"),
        (None, "0 0 0 1 1 *", Severity.OK, "nothing can be told"),
        (-120, EACH_MINUTE, Severity.ATTENTION, "in the future, 2026-03-04 14:00 UTC"),
    ],
)
def test_the_doctor_tells_whether_the_app_runs(ago: int | None, schedule: str, status: Severity, text: str) -> None:
    beat = None if ago is None else Beat(NOON - ago * MINUTE, "host", "0.1.0+abc")
    found = notes.runs(beat, schedule, NOON)
    assert (found.severity, text in found.text) == (status, True), found
    assert status is Severity.OK or "docs/troubleshooting.md#" in found.remedy


# -- status -----------------------------------------------------------------------------------------------------


def status(beats: dict[str, Beat] | None, *, waiting: int = 0, oldest: int = 0, schedule: str = EACH_MINUTE) -> Status:
    """Where `waiting` messages are in the queue of persons, the oldest of so many minutes."""
    found = Status(
        NOON,
        Queue("changes", "changes", "Active", 0, 0, 0),
        Queue("dead_letters", "dead-letters", "Active", 0, 0, 0),
        {name: Entity(Queue(name, name, "Active", 0, 0, 0)) for name in ENTITIES},
        beats=beats,
        schedule=schedule,
    )
    queue = found.entities["person"].queue
    queue.waiting, queue.oldest = waiting, NOON - oldest * MINUTE if oldest else None
    return found


def ago(minutes: int) -> Beat:
    return Beat(NOON - minutes * MINUTE, "host", "0.1.0+abc")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (status({TIMER: ago(1)}), []),
        (status({TIMER: ago(1)}, waiting=2), []),
        (status({TIMER: ago(20)}), ["the app has told nothing for 20 min (release_deferred)"]),
        (status({TIMER: ago(20)}, waiting=2), ["the app has told nothing for 20 min (release_deferred)"]),
        (status({TIMER: ago(20)}, schedule="0 0 0 1 1 *"), []),
        (status({}, waiting=2), ["the app has never run here, and changes wait"]),
        (status({}), []),
        (status(None, waiting=2), []),
        (status({TIMER: ago(-120)}), ["the app's clock, or this machine's, is wrong: release_deferred has run at"]),
        (status({TIMER: ago(1), "sync_persons": ago(1)}, waiting=2, oldest=20), []),
        (status({TIMER: ago(1)}, waiting=2, oldest=20), ["sync_persons has not run ever, and person has messages"]),
        (
            status({TIMER: ago(1), "sync_persons": ago(60)}, waiting=2, oldest=20),
            ["sync_persons has not run for 60 min, and person has messages"],
        ),
    ],
)
def test_status_tells_what_of_the_app_is_silent(found: Status, told: list[str]) -> None:
    texts = [each for each in found.attentions if "oldest change" not in each.text]
    assert len(texts) == len(told)
    for text, start in zip(texts, told, strict=True):
        assert text.text.startswith(start)
        assert "docs/troubleshooting.md#" in text.remedy


def test_status_shows_when_the_app_ran_last_and_its_version() -> None:
    said = shown(lambda console: console.print(frame(status({TIMER: ago(2)}), MARKETO)))
    assert "release_deferred ran 2 min ago, version 0.1.0+abc, on host" in said
    assert "App" not in shown(lambda console: console.print(frame(status({}), MARKETO)))
