"""What `msisync status` finds: a system in which all is well, and one in which everything is wrong."""

from dataclasses import replace
from datetime import timedelta

from shared.azure.parked_rows import ParkedCount
from shared.cli.status.facts import Entity, Queue, Status
from shared.cli.status.text import frame
from shared.marketo.usage import Usage
from shared.model.entities import ENTITIES
from shared.sync.circuit import Outage
from shared.sync.heartbeat import TIMER, Beat
from shared.sync.runs.model import RunKind, Scope, new_run
from tests.support.commands import printed
from tests.support.queues import QUEUES
from tests.support.run_commands import MARKETO
from tests.support.values import NOON


def all_is_well() -> Status:
    """A system in which nothing waits."""

    def queue(setting: str) -> Queue:
        return Queue(setting, QUEUES.of(setting), "Active", 0, 0, 0)

    usage = Usage(1234, 30_000, elapsed=0.5, closed=None, everybody=20_345, measured_at=NOON, as_of=NOON)
    entities = {name: Entity(queue(name)) for name in ENTITIES}
    return Status(NOON, queue("changes"), queue("dead_letters"), entities, budget=usage)


def in_trouble(status: Status) -> None:
    """Let everything that `msisync status` can find be wrong."""
    persons, companies = status.entities["person"], status.entities["company"]
    status.changes.waiting, status.changes.oldest = 3, NOON - timedelta(seconds=40)
    persons.queue.status = "ReceiveDisabled"
    persons.queue.waiting, persons.queue.scheduled, persons.queue.oldest = 118, 12, NOON - timedelta(minutes=19)
    persons.last_hour, persons.last_day = {"synced": 2310}, {"synced": 31_877}
    persons.by_slot = [0, 120, 340, 90, 0, 10, 800, 400, 200, 100, 150, 100]
    persons.by_hour = [*range(100, 2400, 100), 2310]
    persons.parked = ParkedCount({"company": 120}, NOON - timedelta(hours=3))
    persons.letters, status.dead_letters.waiting = 12, 14
    companies.last_hour, companies.last_day = {"synced": 60}, {"synced": 1204}
    companies.by_slot, companies.by_hour = [5] * 12, [50] * 23 + [54]
    companies.parked = ParkedCount({"sales_person": 3})
    status.circuits["company"] = Outage(NOON - timedelta(minutes=9), NOON + timedelta(minutes=1), "marketo 503: away")
    scope = Scope(("account", "contact"))
    run = new_run(RunKind.INITIAL_SYNC, scope, NOON - timedelta(hours=2), unique="abcd", expected={"contact": 90_000})
    status.runs = [run.table("contact", rows=40_000)]
    status.beats = {TIMER: Beat(NOON - timedelta(seconds=12), "instance-1", "0.1.0+1a2b3c4d")}
    status.budget = replace(status.budget, used_today=21_212) if status.budget else None
    finished = (NOON - timedelta(minutes=4)).isoformat()
    last = {"kind": "changes", "started": finished, "finished": finished, "written": 37, "complete": True}
    status.write_back.runs = [last]
    status.write_back.refused, status.write_back.last_refusal = 2, "0x80040220 no privilege"


def text_of(status: Status, width: int = 80) -> str:
    """What people read of it."""
    return printed(lambda console: console.print(frame(status, MARKETO)), width)
