"""Create, update and delete: look up at the start, carry out at the end, as Marketo does."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emulators.marketo.errors import CallError, RecordError
from emulators.marketo.instance import MAX_BATCH, Call, Instance
from emulators.marketo.objects import COMPANIES, SALES_PERSONS
from emulators.marketo.relations import COMPANY_KEY, check_parents, check_unused, forget, write_company
from emulators.marketo.schema import Schema, Values
from emulators.marketo.store import Names, Record

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What one call wants done: the action and the fields that identify a record."""

    action: str
    key: Names


@dataclass(slots=True)
class Step:
    """What is to be done with one record: change `existing`, or create one if there is none."""

    values: Values
    existing: Record | None
    company: str | None = None


def records_of(body: Any) -> list[Mapping[str, Any]]:
    """Return the input records of a write or of a query by compound key.

    Raises:
        CallError: 609 or 701, there are none; 1003, there are more than 300.
    """
    if not isinstance(body, dict):
        raise CallError("609")
    records = body.get("input")
    if not records:
        raise CallError("701", "input cannot be blank")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise CallError("609")
    # The limit of 300 is documented, its code is not; 1003 is what Marketo says of other invalid requests.
    if len(records) > MAX_BATCH:
        raise CallError("1003", f"Too many records: {len(records)}, the limit is {MAX_BATCH}")
    return records


async def upsert(instance: Instance, name: str, call: Call) -> Answer:
    """Create or update records of one object, in the order given.

    Keys are looked up when the call starts and records stored when it ends. Two overlapping calls that bring the same
    new lead therefore create it twice, as Adobe warns; the other objects have a unique key.
    """
    records = records_of(call.body)
    schema = instance.schemas[name]
    request = _lead_request(schema, call.body, instance) if schema.kind.is_lead else _request(schema, call.body)
    planner = _Planner(instance, schema, request, call)
    steps = [planner.step(record) for record in records]
    switches = instance.switches
    with instance.stats.writing(name):
        await instance.work(call, switches.write_latency_ms + switches.write_latency_ms_per_record * len(records))
    now = instance.clock.stamp()
    result = [_carry_out(instance, schema, request, step, now) for step in steps]
    instance.stats.records(name, Counter({"received": len(records), **Counter(entry["status"] for entry in result)}))
    instance.stats.stored(name, _created_keys(request, steps, result), instance.clock())
    if schema.kind.is_lead and call.body.get("asyncProcessing") is True:
        return {}
    return {"result": _numbered(schema, result)}


async def delete(instance: Instance, name: str, call: Call) -> Answer:
    """Delete records; leads by their id alone (leads.md), the others by `deleteBy`. What is not there is skipped."""
    records = records_of(call.body)
    schema = instance.schemas[name]
    by = "idField" if schema.kind.is_lead else _word(call.body, "deleteBy", "dedupeFields")
    if by not in {"idField", "dedupeFields"}:
        raise CallError("1001", f"Invalid value '{by}'. Required of type 'deleteBy'")
    key = (schema.kind.id_field,) if by == "idField" else schema.kind.dedupe_fields
    switches = instance.switches
    await instance.work(call, switches.write_latency_ms + switches.write_latency_ms_per_record * len(records))
    result = []
    for record in records:
        try:
            if instance.faults.any_for_records:
                instance.faults.check_record(call.verb, call.path, dict(record))
            result.append(_delete_one(instance, schema, key, schema.read(record)))
        except RecordError as skip:
            result.append({"status": "skipped", "reasons": [skip.as_json()]})
    instance.stats.records(name, Counter({"received": len(records), **Counter(entry["status"] for entry in result)}))
    return {"result": _numbered(schema, result)}


