"""Requests and responses as values, the same for HTTP and for the parts of a `$batch`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from emulators.dataverse import errors

JSON_TYPE: Final = "application/json; odata.metadata=minimal"
_PREFERENCE: Final = re.compile(
    r'\s*(?P<name>[\w.-]+)\s*(?:=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^,;]*)))?\s*(?:[,;]|$)'
)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


@dataclass(frozen=True)
class ApiRequest:
    """A request; `target` is the raw path and query, header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The raw path."""
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> str:
        """The raw query string."""
        return self.target.partition("?")[2]

    @cached_property
    def prefer(self) -> Mapping[str, str]:
        """The preferences by name."""
        return {
            match["name"]: (match["quoted"] if match["quoted"] is not None else match["plain"] or "").strip()
            for match in _PREFERENCE.finditer(self.headers.get("prefer", ""))
        }

    def json(self) -> dict[str, Any]:
        """The body as an object. Raises ApiError when it is none."""
        try:
            body = json.loads(self.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise errors.bad_payload("", "The request body is not a JSON object.")
        return body


@dataclass(frozen=True)
class ApiResponse:
    """An answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> ApiResponse:
    """An answer with a JSON body."""
    all_headers = {"Content-Type": JSON_TYPE, "OData-Version": "4.0", **(headers or {})}
    return ApiResponse(status, all_headers, _ENCODER.encode(content).encode())


def error_response(error: errors.ApiError) -> ApiResponse:
    """An answer that refuses."""
    headers = {"Content-Type": "application/json; odata.metadata=minimal", "OData-Version": "4.0", **error.headers}
    return ApiResponse(error.status, headers, error.body())
