"""What goes wrong, by the level at which Marketo reports it.

HttpError    the gateway answers with an HTTP status and no JSON
CallError    response level: HTTP 200, success false, nothing of the call is carried out
RecordError  record level: this record is skipped, its neighbours go on
"""

MESSAGES = {
    "500": "Internal server error",
    "502": "Bad Gateway",
    "601": "Access token invalid",
    "602": "Access token expired",
    "603": "Access denied",
    "604": "Request timed out",
    "605": "HTTP Method not supported",
    "606": "Max rate limit '100' exceeded with in '20' secs",
    "607": "Daily quota reached",
    "608": "API Temporarily Unavailable",
    "609": "Invalid JSON",
    "610": "Requested resource not found",
    "611": "System error",
    "612": "Invalid Content Type",
    "614": "Invalid Subscription",
    "615": "Concurrent access limit reached",
    "703": "The feature is not enabled for the subscription",
    "713": "Transient Error",
    "718": "ExternalSalesPersonID not found",
    "719": "Lock wait timeout exception",
    "1003": "Invalid data",
    "1004": "Lead not found",
    "1005": "Lead already exists",
    "1007": "Multiple lead match lookup criteria",
    "1013": "Object not found",
    "1014": "Failed to create object",
    "1017": "Object already exists",
    "1018": "CRM Enabled",
    "1021": "Company update not allowed",
    "1022": "Object in use",
    "1036": "Duplicate object found in input",
}

# The codes that Adobe's table marks with an asterisk: such calls count neither against the day nor against the rate.
UNCOUNTED = frozenset({"601", "602", "604", "605", "608", "611"})


class MarketoError(Exception):
    """A code of Adobe's table and its text; the table's own text where none is given."""

    def __init__(self, code: str, message: str | None = None) -> None:
        self.code = code
        self.message = message if message is not None else MESSAGES.get(code, "Unknown error")
        super().__init__(f"{code} {self.message}")

    def as_json(self) -> dict[str, str]:
        """Return the entry of an `errors` or `reasons` array; codes are strings there."""
        return {"code": self.code, "message": self.message}


class CallError(MarketoError):
    """The whole call fails."""


class RecordError(MarketoError):
    """One record is skipped."""


class HttpError(Exception):
    """The gateway answers with an HTTP status and no JSON."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.text = text
        self.headers = headers or {}
        super().__init__(text)
