"""App settings and host.json, with the names, defaults and overrides of the real host."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

#: The real host reads `AzureWebJobsServiceBus` when a Service Bus trigger names no connection.
DEFAULT_CONNECTION = "ServiceBus"
#: host.json can be overridden by app settings of this prefix, with `__` for every level.
OVERRIDE_PREFIX = "AzureFunctionsJobHost__"
#: Seconds that the clock of a worker is ahead: for tests of clocks that are wrong.
CLOCK_VARIABLE = "FUNCTIONS_CLOCK_OFFSET_SECONDS"
#: ServiceBusRetryOptions.TryTimeout: how long a receive waits when sessionIdleTimeout is not set.
OPERATION_TIMEOUT = 60.0

_TIMESPAN = re.compile(r"^(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{2}):(?P<seconds>\d{2}(?:\.\d{1,7})?)$")


class HostError(Exception):
    """The host cannot start. The message says which function or file is wrong, and what to change."""


class AppSettings:
    """What the app is configured with: the environment first, then `Values` of local.settings.json."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)

    @classmethod
    def load(cls, app_dir: Path, environment: Mapping[str, str] | None = None) -> "AppSettings":
        """Read local.settings.json of `app_dir`, if there is one, and put the environment over it."""
        path = app_dir / "local.settings.json"
        values: dict[str, str] = {}
        if path.exists():
            local = _read_json(path).get("Values", {})
            values = {name: str(value) for name, value in local.items() if value is not None}
        return cls({**values, **(os.environ if environment is None else environment)})

    def resolve(self, text: str, function: str) -> str:
        """Replace every `%Name%` in `text` by that setting. Raises HostError when one is missing."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if not self.values.get(name):
                msg = f"function '{function}': the setting '{name}' that %{name}% refers to is not set"
                raise HostError(msg)
            return self.values[name]

        return re.sub(r"%([^%]+)%", value, text)

    def connection_string(self, connection: str | None, function: str) -> str:
        """Return the Service Bus connection string behind the name that a trigger gives.

        Raises HostError when there is none, or when it is identity-based, which needs Entra.
        """
        name = connection or DEFAULT_CONNECTION
        found = self.values.get(name) or self.values.get(f"AzureWebJobs{name}")
        if found:
            return found
        if self.values.get(f"{name}__fullyQualifiedNamespace"):
            msg = f"function '{function}': '{name}' is identity-based, and the local host needs a connection string"
        else:
            msg = f"function '{function}': the connection setting '{name}' is not set"
        raise HostError(msg)


@dataclass(frozen=True, kw_only=True)
class ServiceBusOptions:
    """host.json `extensions.serviceBus`, as in extension 5.x. Times are seconds."""

    prefetch_count: int = 0
    auto_complete_messages: bool = True
    max_auto_lock_renewal: float = 300.0
    max_concurrent_calls: int = 16
    max_concurrent_sessions: int = 8
    max_message_batch_size: int = 1000
    session_idle_timeout: float = OPERATION_TIMEOUT


@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """What of host.json concerns this host. `function_timeout` is seconds, None for unlimited."""

    service_bus: ServiceBusOptions
    route_prefix: str = "api"
    function_timeout: float | None = 1800.0

    @classmethod
    def load(cls, app_dir: Path, settings: AppSettings) -> "HostOptions":
        """Read host.json and lay the `AzureFunctionsJobHost__…` settings over it.

        Raises HostError when the file is missing or a value cannot be read.
        """
        path = app_dir / "host.json"
        if not path.exists():
            msg = f"{app_dir} holds no host.json: it is not the root of a function app"
            raise HostError(msg)
        document = _lowered(_read_json(path))
        for name, value in settings.values.items():
            if name.lower().startswith(OVERRIDE_PREFIX.lower()):
                _put(document, name[len(OVERRIDE_PREFIX) :].lower().split("__"), value)
        extensions = document.get("extensions", {})
        try:
            return cls(
                service_bus=_service_bus_options(extensions.get("servicebus", {})),
                route_prefix=str(extensions.get("http", {}).get("routeprefix", "api")).strip("/"),
                function_timeout=_function_timeout(document.get("functiontimeout")),
            )
        except (TypeError, ValueError) as error:
            msg = f"host.json (or a setting that overrides it): {error}"
            raise HostError(msg) from error


def seconds_of(timespan: object) -> float:
    """Return the seconds of a .NET TimeSpan such as `00:05:00` or `1.12:00:00`. Raises ValueError for anything else."""
    match = _TIMESPAN.match(str(timespan))
    if match is None:
        msg = f"'{timespan}' is not a time span (hh:mm:ss)"
        raise ValueError(msg)
    parts = {name: float(value or 0) for name, value in match.groupdict().items()}
    return timedelta(**parts).total_seconds()


def truth_of(value: object) -> bool:
    """Return the boolean that JSON or an app setting spells. Raises ValueError for anything else."""
    spelled = str(value).lower()
    if spelled not in {"true", "false"}:
        msg = f"'{value}' is neither true nor false"
        raise ValueError(msg)
    return spelled == "true"


def _service_bus_options(section: Mapping[str, Any]) -> ServiceBusOptions:
    default = ServiceBusOptions()

    def number(name: str, fallback: int, least: int) -> int:
        value = int(section.get(name.lower(), fallback))
        if value < least:
            msg = f"{name} is {value}, and must be at least {least}"
            raise ValueError(msg)
        return value

    def seconds(name: str, fallback: float) -> float:
        return seconds_of(section[name.lower()]) if name.lower() in section else fallback

    return ServiceBusOptions(
        prefetch_count=number("prefetchCount", default.prefetch_count, 0),
        auto_complete_messages=truth_of(section.get("autocompletemessages", default.auto_complete_messages)),
        max_auto_lock_renewal=seconds("maxAutoLockRenewalDuration", default.max_auto_lock_renewal),
        max_concurrent_calls=number("maxConcurrentCalls", (os.cpu_count() or 1) * default.max_concurrent_calls, 1),
        max_concurrent_sessions=number("maxConcurrentSessions", default.max_concurrent_sessions, 1),
        max_message_batch_size=number("maxMessageBatchSize", default.max_message_batch_size, 1),
        session_idle_timeout=seconds("sessionIdleTimeout", default.session_idle_timeout),
    )


def _function_timeout(value: object) -> float | None:
    if value is None:
        return HostOptions.function_timeout
    return None if str(value) == "-1" else seconds_of(value)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        msg = f"{path} is not valid JSON: {error}"
        raise HostError(msg) from error
    if not isinstance(document, dict):
        msg = f"{path} must hold a JSON object"
        raise HostError(msg)
    return document


def _lowered(document: Any) -> Any:
    """.NET configuration keys are case-insensitive."""
    if isinstance(document, dict):
        return {name.lower(): _lowered(value) for name, value in document.items()}
    return document


def _put(document: dict[str, Any], path: list[str], value: str) -> None:
    for name in path[:-1]:
        inner = document.get(name)
        if not isinstance(inner, dict):
            inner = document[name] = {}
        document = inner
    document[path[-1]] = value
