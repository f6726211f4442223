"""What pydantic finds wrong, as sentences that tell an operator what to write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

Place = tuple[int | str, ...]
#: What is told of the value as well.
_TYPES = ("literal_error", "int_type", "int_parsing", "int_from_float", "string_type")
#: What stands in the sentences of pydantic's error types; anything else keeps pydantic's own.
_SENTENCES = {
    "missing": "is missing",
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the form that is expected",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}


def problems(
    error: ValidationError,
    source: str,
    *,
    given: Mapping[str, Any] | None = None,
    words: Callable[[str, Place, Any], str] = lambda *_: "",
) -> Iterator[str]:
    """One line per problem: where, what is wrong, and what to write.

    Values are quoted only where `given`, what was validated, may be shown; app settings may be secrets. `words` may say
    more of a problem by its type, place and value.
    """
    for problem in error.errors(include_url=False, include_input=given is not None):
        place = problem["loc"] if given is None else written_place(problem["loc"], given)
        where = ".".join(str(part) for part in place)
        value = problem.get("input")
        context = problem.get("ctx", {})
        known = _SENTENCES.get(problem["type"], "").format_map(context)
        what = words(problem["type"], place, value) or known or problem["msg"].removeprefix("Value error, ")
        if problem["type"] in ("model_type", "dict_type"):
            what = f"must be a section: [{where}]"
        elif problem["type"] in _TYPES and given is not None:
            meant = nearest(str(value), re.findall(r"'([^']*)'", str(context.get("expected", ""))))
            what += f", not {quoted(value)}" + (f'; did you mean "{meant}"?' if meant else "")
        yield ": ".join(filter(None, (source, where, what)))


def written_place(place: Sequence[int | str], given: Mapping[str, Any]) -> Place:
    """A place of the model as the file has it: without lists and long forms that stand for what is written shorter."""
    here: Any = given
    written: list[int | str] = []
    for part in place[1:] if place[:1] == ("tables",) else place:
        if isinstance(part, int):
            if not isinstance(here, list):
                continue
            here = here[part]
        elif not isinstance(here, dict) or part == "[key]":
            break
        else:
            part = "column" if part == "columns" and part not in here else part  # noqa: PLW2901  (its short form)
            here = here.get(part)
        written.append(part)
    return tuple(written)


def nearest(name: str, names: Sequence[str]) -> str:
    """The name that was probably meant, or nothing."""
    lower = {known.lower(): known for known in names}
    begun = sorted((known for known in lower if len(name) > 2 and known.startswith(name.lower())), key=len)
    found = begun or get_close_matches(name.lower(), lower, 1)
    return lower[found[0]] if found else ""


def quoted(value: object) -> str:
    """A value as TOML writes it, shortened."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
