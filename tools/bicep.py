"""Reads the Bicep files, as far as checks without Azure need it: what each declares and calls."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pycep

INFRA = Path(__file__).parents[1] / "infra"


@dataclass(frozen=True)
class Call:
    """A call of a module: of a file beside it, or of a verified module with its version."""

    file: str
    name: str
    deployment: str
    source: str
    params: Mapping[str, Any]

    @property
    def is_local(self) -> bool:
        """Whether the module is a file of this project."""
        return self.source.endswith(".bicep")


@cache
def parsed(path: Path) -> dict[str, Any]:
    """A file's declarations. Raises lark's error with line and column when it is no Bicep."""
    return dict(pycep.BicepParser().parse(text=path.read_text()))


def files() -> list[Path]:
    """Every Bicep file."""
    return sorted(INFRA.glob("**/*.bicep"))


def calls() -> list[Call]:
    """Every module call of every file."""
    found = []
    for path in files():
        for name, call in parsed(path).get("modules", {}).items():
            body = _body(call["config"])
            found.append(Call(path.name, name, body["name"], call["detail"]["full"], body["params"]))
    return found


def _body(config: dict[str, Any]) -> dict[str, Any]:
    """What is in the braces, behind a loop or a condition."""
    return config if "params" in config else _body(config["config"])


def parameters(path: Path) -> dict[str, bool]:
    """The file's parameters, and whether a call must give them."""
    return {name: found.get("default") is None for name, found in parsed(path)["parameters"].items()}


def keys(path: Path, variable: str) -> dict[str, Any]:
    """The names and values of an object that is written out as a variable; names without quotes."""
    value = parsed(path)["variables"][variable]["value"]
    return {name.strip("'"): inner for name, inner in value.items()}


def outputs_used(path: Path) -> set[tuple[str, str]]:
    """Each `module.outputs.name` of a file; `module.?outputs.name` and `modules[0].outputs.name` as well."""
    return set(re.findall(r"\b(\w+)(?:\[\d+\])?\.\??outputs\.(\w+)", path.read_text()))
