"""Sends messages and tells of each whether the broker has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...azure.service_bus import Bus, Outgoing


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of messages: for each in turn why it was not sent, empty where the broker has it.

    `hopeless`: what failed concerns the queue or the connection, so that the next ones would fail as well.
    """

    failures: Sequence[str]
    hopeless: bool = False


async def send(bus: Bus, messages: Sequence[Outgoing]) -> Sent:
    """Send in batches. When one message may be to blame for a failure, each is tried alone."""
    from azure.servicebus.exceptions import MessageSizeExceededError, ServiceBusError  # noqa: PLC0415  (half a second)

    try:
        if messages:
            await bus.send(messages)
    except (MessageSizeExceededError, ValueError) as error:  # ValueError: the SDK cannot encode it
        if len(messages) == 1:
            return Sent([short(error)])
    except (ServiceBusError, OSError) as error:
        return Sent([short(error)] * len(messages), hopeless=True)
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
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