def _request(schema: Schema, body: Mapping[str, Any]) -> Request:
    action = _word(body, "action", "createOrUpdate")
    if action not in {"createOrUpdate", "createOnly", "updateOnly"}:
        raise CallError("1001", f"Invalid value '{action}'. Required of type 'action'")
    by = _word(body, "dedupeBy", "dedupeFields")
    if by == "dedupeFields":
        return Request(action, schema.kind.dedupe_fields)
    # Adobe's pages disagree about idField in other actions; opportunities.md allows it for updateOnly alone.
    if by != "idField" or action != "updateOnly":
        raise CallError("1003", f"dedupeBy '{by}' is not valid with action '{action}'")
    return Request(action, (schema.kind.id_field,))


def _word(body: Mapping[str, Any], name: str, default: str) -> str:
    """Return an option of the call: a text, or nothing at all.

    Raises:
        CallError: 1001, it is something else.
    """
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or not value:
        raise CallError("1001", f"Invalid value '{value}'. Required of type 'string'")
    return value


def _lead_request(schema: Schema, body: Mapping[str, Any], instance: Instance) -> Request:
    action = _word(body, "action", "createOrUpdate")
    if action not in {"createOrUpdate", "createOnly", "updateOnly", "createDuplicate"}:
        raise CallError("1001", f"Invalid value '{action}'. Required of type 'action'")
    partition = body.get("partitionName")
    if partition is not None and action not in {"createOrUpdate", "createOnly"}:
        raise CallError("1003", f"partitionName is not valid with action '{action}'")
    if partition is not None and partition not in instance.switches.partitions:
        raise CallError("1008", f"Access denied to partition '{partition}'")
    lookup = _word(body, "lookupField", "email")
    field = schema.find(lookup)
    if field is None:
        raise CallError("1006", f"Lookup field '{lookup}' not found")
    usable = field.custom or field.name in {"email", "externalPersonId", "id"}
    if not usable or not field.searchable:
        raise CallError("1011", f"Lookup field '{lookup}' not supported")
    if field.name == "id" and action != "updateOnly":
        raise CallError("1003", f"Lookup field 'id' is not valid with action '{action}'")
    return Request(action, (field.name,))


class _Planner:
    """Turns the records of one call into steps, or into the reason to skip them."""

    def __init__(self, instance: Instance, schema: Schema, request: Request, call: Call) -> None:
        self._instance = instance
        self._schema = schema
        self._request = request
        self._call = call
        self._table = instance.tables[schema.kind.name]
        self._seen: set[Any] = set()
        self._record_faults = instance.faults.any_for_records

    def step(self, record: Mapping[str, Any]) -> Step | RecordError:
        """Return what is to be done with the record."""
        try:
            if self._record_faults:
                self._instance.faults.check_record(self._call.verb, self._call.path, dict(record))
            return self._step(self._schema.read(record))
        except RecordError as skip:
            return skip

    def _step(self, values: Values) -> Step:
        existing = self._look_up(values)
        self._check_writable(values, existing)
        for name in self._schema.required:
            if values.get(name) is None and (existing is None or name in values):
                raise RecordError("1002", f"Missing value for required parameter '{name}'")
        company = check_parents(self._instance, self._schema.kind.name, values, existing)
        return Step(values, existing, company)

    def _look_up(self, values: Values) -> Record | None:
        key = key_of(self._request.key, values)
        is_lead = self._schema.kind.is_lead
        if not is_lead:
            if key in self._seen:
                raise RecordError("1036")
            self._seen.add(key)
        action = self._request.action
        if action == "createDuplicate":
            return None
        matches = self._table.find(self._request.key, key)
        if len(matches) > 1:
            raise RecordError("1007")
        if matches and action == "createOnly":
            raise RecordError("1005" if is_lead else "1017")
        if not matches and action == "updateOnly":
            raise RecordError("1004") if is_lead else RecordError("1013", "Record not found")
        return matches[0] if matches else None

    def _check_writable(self, values: Values, existing: Record | None) -> None:
        switches = self._instance.switches
        refused = self._schema.protected.intersection(values).difference(self._request.key)
        if existing is not None:
            refused |= {name for name in self._fixed() if name in values and values[name] != existing.get(name)}
        for name in refused:
            policy = switches.read_only_fields
            if name == "email" and self._schema.kind.name == SALES_PERSONS:
                policy = switches.sales_person_email_change
            if policy == "skip":
                raise RecordError("1003", f"Invalid data: field '{name}' is not updateable")
            if policy == "ignore":
                del values[name]

    def _fixed(self) -> tuple[str, ...]:
        kind = self._schema.kind
        if kind.is_lead:
            return ()
        return (*kind.dedupe_fields, "email") if kind.name == SALES_PERSONS else kind.dedupe_fields


