"""Every error that this product raises, but for LeaseLostError of shared/sync/sole_run.py: one tree.

Each has a code and a message that says what to do next. What a vendor's code means is decided in one place, the table
of shared/model/codes.py.
"""

from __future__ import annotations

from typing import Any

from .codes import Kind


class MsiSyncError(Exception):
    """Base of all errors of this product. `code` is stable and short; the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle makes it from again in another process: its attributes, whatever its class is made from."""
        return _again, (type(self), *self.args), self.__dict__


def _again(kind: type[MsiSyncError], *args: Any) -> MsiSyncError:
    return kind.__new__(kind, *args)


class ConfigurationError(MsiSyncError):
    """Settings or sync.toml cannot be used. The message lists every problem found."""


class NotificationError(MsiSyncError, ValueError):
    """A notification from Dynamics cannot be understood; it is kept in dead-letters with this code."""


class MessageError(MsiSyncError, ValueError):
    """A message on an entity queue does not follow the contract of docs/messages.md."""


class DefectError(MsiSyncError):
    """An error of the program, told by its class and place: its own text may quote what it was raised for."""


class SignInError(MsiSyncError):
    """Credentials were refused. Never retried blindly: repeated refusals lock accounts."""


class NotNowError(MsiSyncError):
    """Nothing can be sent now: another process sends, or storage is away. Come again in `after` seconds."""

    def __init__(self, code: str, message: str, *, after: float) -> None:
        super().__init__(code, message)
        self.after = after


class UnavailableError(MsiSyncError):
    """A service of Azure does not answer, or refuses. `cause`: the class of the SDK's error, for logs."""

    def __init__(self, code: str, message: str, cause: str) -> None:
        super().__init__(code, f"{message} ({cause}); see msisync doctor")
        self.cause = cause


def cause_of(error: Exception) -> str:
    """The class of an error, for a log line: the SDK's where a service of Azure is away."""
    return error.cause if isinstance(error, UnavailableError) else type(error).__name__


class StorageUnavailableError(UnavailableError):
    """Table Storage does not answer, or refuses.

    `status`: of its answer, None when there was none; `is_signed_out`: no credentials could be had to ask with.
    """

    def __init__(self, cause: str, status: int | None = None, *, is_signed_out: bool = False) -> None:
        super().__init__("StorageAway", "the storage account does not answer", cause)
        self.status = status
        self.is_signed_out = is_signed_out


class BrokerUnavailableError(UnavailableError):
    """Service Bus does not answer, or refuses."""

    def __init__(self, cause: str) -> None:
        super().__init__("NotSent", "Service Bus did not take the messages", cause)

    @property
    def is_too_large(self) -> bool:
        """Whether a message is larger than the broker takes: others may still be sent."""
        return self.cause == "MessageSizeExceededError"


class VendorError(MsiSyncError):
    """A vendor's answer that is not success.

    `kind` is the class of model/codes.py, `retry_after` the seconds that the vendor asked to wait (None when it did
    not say), `request_id` what the vendor's support asks for. `at_work`: the answer is lost, or a gateway did not wait
    for it: the vendor may still be working on the call.
    """

    system = "vendor"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: Kind,
        retry_after: float | None = None,
        request_id: str = "",
        at_work: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.kind = kind
        self.retry_after = retry_after
        self.request_id = request_id
        self.at_work = at_work


class DataverseError(VendorError):
    """Dataverse refused a request or could not be reached."""

    system = "dataverse"

    @property
    def is_unknown_column(self) -> bool:
        """Whether a query named a column that is not there; of the code we have no proof (dataverse.md 8)."""
        return self.code == "0x80060888" or "Could not find a property" in self.message

    @property
    def is_missing_privilege(self) -> bool:
        """Whether the sync user's security role lacks a privilege, or has it for some rows only."""
        return self.code == "0x80040220"


class MarketoError(VendorError):
    """Marketo refused a request at HTTP or response level, or could not be reached."""

    system = "marketo"
