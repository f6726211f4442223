"""The errors of the Dataverse Web API, with the codes and the wording of the platform."""

import json
from collections.abc import Mapping


class ApiError(Exception):
    """A refused request: HTTP status, Dataverse error code (hex text) and message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON error body."""
        return json.dumps({"error": {"code": self.code, "message": self.message}}).encode()


def not_found(table: str, row_id: str) -> ApiError:
    """The row does not exist."""
    return ApiError(404, "0x80040217", f"Entity '{table}' With Id = {row_id} Does Not Exist")


def unknown_segment(segment: str) -> ApiError:
    """No such table, function or action."""
    return ApiError(404, "0x8006088a", f"Resource not found for the segment '{segment}'.")


def unknown_property(name: str, type_name: str) -> ApiError:
    """A query names a column that does not exist: the whole query fails."""
    message = f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{type_name}'."
    return ApiError(400, "0x80060888", message)


def bad_query(message: str) -> ApiError:
    """A query that cannot be understood."""
    return ApiError(400, "0x80060888", message)


def bad_payload(set_name: str, message: str) -> ApiError:
    """A body with an unknown property or a value of the wrong type."""
    text = (
        f"Error identified in Payload provided by the user for Entity :'{set_name}'  ----> InnerException : {message}"
    )
    return ApiError(400, "0x80048d19", text)


def invalid_argument(message: str) -> ApiError:
    """A value that breaks a rule of the platform."""
    return ApiError(400, "0x80040203", message)


def version_mismatch() -> ApiError:
    """If-Match names another version than the row has."""
    message = "The version of the existing record doesn't match the RowVersion property provided."
    return ApiError(412, "0x80060882", message)


def already_exists() -> ApiError:
    """The key is taken."""
    return ApiError(412, "0x80040237", "A record with matching key values already exists.")
