"""Reads a TOML file that people write; an error says what to do about it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from ..model.errors import ConfigurationError


def read(path: Path) -> dict[str, Any]:
    """What the file holds. Raises ConfigurationError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors on Windows begin a file with a mark
        return tomllib.loads(text)
    except FileNotFoundError:
        missing = f"{path.absolute()} does not exist; set SYNC_CONFIG or add the file"
        raise ConfigurationError("NoSyncConfig", missing) from None
    except OSError as error:
        what = "is a directory" if path.is_dir() else f"cannot be read ({error.strerror})"
        raise ConfigurationError("NoSyncConfig", f"{path} {what}; set SYNC_CONFIG to a file that can be read") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError("BadSyncConfig", f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("BadSyncConfig", f"{path}: {_syntax(str(error), text)}") from None


def _syntax(message: str, text: str) -> str:
    """What tomllib says, with the line that it stopped at and what is usually the matter."""
    at = re.search(r"line (\d+)", message)
    number = int(at.group(1)) if at else len(text.rstrip().split("\n"))
    line = text.split("\n")[number - 1].strip()
    remedy = "text needs quotes, and [section] stands on a line of its own"
    if re.match(r"Cannot (overwrite|declare|mutate)", message):
        remedy = "this key or section is there twice; delete one of the two"
    return f"line {number} is no valid TOML ({message.partition(' (')[0]}): {line[:80]}; {remedy}"
