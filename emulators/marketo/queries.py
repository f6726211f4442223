"""Queries by filter, by compound key and by id, and the descriptions of the objects."""

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from emulators.marketo.errors import CallError, RecordError
from emulators.marketo.fields import Field
from emulators.marketo.instance import MAX_BATCH, Call, Instance
from emulators.marketo.objects import LEADS
from emulators.marketo.relations import company_of
from emulators.marketo.schema import Schema
from emulators.marketo.store import Names, Record
from emulators.marketo.writes import key_of, records_of

Answer = dict[str, Any]
MAX_LEADS_FOUND = 1000
_CREATED = "2015-05-11T17:11:32Z"


async def query(instance: Instance, name: str, call: Call) -> Answer:
    """Return the page of records that match the filter."""
    await instance.work(call, instance.switches.read_latency_ms)
    schema = instance.schemas[name]
    names = _filter_names(schema, call.text("filterType"))
    if len(names) > 1:
        values: list[Any] = [_compound(schema, names, entry) for entry in records_of(call.body)]
    else:
        values = _filter_values(schema, names[0], call)
    size = call.batch_size()
    found = instance.tables[name].find_any(names, values)
    if schema.kind.is_lead and len(found) > MAX_LEADS_FOUND:
        raise CallError("1003", "Too many results match the filter")
    query_id = zlib.crc32(repr((name, names, values)).encode())
    start = _offset(call.params.get("nextPageToken"), query_id)
    page = found[start : start + size]
    fields = _fields(instance, schema, call.listed("fields"))
    answer: Answer = {"result": [_shown(instance, schema, record, fields) for record in page]}
    if not schema.kind.is_lead:
        answer["result"] = [{"seq": position, **record} for position, record in enumerate(answer["result"])]
    more = start + size < len(found)
    if more:
        answer["moreResult"] = True
    if more or (page and name in instance.switches.token_on_last_page):
        answer["nextPageToken"] = _token(start + size, query_id)
    return answer


async def lead_by_id(instance: Instance, lead_id: str, call: Call) -> Answer:
    """Return one lead.

    Raises:
        CallError: 1004, there is no such lead.
    """
    await instance.work(call, instance.switches.read_latency_ms)
    schema = instance.schemas[LEADS]
    fields = _fields(instance, schema, call.listed("fields"))
    found = instance.tables[LEADS].find(("id",), int(lead_id))
    if not found:
        raise CallError("1004", f"Lead '{lead_id}' not found")
    return {"result": [_shown(instance, schema, found[0], fields)]}


def _filter_names(schema: Schema, wanted: str) -> Names:
    kind = schema.kind
    if not kind.is_lead and wanted == "idField":
        return (kind.id_field,)
    if not kind.is_lead and wanted == "dedupeFields":
        return kind.dedupe_fields
    field = schema.find(wanted)
    if field is None:
        raise CallError("1006", f"Lookup field '{wanted}' not found")
    if not field.searchable:
        raise CallError("1011", f"Field '{wanted}' not supported")
    return (field.name,)


def _filter_values(schema: Schema, name: str, call: Call) -> list[Any]:
    call.text("filterValues")
    texts = [text.strip() for text in call.listed("filterValues")]
    # The limit of 300 is documented, its code is not.
    if len(texts) > MAX_BATCH:
        raise CallError("1003", f"Too many filterValues: {len(texts)}, the limit is {MAX_BATCH}")
    field = schema.find(name)
    if field is None or field.data_type != "integer":
        return texts
    return [int(text) for text in texts if text.isdecimal()]


def _compound(schema: Schema, names: Names, entry: Mapping[str, Any]) -> Any:
    try:
        return key_of(names, schema.read(entry))
    except RecordError as skip:
        raise CallError(skip.code, skip.message) from None


def _fields(instance: Instance, schema: Schema, requested: Iterable[str]) -> list[str] | None:
    if instance.switches.unknown_query_fields == "ignore":
        requested = [name for name in requested if schema.find(name) is not None]
    return schema.names(requested) or list(schema.kind.default_fields) or None


