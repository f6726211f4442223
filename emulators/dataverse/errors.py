"""The errors of the Dataverse Web API, with the codes and the wording of the platform."""

import json
from collections.abc import Mapping
from typing import Final

# By code: HTTP status and message.
_REFUSALS: Final = {
    "0x80040265": (400, "The plug-in Contoso.Crm.CheckOwner has refused the row {}."),
    "0x80044150": (500, "Generic SQL error: transaction was deadlocked on the row {}."),
    "0x80044151": (500, "SQL timeout expired while the row {} was locked."),
}


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


def unknown_bound(segment: str) -> ApiError:
    """No such function or action of the table: another code than that of an unbound one."""
    return ApiError(404, "0x80060888", f"Resource not found for the segment '{segment}'.")


def no_access(user: str, right: str, row_id: str) -> ApiError:
    """The role gives the privilege, but not for this row."""
    message = f"Principal user (Id={user}, type=8) does not have {right}Access right(s) for record with id {row_id}."
    return ApiError(403, "0x80048306", message)


def secured(table: str, column: str, *, creating: bool) -> ApiError:
    """The caller's field security profiles do not let it write the column."""
    if creating:
        message = "The user does not have create permissions to a secured field. The requested operation could not be "
        return ApiError(403, "0x8004f502", f"{message}completed. ({table}.{column})")
    message = "The user doesn't have AttributePrivilegeUpdate and not granted shared access for a secured attribute "
    return ApiError(403, "0x8004f507", f"{message}during update operation ({table}.{column})")


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


def expired_token() -> ApiError:
    """A delta link is older than the organisation keeps changes for."""
    message = "Version stamp associated with the client has expired. Please perform a full sync."
    return ApiError(400, "0x80060892", message)  # -2147088238


def version_mismatch() -> ApiError:
    """If-Match names another version than the row has."""
    message = "The version of the existing record doesn't match the RowVersion property provided."
    return ApiError(412, "0x80060882", message)


def refused(code: str, row_id: str) -> ApiError:
    """A write that logic of the customer, or the state of the database, does not let through."""
    status, message = _REFUSALS.get(code, (400, "The row {} cannot be written."))
    return ApiError(status, code, message.format(row_id))


def already_exists() -> ApiError:
    """The key is taken."""
    return ApiError(412, "0x80040237", "A record with matching key values already exists.")
