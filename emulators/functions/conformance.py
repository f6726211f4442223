"""Drives Microsoft's own Python worker library, azure-functions-runtime, without a host around it.

It indexes an app as the platform does and runs its functions with trigger payloads as the platform sends them, so a
test can prove that the platform accepts the app. Python 3.13 and later: there is no such package for older versions.
"""

import importlib
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from emulators.functions.wire import Typed, to_datum

FUNCTION_APP = "function_app"


class ConformanceError(Exception):
    """Microsoft's runtime refused the function, or the function raised. The text holds the runtime's traceback."""


@dataclass(frozen=True)
class IndexedFunction:
    """A function as Microsoft's runtime registered it. `raw_bindings` are the JSON texts that the host would get."""

    name: str
    function_id: str
    raw_bindings: list[str]


class _BindingInfo:
    """Stands in for the protobuf message of that name: the directions are the numbers of the protocol."""

    undefined = None
    out = 1
    inout = 2

    def __init__(self, *, type: str, data_type: int | None, direction: int) -> None:  # noqa: A002 (the protocol's name)
        self.type = type
        self.data_type = data_type
        self.direction = direction


#: The few protobuf classes that indexing needs.
_PROTOS = SimpleNamespace(
    BindingInfo=_BindingInfo, RpcFunctionMetadata=SimpleNamespace, RpcRetryOptions=SimpleNamespace
)


def index(app_dir: Path) -> list[IndexedFunction]:
    """Import `function_app` from `app_dir` afresh and index it. Raises what the import or the runtime raises."""
    from azure_functions_runtime import handle_event, loader  # noqa: PLC0415 (absent before Python 3.13)
    from azure_functions_runtime.bindings.meta import load_binding_registry  # noqa: PLC0415
    from azure_functions_runtime.utils.threadpool import start_threadpool_executor  # noqa: PLC0415

    load_binding_registry()
    start_threadpool_executor()
    sys.modules.pop(FUNCTION_APP, None)
    importlib.invalidate_caches()
    sys.path.insert(0, str(app_dir))
    try:
        functions = loader.index_function_app(f"{FUNCTION_APP}.py")
        found, _ = loader.process_indexed_function(_PROTOS, handle_event._functions, functions, str(app_dir))
    finally:
        sys.path.remove(str(app_dir))
    return [IndexedFunction(each.name, each.function_id, each.raw_bindings) for each in found]


def close() -> None:
    """Stop the threads that the runtime started for blocking functions."""
    from azure_functions_runtime.utils.threadpool import stop_threadpool_executor  # noqa: PLC0415

    stop: Callable[[], None] = stop_threadpool_executor
    stop()


async def invoke(
    function: IndexedFunction, inputs: Mapping[str, Typed], metadata: Mapping[str, Typed] | None = None
) -> Any:
    """Run an indexed function and return the runtime's `Datum` of its result, None when it gives none.

    `inputs` are the trigger parameter's name and data, `metadata` the trigger's: what `metadata.batch_invocation`,
    `timers.timer_invocation` and `web.http_value` build. Raises ConformanceError when the call did not end well.
    """
    from azure_functions_runtime import native_invocation  # noqa: PLC0415
    from azure_functions_runtime.bindings.datumdef import Datum  # noqa: PLC0415

    succeeded, returned, _, text, trace = await native_invocation.invocation_request_native(
        str(uuid.uuid4()),
        function.function_id,
        [(name, to_datum(value, Datum)) for name, value in inputs.items()],
        {name: to_datum(value, Datum) for name, value in (metadata or {}).items()},
    )
    if not succeeded:
        msg = f"function {function.name}: {text}\n{trace}"
        raise ConformanceError(msg)
    return returned
