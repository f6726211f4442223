"""Sends messages and tells of each whether the broker has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...azure.service_bus import Bus, Outgoing
from ...model.errors import BrokerUnavailableError


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of messages: for each in turn why it was not sent, empty where the broker has it.

    `hopeless`: what failed concerns the queue or the connection, so that the next ones would fail as well.
    """

    failures: Sequence[str]
    hopeless: bool = False


async def send(bus: Bus, messages: Sequence[Outgoing]) -> Sent:
    """Send in batches. When one message may be to blame for a failure, each is tried alone."""
    try:
        if messages:
            await bus.send(messages)
    except (BrokerUnavailableError, ValueError) as error:  # ValueError: the SDK cannot encode it
        if isinstance(error, BrokerUnavailableError) and not error.is_too_large:
            return Sent([short(error)] * len(messages), hopeless=True)
        if len(messages) == 1:
            return Sent([short(error)])
    else:
        return Sent([""] * len(messages))
    failures: list[str] = []
    for message in messages:
        alone = await send(bus, [message])
        failures += alone.failures
        if alone.hopeless:
            return Sent(failures + [failures[-1]] * (len(messages) - len(failures)), hopeless=True)
    return Sent(failures)


def short(error: Exception) -> str:
    """An error of the SDK on one line."""
    raised = error.__cause__ or error
    lines = str(raised).splitlines() or [""]
    return f"{type(raised).__name__}: {lines[0][:200]}"
