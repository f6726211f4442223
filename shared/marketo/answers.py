"""What Marketo's answers mean. Only what Adobe documents counts as success (marketo.md 3 and 5.1).

An unreadable answer says nothing about any record. For a read it is a transient error; the records of a write are tried
again a bounded number of times, and then kept with the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..model import codes, vendor_text
from ..model.codes import Kind
from ..model.errors import MarketoError
from ..transport.retry_after import retry_after

#: Our codes for answers and results that are not as documented.
UNKNOWN_ANSWER, RESULT_COUNT, UNKNOWN_RESULT = "UnknownAnswer", "ResultCount", "UnknownResult"
#: The statuses of success by the action of the call (Adobe's ResponseResult: status).
STATUSES: Mapping[str, frozenset[str]] = {
    "createOrUpdate": frozenset({"created", "updated"}),
    "updateOnly": frozenset({"updated"}),
    "delete": frozenset({"deleted"}),
}

#: "Field 'x' not found" (1006), "Invalid value for field 'x' and value 'y'" (1003): recorded texts.
_FIELD = re.compile(r"[Ff]ield '([^']+)'")
#: A word of Marketo's that may be quoted.
_WORD = re.compile(r"[A-Za-z]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Result:
    """What Marketo did with one record. `code` is empty unless it was skipped; `id` is 0 where none was given.

    `request_id`: of the call, which Marketo's support asks for.
    """

    status: str
    id: int = 0
    code: str = ""
    message: str = ""
    request_id: str = field(default="", compare=False, repr=False)

    @property
    def refused_fields(self) -> frozenset[str]:
        """The fields for which the record was skipped, as far as Marketo's text names them."""
        found = _FIELD.search(self.message) if codes.marketo_record(self.code) is Kind.FIELD else None
        return frozenset([found.group(1)]) if found else frozenset()


def content(response: httpx.Response, names: Callable[[], Collection[str]], *, writing: bool) -> dict[str, Any]:
    """The answer to a call that succeeded; its `result`, if there is one, is a list of objects.

    `names`: the fields that the call named; only these may be quoted from Marketo's text. Raises MarketoError.
    """
    if response.status_code != httpx.codes.OK:
        code, kind = f"HTTP {response.status_code}", codes.http_status(response.status_code)
        raise MarketoError(
            code, "Marketo's gateway refused the call", kind=kind, at_work=codes.may_be_at_work(code),
            retry_after=retry_after(response.headers),
        )  # fmt: skip
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):  # a page of a gateway, which may not have waited for Marketo
        raise _unknown(UNKNOWN_ANSWER, "HTTP 200 without a JSON object", writing=writing, at_work=True)
    request = vendor_text.request_id(answer.get("requestId"))
    errors, result = answer.get("errors"), answer.get("result")
    if answer.get("success") is False and _is_list_of_objects(errors) and errors:
        return _refused(errors[0], answer, names, request)
    if answer.get("success") is not True or errors or not (result is None or _is_list_of_objects(result)):
        message = "HTTP 200 with an answer that is in no document of Marketo's"
        raise _unknown(UNKNOWN_ANSWER, message, writing=writing, request=request)
    return answer


def _refused(
    error: Mapping[str, Any], answer: dict[str, Any], names: Callable[[], Collection[str]], request: str
) -> dict[str, Any]:
    code = vendor_text.marketo_code(error.get("code"))
    kind = codes.marketo_response(code)
    if kind is Kind.OK:
        return {**answer, "result": []}
    message = vendor_text.marketo(code, str(error.get("message", "")), names())
    raise MarketoError(code, message, kind=kind, request_id=request, at_work=codes.may_be_at_work(code))


def results(answer: Mapping[str, Any], action: str, bodies: Sequence[bytes]) -> list[Result]:
    """One result for each of `bodies`, in their order.

    Raises MarketoError when results cannot be matched to records, which is by position only.
    """
    rows: list[dict[str, Any]] = answer.get("result") or []
    request = vendor_text.request_id(answer.get("requestId"))
    if len(rows) != len(bodies):
        message = f"{len(rows)} results for {len(bodies)} records"
        raise _unknown(RESULT_COUNT, message, writing=True, request=request)
    if any(row.get("seq", place) != place for place, row in enumerate(rows)):
        raise _unknown(UNKNOWN_ANSWER, "results in another order than their records", writing=True, request=request)
    return [_result(row, STATUSES[action], body, request) for row, body in zip(rows, bodies, strict=True)]


def _result(row: Mapping[str, Any], statuses: Collection[str], body: bytes, request: str) -> Result:
    """What happened to the record that was sent as `body`."""
    status, id_ = row.get("status"), number(row)
    if isinstance(status, str) and status in statuses:
        return Result(status, id_, request_id=request)
    reasons = row.get("reasons")
    if status == "skipped" and _is_list_of_objects(reasons) and reasons:
        code = vendor_text.marketo_code(reasons[0].get("code"))
        message = vendor_text.marketo(code, str(reasons[0].get("message", "")), json.loads(body))
        return Result("skipped", id_, code, message, request)
    word = str(status) if _WORD.fullmatch(str(status)) else "something else"
    message = "skipped without a reason" if status == "skipped" else f"its status is {word}, which is not documented"
    told = f"Marketo does not say what became of the record: {message}"
    return Result("skipped", id_, UNKNOWN_RESULT, told, request)


def number(row: Mapping[str, Any]) -> int:
    """Marketo's own id of a record; 0 where there is none."""
    found = row.get("id")
    return found if type(found) is int else 0


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _unknown(code: str, message: str, *, writing: bool, request: str = "", at_work: bool = False) -> MarketoError:
    kind = Kind.UNKNOWN if writing else Kind.TRANSIENT
    return MarketoError(code, message, kind=kind, request_id=request, at_work=at_work)