def key_of(names: Names, values: Mapping[str, Any]) -> Any:
    """Return the record's key: a value, or a tuple for a compound key.

    Raises:
        RecordError: 1002, a part of it is missing.
    """
    for name in names:
        if values.get(name) is None:
            raise RecordError("1002", f"Missing value for required parameter '{name}'")
    return values[names[0]] if len(names) == 1 else tuple(values[name] for name in names)


def _carry_out(instance: Instance, schema: Schema, request: Request, step: Step | RecordError, now: str) -> Answer:
    if isinstance(step, RecordError):
        return {"status": "skipped", "reasons": [step.as_json()]}
    table = instance.tables[schema.kind.name]
    existing = _existing_now(instance, schema, request, step)
    if step.existing is not None and existing is None:
        gone = RecordError("1004") if schema.kind.is_lead else RecordError("1013", "Record not found")
        return {"status": "skipped", "reasons": [gone.as_json()]}
    if existing is not None and request.action == "createOnly":
        return {"status": "skipped", "reasons": [RecordError("1017").as_json()]}
    if step.company is not None and not instance.tables[COMPANIES].has(COMPANY_KEY, step.company):
        instance.tables[COMPANIES].insert({COMPANY_KEY: step.company, "createdAt": now, "updatedAt": now})
    if schema.kind.is_lead:
        step.values = write_company(instance, step.values, existing, now)
    if existing is None:
        stored = table.insert({**step.values, "createdAt": now, "updatedAt": now})
        if schema.kind.is_lead:
            instance.log.created(stored)
        return {schema.kind.id_field: stored[schema.kind.id_field], "status": "created"}
    changes = table.update(existing, step.values)
    existing["updatedAt"] = now
    if schema.kind.is_lead:
        instance.log.changed(existing, changes)
    return {schema.kind.id_field: existing[schema.kind.id_field], "status": "updated"}


def _created_keys(request: Request, steps: list[Step | RecordError], result: list[Answer]) -> Iterator[str]:
    for step, entry in zip(steps, result, strict=True):
        if entry["status"] == "created" and isinstance(step, Step):
            yield "|".join(str(step.values.get(name)) for name in request.key)


def _existing_now(instance: Instance, schema: Schema, request: Request, step: Step) -> Record | None:
    table = instance.tables[schema.kind.name]
    if step.existing is not None:
        return step.existing if table.is_stored(step.existing) else None
    if schema.kind.is_lead and (
        request.action == "createDuplicate" or instance.switches.same_lead_key_in_call == "duplicate"
    ):
        return None
    return next(iter(table.find(request.key, key_of(request.key, step.values))), None)


def _delete_one(instance: Instance, schema: Schema, key: Names, values: Values) -> Answer:
    table = instance.tables[schema.kind.name]
    matches = table.find(key, key_of(key, values))
    if not matches:
        raise RecordError("1004") if schema.kind.is_lead else RecordError("1013", "Record not found")
    record = matches[0]
    check_unused(instance, schema.kind.name, record)
    forget(instance, schema.kind.name, record)
    table.delete(record)
    if schema.kind.is_lead:
        instance.log.deleted(record)
    return {schema.kind.id_field: record[schema.kind.id_field], "status": "deleted"}


def _numbered(schema: Schema, result: list[Answer]) -> list[Answer]:
    if schema.kind.is_lead:
        return result
    return [{"seq": position, **entry} for position, entry in enumerate(result)]
