"""local.settings.json, read as the Functions tools read it: Newtonsoft's JSON, in any encoding of Unicode.

That is JSON with comments, trailing commas and texts in single quotes; names of its sections in any case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..model.errors import ConfigurationError

#: Parts of the text that are not plain JSON, and strings, in which nothing is a comment.
_PARTS = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*")|(?P<single>'(?:[^'\\]|\\.)*')|(?P<comment>//[^\n]*|/\*.*?\*/)""", re.DOTALL
)
#: A comma before the end of an object or list, once comments are blanks; strings are kept apart.
_LAST_COMMA = re.compile(r"""("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])""", re.DOTALL)


def read_settings_file(path: Path, *, required: bool) -> dict[str, str]:
    """The app settings of a local.settings.json. Raises ConfigurationError, which never quotes the file.

    A file that is not `required` may be missing.
    """
    if not path.exists() and not required:
        return {}
    try:
        content = path.read_bytes()
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        plain = _LAST_COMMA.sub(lambda found: found[1] or " ", _PARTS.sub(_as_json, text))
        given = json.loads(plain, strict=False)
    except FileNotFoundError:
        raise ConfigurationError(
            "NoSettings", f"{path} does not exist; copy local.settings.example.json and fill it in"
        ) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigurationError("BadSettings", f"{path} is no JSON: {error.msg} at {where}") from None
    except (OSError, ValueError, RecursionError) as error:
        why = "its encoding is not Unicode" if isinstance(error, UnicodeError) else type(error).__name__
        raise ConfigurationError("BadSettings", f"{path} cannot be read ({why}): JSON in UTF-8 is expected") from None
    if not isinstance(given, dict):
        raise ConfigurationError("BadSettings", f'{path} is no settings file: JSON with "Values" is expected')
    sections = {name.lower(): value for name, value in given.items()}
    if str(sections.get("isencrypted", False)).lower() == "true":
        raise ConfigurationError(
            "EncryptedSettings",
            f"{path} is encrypted (IsEncrypted is true); only the Functions tools can read it, on the machine that did "
            'that: run "func settings decrypt" beside it, or write the values themselves and set IsEncrypted to false; '
            "see docs/troubleshooting.md#settings-file",
        )
    return _values(path, sections.get("values"))


def _as_json(found: re.Match[str]) -> str:
    """A part as plain JSON has it; where it can be, of the same length, so that errors name the right place."""
    if found["text"]:
        return found["text"]
    if found["single"]:
        return '"' + found["single"][1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    return re.sub(r"[^\n]", " ", found["comment"])


def _values(path: Path, values: object) -> dict[str, str]:
    if not isinstance(values, Mapping):
        raise ConfigurationError("BadSettings", f'{path} is no settings file: an object named "Values" is expected')
    given = {name: value for name, value in values.items() if value is not None and not name.startswith("//")}
    nested = [name for name, value in given.items() if isinstance(value, dict | list)]
    if nested:
        raise ConfigurationError("BadSettings", f"{path}: {', '.join(nested)} must be text, not an object or a list")
    return {name: str(value) for name, value in given.items()}