def _shown(instance: Instance, schema: Schema, record: Record, fields: list[str] | None) -> Answer:
    """Return the record as an answer shows it: leads with explicit nulls, the others without what is empty."""
    if schema.kind.is_lead and fields is not None:
        company = company_of(instance, record) if not schema.of_company.isdisjoint(fields) else None
        return {name: _lead_value(schema, record, company, name) for name in fields}
    names = fields if fields is not None else [field.name for field in schema.kind.fields]
    shown = {name: record.get(name) for name in names}
    return {name: value for name, value in shown.items() if value is not None}


def _lead_value(schema: Schema, record: Record, company: Record | None, name: str) -> Any:
    source = company if company is not None and name in schema.of_company else record
    value = source.get(name)
    return schema.empty(name) if value is None else value


def _token(offset: int, query_id: int) -> str:
    return base64.b32encode(f"{query_id}:{offset}".encode()).decode()


def _offset(token: str | None, query_id: int) -> int:
    if not token:
        return 0
    try:
        owner, _, offset = base64.b32decode(token).decode().partition(":")
        if int(owner) == query_id:
            return int(offset)
    except (ValueError, binascii.Error):
        pass
    raise CallError("1003", "Invalid nextPageToken")


async def describe(instance: Instance, name: str, _call: Call) -> Answer:
    """Describe an object that is not the lead, or the lead in the newer form (describe2)."""
    schema = instance.schemas[name]
    kind = schema.kind
    searchable = [[field] for field in schema.searchable]
    if len(kind.dedupe_fields) > 1:
        searchable.insert(0, list(kind.dedupe_fields))
    if kind.is_lead:
        fields = [{**_described(field), "crmManaged": False} for field in kind.fields]
        return {"result": [{"name": kind.label, "searchableFields": searchable, "fields": fields}]}
    return {
        "result": [
            {
                "name": kind.label,
                "displayName": kind.label,
                "createdAt": _CREATED,
                "updatedAt": _CREATED,
                "idField": kind.id_field,
                "dedupeFields": list(kind.dedupe_fields),
                "searchableFields": searchable,
                "fields": [_described(field) for field in kind.fields],
            }
        ]
    }


async def describe_lead(instance: Instance, _name: str, _call: Call) -> Answer:
    """Describe the lead in the older form, which knows REST and SOAP names but not what is searchable."""
    result = []
    for number, field in enumerate(instance.schemas[LEADS].kind.fields, start=1):
        names = {"name": field.name, "readOnly": field.name in {"createdAt", "updatedAt"} or not field.updateable}
        soap = {"name": field.name[:1].upper() + field.name[1:], "readOnly": names["readOnly"]}
        result.append({"id": number, **_typed(field), "rest": names, "soap": soap})
    return {"result": result}


async def schema_fields(instance: Instance, name: str, call: Call) -> Answer:
    """Return the fields of an object with what describe leaves out."""
    fields = instance.schemas[name].kind.fields
    size = call.batch_size()
    query_id = zlib.crc32(name.encode())
    start = _offset(call.params.get("nextPageToken"), query_id)
    answer: Answer = {"result": [_detailed(field) for field in fields[start : start + size]]}
    answer["moreResult"] = start + size < len(fields)
    if answer["moreResult"]:
        answer["nextPageToken"] = _token(start + size, query_id)
    return answer


def _typed(field: Field) -> Answer:
    described: Answer = {"displayName": field.label, "dataType": field.data_type}
    return described if field.length is None else {**described, "length": field.length}


def _described(field: Field) -> Answer:
    return {"name": field.name, **_typed(field), "updateable": field.updateable}


def _detailed(field: Field) -> Answer:
    flags = {"isHidden": False, "isHtmlEncodingInEmail": True, "isSensitive": False, "isApiCreated": False}
    return {
        "name": field.name,
        "description": "",
        **_typed(field),
        **flags,
        "isCustom": field.custom,
    }
