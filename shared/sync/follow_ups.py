"""What is synced because of what was just synced: children, the rows that go on after a merge, roles.

All of it is sent to the queues before the records that caused it are settled: after a kill it is sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ..azure.service_bus import Bus, Outgoing
from ..config.settings import QueueSettings
from ..marketo.client import MarketoClient
from ..model.entities import OPPORTUNITY_ROLE, Entity
from ..model.errors import BrokerUnavailableError, MsiSyncError
from ..model.outcome import Failed, Merged, Outcome, Parent, Removed, Skipped, Synced, of_error
from ..model.record import Record, coalesce
from .dependants import Dependants
from .parking import Parking
from .recreated import children_in_marketo
from .role_requests import Begun, RoleRequests
from .routing import Routed, messages_of
from .scheduling import AT_ONCE, Windows
from .settlement import storage_fails

#: Seconds: the roles of opportunities that have most likely been sent before come together at multiples of this.
OTHER_ROLES_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUps:
    """Of the invocations of one process. `role_requests`: which opportunities have their roles synced after them."""

    queues: QueueSettings
    bus: Bus
    dependants: Dependants
    marketo: MarketoClient
    parking: Parking
    role_requests: RoleRequests

    def work(self, routed: Routed, windows: Windows, *, at: datetime | None = None) -> list[Outgoing]:
        """The messages of this work. `at`: not in the windows of changes, but then."""
        return [
            message
            for entity, group in routed.groups()
            for message in messages_of(
                self.queues, entity, group, burst=windows.burst, at=at or windows.next_cycle(entity)
            )
        ]

    def put_off(self, routed: Routed, windows: Windows) -> list[Outgoing]:
        """While changes are collected, comparisons of roles are collected for longer; takes them out of `routed`.

        An old role does less harm than a late one, and each comparison costs calls, be it of one opportunity or of 300.
        """
        compares = any(not record.additive for record in routed.records.get(OPPORTUNITY_ROLE.name, ()))
        at = windows.unhurried(OPPORTUNITY_ROLE.name) if compares else None
        return self.work(routed.put_off_comparisons(), windows, at=at) if at else []

    async def send_on(self, records: Sequence[Record], windows: Windows = AT_ONCE) -> None:
        """Sync these rows."""
        routed = Routed()
        routed.add(records)
        await self.bus.send(self.work(routed, windows))

    async def resend(self, records: Sequence[Record], windows: Windows) -> None:
        """Sync what depends on these rows."""
        async for page in self.dependants.of(coalesce(records)):
            await self.send_on(page, windows)

    async def relink(
        self, entity: Entity, outcomes: list[tuple[Record, Outcome]], windows: Windows
    ) -> list[tuple[Record, Outcome]]:
        """Sync the rows that went without a link, or with another one: a parent was let in or has changed just now.

        Gives the outcomes, with another try for those parents when their children cannot be read.
        """
        entered = [r for r, outcome in outcomes if _must_be_followed(r, outcome)]
        anew = [r for r, outcome in outcomes if isinstance(outcome, Synced) and outcome.anew and r not in entered]
        try:
            await self.send_on(_winners(outcomes), windows)
            await self.resend(entered, windows)
            lost = [Parent(entity.name, record.table, record.id) for record in anew]
            parked = await self.parking.links_to(lost) if lost else []
            async for page in children_in_marketo(self.dependants, self.marketo, anew):
                await self.send_on(page, windows)
                sent = {record.key for record in page}
                await storage_fails(self.parking.linked([child for child in parked if child.record.key in sent]))
        except BrokerUnavailableError:  # nothing is durable: the host delivers the messages again
            raise
        except MsiSyncError as error:
            again = {**{r.key: r for r in entered}, **{r.key: replace(r, filter_changed=True) for r in anew}}
            return [(again.get(r.key, r), of_error(error) if r.key in again else outcome) for r, outcome in outcomes]
        return outcomes

    async def roles(self, begun: Begun, outcomes: Sequence[tuple[Record, Outcome]], windows: Windows) -> None:
        """Sync the roles of opportunities that may have another primary contact, or may be new in Marketo.

        Those of the others most likely follow for nothing: they are collected.
        """
        changed, others = Routed(), Routed()
        for routed, records in zip((changed, others), self.role_requests.of(begun, outcomes), strict=True):
            routed.add_roles(records)
        at = windows.together(OTHER_ROLES_SECONDS)
        await self.bus.send([*self.work(changed, windows), *self.work(others, windows, at=at)])
        self.role_requests.end(begun, outcomes)


def _winners(outcomes: Sequence[tuple[Record, Outcome]]) -> list[Record]:
    """The rows that go on in place of those that were merged into them, and what refers to them now with them."""
    return [
        replace(Record(o.winner.table, o.winner.id, r.first_seen), filter_changed=True, deciding=True)
        for r, o in outcomes
        if isinstance(o, Merged)
    ]


def _must_be_followed(record: Record, outcome: Outcome) -> bool:
    """Whether other rows must be synced again: when it may have come into Marketo just now, and whatever has become of
    it when its row decides for them.
    """
    if record.deciding and isinstance(outcome, Synced | Removed | Skipped | Failed):
        return True
    return record.filter_changed and isinstance(outcome, Synced)
