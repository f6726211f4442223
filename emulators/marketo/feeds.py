"""The activity feeds and the usage statistics as REST endpoints."""

from typing import Any

from emulators.marketo.activities import DATA_VALUE_CHANGE, DELETE_LEAD, NEW_LEAD, activity_types
from emulators.marketo.errors import CallError
from emulators.marketo.identity import API_USER
from emulators.marketo.instance import Call, Instance
from emulators.marketo.objects import LEADS

Answer = dict[str, Any]
_MAX_TYPES = 10
_MAX_LEADS = 30


async def paging_token(instance: Instance, _name: str, call: Call) -> Answer:
    """Return the token of a moment, from which the feeds can be read."""
    return {"nextPageToken": instance.log.token(call.text("sinceDatetime"))}


async def types(_instance: Instance, _name: str, _call: Call) -> Answer:
    """Return the activity types."""
    return {"result": activity_types()}


async def activities(instance: Instance, _name: str, call: Call) -> Answer:
    """Return a page of the activities of up to ten types, of up to thirty leads if given."""
    call.text("activityTypeIds")
    type_ids = _numbers(call, "activityTypeIds", _MAX_TYPES)
    lead_ids = _numbers(call, "leadIds", _MAX_LEADS) or None
    await instance.work(call, instance.switches.read_latency_ms)
    examined = instance.switches.activities_examined_per_page
    found, token, more = instance.log.page(
        call.text("nextPageToken"), types=type_ids, examined=examined, leads=lead_ids
    )
    return {"result": [entry.as_json() for entry in found], "nextPageToken": token, "moreResult": more}


async def lead_changes(instance: Instance, _name: str, call: Call) -> Answer:
    """Return a page of new leads and of changes to the named fields."""
    call.text("fields")
    schema = instance.schemas[LEADS]
    fields = set(schema.names(call.listed("fields")))
    await instance.work(call, instance.switches.read_latency_ms)
    wanted = {NEW_LEAD, DATA_VALUE_CHANGE}
    examined = instance.switches.activities_examined_per_page
    found, token, more = instance.log.page(call.text("nextPageToken"), types=wanted, examined=examined, fields=fields)
    field_ids = {field.name: number for number, field in enumerate(schema.kind.fields, start=1)}
    result = [entry.as_change(field_ids) for entry in found]
    return {"result": result, "nextPageToken": token, "moreResult": more}


async def deleted_leads(instance: Instance, _name: str, call: Call) -> Answer:
    """Return a page of deletions."""
    await instance.work(call, instance.switches.read_latency_ms)
    examined = instance.switches.activities_examined_per_page
    found, token, more = instance.log.page(call.text("nextPageToken"), types={DELETE_LEAD}, examined=examined)
    return {"result": [entry.as_json() for entry in found], "nextPageToken": token, "moreResult": more}


async def usage_today(instance: Instance, _name: str, _call: Call) -> Answer:
    """Return today's counted calls."""
    today = instance.limits.today()
    return {"result": [_usage(today.isoformat(), instance.limits.used_today())]}


async def usage_last_days(instance: Instance, _name: str, _call: Call) -> Answer:
    """Return the counted calls of the last seven days that had any."""
    days = list(instance.limits.used_by_day().items())[-7:]
    return {"result": [_usage(day.isoformat(), used) for day, used in days]}


async def errors_today(instance: Instance, _name: str, _call: Call) -> Answer:
    """Return today's errors by code."""
    today = instance.limits.today()
    return {"result": [_errors(today.isoformat(), instance.stats.errors_by_day().get(today, {}))]}


async def errors_last_days(instance: Instance, _name: str, _call: Call) -> Answer:
    """Return the errors of the last seven days that had any."""
    days = list(instance.stats.errors_by_day().items())[-7:]
    return {"result": [_errors(day.isoformat(), codes) for day, codes in days]}


def _usage(day: str, used: int) -> Answer:
    return {"date": day, "total": used, "users": [{"userId": API_USER, "count": used}]}


def _errors(day: str, codes: dict[str, int]) -> Answer:
    listed = [{"errorCode": code, "count": count} for code, count in codes.items() if code.isdecimal()]
    return {"date": day, "total": sum(entry["count"] for entry in listed), "errors": listed}


def _numbers(call: Call, name: str, limit: int) -> set[int]:
    texts = call.listed(name)
    if len(texts) > limit:
        raise CallError("1003", f"Too many {name}: {len(texts)}, the limit is {limit}")
    if not all(text.isdecimal() for text in texts):
        raise CallError("1001", f"Invalid value '{call.params[name]}'. Required of type 'integer'")
    return {int(text) for text in texts}
