"""Answers that are not as Adobe documents them: what a client must not take for success."""

from typing import Any

from emulators.marketo.errors import HttpError
from emulators.marketo.faults import Fault

Answer = dict[str, Any]


def altered(answer: Answer, fault: Fault, request: Any) -> Answer:
    """Return the answer as an `answer` fault has it; `request` is the JSON of the call, for the records it strikes.

    Raises:
        HttpError: 200 with a text that is not a JSON object.
    """
    if fault.body is not None:
        raise HttpError(200, fault.body, {"Content-Type": "application/json;charset=UTF-8"})
    found = dict(answer)
    entries = found.get("result")
    if isinstance(entries, list):
        if fault.each is not None:
            sent = request.get("input") if isinstance(request, dict) else None
            records = sent if isinstance(sent, list) and len(sent) == len(entries) else [{}] * len(entries)
            struck = [fault.strikes_record(record) for record in records]
            entries = [_merged(e, fault.each) if hit else e for e, hit in zip(entries, struck, strict=True)]
        if fault.results is not None:
            entries = (entries + [{}] * fault.results)[: fault.results]
        found["result"] = entries
    return _merged(found, fault.answer or {})


def _merged(entry: Answer, changes: Answer) -> Answer:
    """Return the entry with the changes; null takes a key away."""
    return {name: value for name, value in {**entry, **changes}.items() if name not in changes or value is not None}
