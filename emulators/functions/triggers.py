"""The triggers of an app as the host needs them: read from its decorators, checked, settings resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulators.functions.schedule import Schedule
from emulators.functions.settings import AppSettings, HostError, truth_of


@dataclass(frozen=True, kw_only=True)
class QueueTrigger:
    """A function that a Service Bus queue starts. `many` is cardinality MANY, `binary` dataType binary."""

    function: str
    queue: str
    connection_string: str
    sessions: bool
    many: bool
    binary: bool
    #: None: what host.json says.
    auto_complete: bool | None


@dataclass(frozen=True, kw_only=True)
class HttpTrigger:
    """A function that a request starts. `methods` are upper case, none means all. `level` is lower case."""

    function: str
    route: str
    methods: frozenset[str]
    level: str


@dataclass(frozen=True, kw_only=True)
class TimerTrigger:
    """A function that the clock starts. `monitor`: missed runs are remembered over restarts."""

    function: str
    schedule: Schedule
    run_on_startup: bool
    monitor: bool


Trigger = QueueTrigger | HttpTrigger | TimerTrigger


def read_triggers(functions: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], settings: AppSettings) -> list[Trigger]:
    """Turn each function's bindings (as the worker reports them: function.json's keys) into a trigger.

    Raises HostError for a binding that this host does not have, and for settings that are missing.
    """
    return [_read_trigger(name, bindings, settings) for name, bindings in functions]


def _read_trigger(function: str, bindings: Sequence[Mapping[str, Any]], settings: AppSettings) -> Trigger:
    triggers: list[Trigger] = []
    for binding in bindings:
        match str(binding["type"]):
            case "serviceBusTrigger":
                triggers.append(_queue_trigger(function, binding, settings))
            case "httpTrigger":
                triggers.append(_http_trigger(function, binding, settings))
            case "timerTrigger":
                triggers.append(_timer_trigger(function, binding, settings))
            case "http":
                pass
            case other:
                msg = f"function '{function}': the local host has no binding '{other}'"
                raise HostError(msg)
    if len(triggers) != 1:
        msg = f"function '{function}' has {len(triggers)} triggers, and must have one"
        raise HostError(msg)
    return triggers[0]


def _queue_trigger(function: str, binding: Mapping[str, Any], settings: AppSettings) -> QueueTrigger:
    if not binding.get("queueName"):
        msg = f"function '{function}': the local host serves queues only, not topics"
        raise HostError(msg)
    auto_complete = binding.get("autoCompleteMessages")
    return QueueTrigger(
        function=function,
        queue=settings.resolve(str(binding["queueName"]), function),
        connection_string=settings.connection_string(binding.get("connection"), function),
        sessions=truth_of(binding.get("isSessionsEnabled") or False),
        many=_word(binding, "cardinality") == "many",
        binary=_word(binding, "dataType") == "binary",
        auto_complete=None if auto_complete is None else truth_of(auto_complete),
    )


def _http_trigger(function: str, binding: Mapping[str, Any], settings: AppSettings) -> HttpTrigger:
    methods = binding.get("methods") or ()
    return HttpTrigger(
        function=function,
        route=settings.resolve(str(binding.get("route") or function), function).strip("/"),
        methods=frozenset(str(method).upper() for method in methods),
        level=_word(binding, "authLevel") or "function",
    )


def _timer_trigger(function: str, binding: Mapping[str, Any], settings: AppSettings) -> TimerTrigger:
    expression = settings.resolve(str(binding["schedule"]), function)
    try:
        schedule = Schedule.parse(expression)
    except ValueError as error:
        msg = f"function '{function}': {error}"
        raise HostError(msg) from error
    monitor = binding.get("useMonitor")
    return TimerTrigger(
        function=function,
        schedule=schedule,
        run_on_startup=truth_of(binding.get("runOnStartup") or False),
        monitor=True if monitor is None else truth_of(monitor),
    )


def _word(binding: Mapping[str, Any], name: str) -> str:
    return str(binding.get(name) or "").lower()
