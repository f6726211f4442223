"""Azure's SDKs, each imported when it is first used: together they take a second of a cold start."""
# ruff: noqa: F401  (the adapters read these names)

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what mypy sees
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
    _MODULES = {
        "core": "azure.core",
        "core_errors": "azure.core.exceptions",
        "identity": "azure.identity.aio",
        "tables": "azure.data.tables.aio",
        "servicebus": "azure.servicebus",
        "servicebus_aio": "azure.servicebus.aio",
        "amqp": "azure.servicebus.amqp",
        "bus_errors": "azure.servicebus.exceptions",
        "bus_management": "azure.servicebus.management",
        "bus_management_aio": "azure.servicebus.aio.management",
    }

    def __getattr__(name: str) -> object:
        """A module, the first time that its name is read."""
        if name not in _MODULES:
            raise AttributeError(name)
        return globals().setdefault(name, import_module(_MODULES[name]))
