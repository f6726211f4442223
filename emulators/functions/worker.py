"""The worker process: it imports the app, converts trigger data with azure-functions' converters, runs the functions.

`python -m emulators.functions.worker --app-dir DIR --socket FD`, started by the host only. It ends with the host.
"""

import argparse
import asyncio
import contextvars
import importlib
import inspect
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
import typing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.functions import meta

from emulators.functions import usage
from emulators.functions.sampler import Sampler
from emulators.functions.settings import CLOCK_VARIABLE
from emulators.functions.wire import Invocation, Typed, receive, send, to_datum
from emulators.processes import die_with_parent

logger = logging.getLogger("emulators.functions.worker")

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

Binding = dict[str, Any]


@dataclass(frozen=True)
class Function:
    """A function of the app, and what a call of it needs."""

    name: str
    call: Callable[..., Any]
    parameter: str
    converter: Any
    wants_context: bool
    answers_http: bool
    bindings: list[Binding]


class CallContext(func.Context):
    """What a function that asks for `context` gets."""

    def __init__(self, function: str, directory: str, invocation_id: str) -> None:
        self._function = function
        self._directory = directory
        self._invocation_id = invocation_id
        self._local = threading.local()

    @property
    def invocation_id(self) -> str:
        """The id of this call."""
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        """A place that belongs to this call."""
        return self._local

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._function

    @property
    def function_directory(self) -> str:
        """The app's directory."""
        return self._directory

    @property
    def trace_context(self) -> Any:
        """None: this host starts no traces."""
        return None

    @property
    def retry_context(self) -> Any:
        """None: Service Bus triggers have no retry policy."""
        return None


def load_functions(app_dir: Path) -> dict[str, Function]:
    """Import `function_app` from `app_dir` and list its functions, as the platform's indexer does.

    Raises whatever the import raises, and ValueError when there is not exactly one app object.
    """
    sys.path.insert(0, str(app_dir))
    module = importlib.import_module("function_app")
    apps = {id(value): value for value in vars(module).values() if isinstance(value, func.FunctionRegister)}
    if len(apps) != 1:
        msg = f"function_app.py defines {len(apps)} function apps at its top level, and must define one"
        raise ValueError(msg)
    return {function.name: function for function in map(_describe, next(iter(apps.values())).get_functions())}


def _describe(indexed: Any) -> Function:
    call = indexed.get_user_function()
    trigger = indexed.get_trigger()
    if trigger is None:
        msg = f"function '{indexed.get_function_name()}' has no trigger"
        raise ValueError(msg)
    bindings = [json.loads(raw) for raw in indexed.get_raw_bindings()]
    parameters = set(inspect.signature(call).parameters)
    wants_context = "context" in parameters and trigger.name != "context"
    expected = {trigger.name, "context"} if wants_context else {trigger.name}
    if parameters != expected:
        msg = (
            f"function '{indexed.get_function_name()}' takes {sorted(parameters)}, its trigger gives {sorted(expected)}"
        )
        raise ValueError(msg)
    converter = _converter(trigger.type)
    annotation = typing.get_type_hints(call).get(trigger.name)
    if annotation is not None and converter is not None and not converter.check_input_type_annotation(annotation):
        # The platform's worker refuses the builtin list[…] in the same way: it wants typing.List[…].
        msg = f"function '{indexed.get_function_name()}': parameter '{trigger.name}' cannot be annotated {annotation}"
        raise ValueError(msg)
    return Function(
        name=indexed.get_function_name(),
        call=call,
        parameter=trigger.name,
        converter=converter,
        wants_context=wants_context,
        answers_http=any(binding["type"] == "http" for binding in bindings),
        bindings=bindings,
    )


def _converter(binding: str) -> Any:
    return meta.get_binding_registry().get(binding)  # type: ignore[no-untyped-call]  # azure-functions leaves it untyped


