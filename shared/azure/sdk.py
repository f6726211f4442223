"""Azure's SDKs, each imported when one of its names is first used: together they take a second of a cold start.

Whoever reads `sdk.core_errors.AzureError` gets the class itself; mypy sees the modules as they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "amqp",
    "bus_errors",
    "bus_management",
    "bus_management_aio",
    "core",
    "core_errors",
    "identity",
    "servicebus",
    "servicebus_aio",
    "tables",
]

if TYPE_CHECKING:
    from azure import core, servicebus
    from azure.core import exceptions as core_errors
    from azure.data.tables import aio as tables
    from azure.identity import aio as identity
    from azure.servicebus import aio as servicebus_aio
    from azure.servicebus import amqp
    from azure.servicebus import exceptions as bus_errors
    from azure.servicebus import management as bus_management
    from azure.servicebus.aio import management as bus_management_aio
else:

    class _Lazy:
        """A module that is imported with the first name that is read from it."""

        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self._module), name)
            setattr(self, name, value)  # the next time it is an attribute
            return value

    core = _Lazy("azure.core")
    core_errors = _Lazy("azure.core.exceptions")
    identity = _Lazy("azure.identity.aio")
    tables = _Lazy("azure.data.tables.aio")
    servicebus = _Lazy("azure.servicebus")
    servicebus_aio = _Lazy("azure.servicebus.aio")
    amqp = _Lazy("azure.servicebus.amqp")
    bus_errors = _Lazy("azure.servicebus.exceptions")
    bus_management = _Lazy("azure.servicebus.management")
    bus_management_aio = _Lazy("azure.servicebus.aio.management")
