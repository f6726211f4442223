"""What may be told: the edge that every log line passes, and texts of errors without the values that they quote.

What comes from a vendor is restated where it is received (model/vendor_text.py), so the app's own lines hold codes,
names and ids. Lines of other packages keep their constant text, without what was put into it.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..model.errors import DefectError, MsiSyncError
from ..model.safe_text import plain

#: The product's own loggers.
OWN = f"{__name__.partition('.')[0]}."
#: Frames of a traceback that are reported: where it was raised first.
FRAMES = 6
#: A place for an argument in a line of `logging`.
_PLACE = re.compile(r"%(?:\((\w+)\))?[-#0 +]*(?:\d+|\*)?(?:\.(?:\d+|\*))?[a-zA-Z]|%%")


def described(error: BaseException) -> str:
    """An error without its text, which may quote what it was raised for: its class, and where it was raised."""
    if isinstance(error, MsiSyncError) and not isinstance(error, DefectError):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(described(each) for each in error.exceptions))
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}{f' at {where}' if where else ''}"


@contextmanager
def without_values() -> Iterator[None]:
    """Around all work of an invocation: what its host will log of an error that leaves it quotes nothing.

    Errors of this product tell no values, those of Azure's SDKs and of connections only queues, tables and addresses.
    Any other becomes a DefectError. Raises what was raised, or that.
    """
    try:
        yield
    except (MsiSyncError, ConnectionError, TimeoutError):
        raise
    except Exception as error:
        if type(error).__module__.startswith("azure."):
            raise
        raise DefectError("Defect", described(error)) from None


def set_up_lines() -> None:
    """Have each line of the app's own loggers pass the edge: what is put into it stays on one line."""
    made = logging.getLogRecordFactory()
    if getattr(made, "__name__", "") != _own_line.__name__:
        logging.setLogRecordFactory(_own_line)


def _own_line(name: str, *details: Any, **more: Any) -> logging.LogRecord:
    line = logging.LogRecord(name, *details, **more)
    if str(name).startswith(OWN) and isinstance(line.args, tuple):
        told = (described(argument) if isinstance(argument, BaseException) else argument for argument in line.args)
        line.args = tuple(plain(argument) if isinstance(argument, str) else argument for argument in told)
    return line


class Lines(logging.Formatter):
    """What is exported of a line: all of the app's own, of others the constant text, numbers and classes of errors."""

    def format(self, record: logging.LogRecord) -> str:
        """Without traceback: its last line is an error's text."""
        if record.name.startswith(OWN):
            return record.getMessage()
        return f"{record.name}: {_constant(record)}"


def _constant(record: logging.LogRecord) -> str:
    place = f"a line of {record.module}:{record.lineno}"
    if not record.args or not isinstance(record.msg, str):
        return place  # perhaps made up of values before it came here
    arguments = list(record.args) if isinstance(record.args, tuple) else []

    def told(found: re.Match[str]) -> str:
        if found.group() == "%%":
            return "%"
        argument = arguments.pop(0) if arguments else None
        if isinstance(argument, BaseException):
            return type(argument).__name__
        return str(argument) if isinstance(argument, int | float) else "…"

    return f"{_PLACE.sub(told, record.msg)} ({place})"
