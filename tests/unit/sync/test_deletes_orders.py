"""Deletions, restored rows and crashes in any order: Marketo ends as Dynamics is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.outcome import Later, Removed, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.marketo_cache import Known
from tests.support.deletions import FLAG, World, deleted, lost
from tests.support.values import NOON, guid

# any order


class CrashError(Exception):
    """The process dies at this point."""


class History:
    """A contact that is deleted and restored, and the messages that tell of it, in any order."""

    def __init__(self, policy: str, order: Any) -> None:
        self.policy = policy
        self.order = order
        self.world = World()
        self.restart()
        self.there = self.world.dataverse.rows_of["contact"]
        self.queue: list[Record] = []
        self.handled: list[Record] = []
        self.restore()

    def restart(self) -> None:
        self.world.known = Known(clock=lambda: self.world.ticks)
        self.world.with_rules(person=self.policy, **({"deleted_flag": FLAG} if self.policy == "flag" else {}))

    def delete(self) -> None:
        if self.there:
            self.there.clear()
            self.queue.append(deleted())

    def restore(self) -> None:
        if not self.there:
            self.there.add(guid(10))
            self.queue.append(Record("contact", guid(10), NOON))

    def replay(self) -> None:
        if self.handled:
            self.queue.append(replace(self.order.choice(self.handled), replays=1))

    def die_before(self) -> None:
        self.world.marketo.before = [CrashError()]

    def die_after(self) -> None:
        self.world.marketo.after = [CrashError()]

    def lose_the_answer(self) -> None:
        self.world.marketo.after = [lost()]

    async def deliver(self) -> None:
        record = self.queue.pop(self.order.randrange(len(self.queue)))
        try:
            again, outcome = await self.world.one("person", record)
        except CrashError:
            self.queue.append(record)  # the broker delivers it again, to a new process
            self.restart()
            return
        if isinstance(outcome, Retry | Later):
            self.queue.append(again)
            self.world.ticks += 300
        else:
            assert isinstance(outcome, Synced | Removed | Skipped), outcome
            self.handled.append(record)

    async def run(self, steps: Sequence[str]) -> None:
        for step in steps:
            if step != "deliver":
                getattr(self, step)()
            elif self.queue:
                await self.deliver()
        while self.queue:
            await self.deliver()


STEPS = st.lists(
    st.sampled_from(["delete", "restore", "replay", "deliver", "die_before", "die_after", "lose_the_answer"]),
    max_size=14,
)


@pytest.mark.parametrize("policy", ["delete", "flag", "unlink"])
@given(steps=STEPS, order=st.randoms(use_true_random=False))
async def test_whatever_comes_in_whatever_order_marketo_ends_as_dynamics_is(
    policy: str, steps: list[str], order: Any
) -> None:
    history = History(policy, order)
    await history.run(steps)
    persons = history.world.marketo.records["person"]
    there = [row for row in persons if row["externalPersonId"] == guid(10) and not row.get(FLAG)]
    assert len(there) == len(history.there)