class Worker:
    """Runs calls concurrently on one event loop, blocking functions in threads."""

    def __init__(self, app_dir: Path, functions: dict[str, Function], writer: asyncio.StreamWriter) -> None:
        self._app_dir = app_dir
        self._functions = functions
        self._writer = writer
        threads = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT")
        self._threads = ThreadPoolExecutor(int(threads) if threads else None, thread_name_prefix="function")
        self._converting = 0.0
        self._cpu_before = usage.cpu_seconds()
        self._sampler = Sampler(app_dir)
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, number: int, kind: str, argument: Any) -> None:
        """Start what the host asks for; the answer carries the same number."""
        if kind == "invoke":
            task = asyncio.get_running_loop().create_task(self._answer_call(number, *argument))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        actions: dict[str, Callable[[Any], Any]] = {
            "specialize": self._specialize,
            "stats": lambda _: self._stats(),
            "reset": lambda _: self._reset(),
            "profile_start": lambda _: self._sampler.start(),
            "profile_stop": lambda _: self._sampler.stop(),
        }
        send(self._writer, (number, True, actions[kind](argument)))

    async def _answer_call(self, number: int, invocation_id: str, invocation: Invocation) -> None:
        try:
            result = await self._call(self._functions[invocation.function], invocation_id, invocation)
        except Exception as error:
            logger.exception("function %s failed", invocation.function)
            send(self._writer, (number, False, f"{type(error).__name__}: {error}"))
        else:
            send(self._writer, (number, True, result))

    async def _call(self, function: Function, invocation_id: str, invocation: Invocation) -> Typed | None:
        started = time.thread_time()
        metadata = {name: to_datum(typed, meta.Datum) for name, typed in invocation.metadata.items()}
        value = function.converter.decode(to_datum(invocation.data, meta.Datum), trigger_metadata=metadata)
        self._converting += time.thread_time() - started
        arguments = {function.parameter: value}
        if function.wants_context:
            arguments["context"] = CallContext(function.name, str(self._app_dir), invocation_id)
        if inspect.iscoroutinefunction(function.call):
            returned = await function.call(**arguments)
        else:
            context = contextvars.copy_context()
            returned = await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: context.run(function.call, **arguments)
            )
        return _encode(function, returned)

    def _specialize(self, name: str) -> None:
        """Serve one function of the app from now on, and name it in the log."""
        self._functions = {name: self._functions[name]}
        for handler in logging.getLogger().handlers:
            handler.setFormatter(logging.Formatter(LOG_FORMAT.replace("%(levelname)s", f"%(levelname)s [{name}]")))

    def _stats(self) -> dict[str, float]:
        return {
            "pid": os.getpid(),
            "cpu_seconds": usage.cpu_seconds() - self._cpu_before,
            "converter_cpu_seconds": self._converting,
            "peak_rss_bytes": usage.peak_rss_bytes(),
        }

    def _reset(self) -> None:
        self._converting = 0.0
        self._cpu_before = usage.cpu_seconds()
        usage.reset_peak_rss()


def _encode(function: Function, returned: Any) -> Typed | None:
    if function.answers_http:
        datum = _converter("http").encode(returned, expected_type=None)
        if datum.type == "string":
            return Typed("string", datum.value)
        value = datum.value
        cookies = [morsel.OutputString() for jar in value["cookies"] or [] for morsel in jar.values()]
        headers = {name: header.value for name, header in value["headers"].items()}
        return Typed("http", (int(value["status_code"].value), headers, cookies, value["body"].value))
    if returned is not None:
        msg = f"function {function.name!r} without a $return binding returned a non-None value"
        raise RuntimeError(msg)
    return None


def load(app_dir: Path) -> "dict[str, Function] | str":
    """The functions of the app, or the traceback of what importing it has raised."""
    try:
        return load_functions(app_dir)
    except Exception:  # noqa: BLE001 (whatever importing an app raises is what the host has to show)
        return traceback.format_exc()


async def _serve(app_dir: Path, functions: dict[str, Function] | str, link: socket.socket) -> None:
    """Announce the app's functions, then answer the host until it is gone."""
    reader, writer = await asyncio.open_connection(sock=link)
    if isinstance(functions, str):
        send(writer, (0, False, functions))
        await writer.drain()
        return
    worker = Worker(app_dir, functions, writer)
    send(writer, (0, True, [(function.name, function.bindings) for function in functions.values()]))
    while True:
        try:
            message = await receive(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            # The host is gone: what runs here must stop at once, as it would with the whole instance.
            os._exit(0)
        worker.handle(*message)


def run(app_dir: Path, functions: dict[str, Function] | str, link: int) -> None:
    """Serve the host at this socket with what `load` gave, by the clock that the settings ask for."""
    offset = float(os.environ.get(CLOCK_VARIABLE, "0"))
    if offset:
        import time_machine  # noqa: PLC0415  (only for an instance whose clock is wrong)

        time_machine.travel(datetime.now(UTC) + timedelta(seconds=offset), tick=True).start()
    asyncio.run(_serve(app_dir, functions, socket.socket(fileno=link)))


def set_up() -> argparse.Namespace:
    """Make this a process of the host, with the host's log. Returns the arguments."""
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Whoever stops the whole process group stops the host, and the host lets running calls finish.
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser()
    parser.add_argument("--app-dir", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("modules", nargs="*", help="to be imported, too")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return arguments


def main() -> None:
    """Run the worker process."""
    arguments = set_up()
    run(arguments.app_dir, load(arguments.app_dir), arguments.socket)


if __name__ == "__main__":
    main()
