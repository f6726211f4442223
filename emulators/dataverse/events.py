"""Which registered steps a change concerns, and the notification that each of them posts."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from emulators.dataverse import notifications, registration
from emulators.dataverse.delivery import Delivery, Job
from emulators.dataverse.environment import Environment
from emulators.dataverse.notifications import NameOf, Notification, Origin
from emulators.dataverse.schema import visible_change
from emulators.dataverse.steps import Step, enabled_steps
from emulators.dataverse.store import Change, Transaction

_REGISTRATION: Final = frozenset({"serviceendpoint", "sdkmessageprocessingstep", "sdkmessageprocessingstepimage"})
# Dataverse, standard tables: the pipelines are merged, so a step on the bulk message sees single writes too.
_BULK_OF: Final = {"Create": "CreateMultiple", "Update": "UpdateMultiple"}


class EventPipeline:
    """Turns finished transactions into posts."""

    def __init__(self, environment: Environment, delivery: Delivery) -> None:
        self._environment = environment
        self._delivery = delivery
        self._steps: list[Step] | None = None

    def forget_steps(self) -> None:
        """Read the registration again before the next change."""
        self._steps = None

    async def commit(self, transaction: Transaction) -> None:
        """Run the synchronous steps, then queue the others. Raises ApiError when a synchronous one fails."""
        changes = transaction.changes
        if any(change.table in _REGISTRATION for change in changes):
            self.forget_steps()
        if self._steps is None:
            self._steps = list(enabled_steps(self._environment.store))
        if not self._steps or not changes:
            return
        jobs = [job for job in self._jobs(transaction) if not job.step.bypassed(transaction.bypass)]
        synchronous = [job for job in jobs if job.step.synchronous]
        if synchronous:
            async with transaction.uncommitted():
                for job in synchronous:
                    await self._delivery.post_now(job)
                if self._environment.switches.commit_gate:
                    await self._environment.gates[self._environment.switches.commit_gate].arrive()
        for job in jobs:
            if not job.step.synchronous:
                self._delivery.queue(job)

    def _jobs(self, transaction: Transaction) -> Iterator[Job]:
        origin = Origin(at=self._environment.now(), user_id=transaction.user, tag=transaction.tag)
        origin = replace(origin, correlation_id=notifications.new_id(), request_id=notifications.new_id())
        store = self._environment.store
        changes = [visible_change(store, change) for change in transaction.changes]
        for change in changes:
            for step in self._matching(change.message, change.table):
                if step.wants(change):
                    yield Job(step, self._notification(change, step, origin))
        for message, bulk in _BULK_OF.items():
            for table in {change.table for change in changes if change.message == message}:
                for step in self._matching(bulk, table):
                    rows = [c for c in changes if (c.message, c.table) == (message, table)]
                    yield Job(step, self._bulk_notification(bulk, table, rows, step, origin))

    def _matching(self, message: str, table: str) -> Iterable[Step]:
        return [step for step in self._steps or () if step.message == message and step.table in {None, table}]

    def _origin(self, step: Step, origin: Origin) -> Origin:
        return replace(
            origin,
            user_id=step.user or origin.user_id,
            initiating_user_id=origin.user_id,
            step_id=step.id,
            step_name=step.name,
            asynchronous=not step.synchronous,
        )

    def _notification(self, change: Change, step: Step, origin: Origin) -> Notification:
        pre: dict[str, Any] = {}
        post: dict[str, Any] = {}
        name_of: NameOf = self._environment.store.name_of
        for image in step.images:
            names = image.attributes or None
            if image.kind != registration.POST_IMAGE and change.before is not None:
                pre[image.alias] = notifications.image(change.table, change.before, names, name_of)
            if image.kind != registration.PRE_IMAGE and change.message != "Delete":
                post[image.alias] = notifications.image(change.table, change.row, names, name_of)
        found = notifications.notification(
            change.message,
            change.table,
            change.row,
            self._origin(step, origin),
            columns=change.columns,
            parameters=change.parameters or None,
            output=change.output or None,
            pre_images=pre,
            post_images=post,
        )
        found.context["Stage"] = step.stage
        return found

    def _bulk_notification(
        self, message: str, table: str, changes: list[Change], step: Step, origin: Origin
    ) -> Notification:
        columns = None if message == "CreateMultiple" else tuple(dict.fromkeys(n for c in changes for n in c.columns))
        parameters, output = notifications.multiple(table, [change.row for change in changes], columns)
        own = self._origin(step, origin)
        return notifications.notification(message, table, {}, own, parameters=parameters, output=output)
