"""POST, PATCH and DELETE on rows, the bulk messages, and which of these a request means."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from emulators.dataverse import actions, constants, errors, privileges, reading, writes
from emulators.dataverse.calls import Call
from emulators.dataverse.columns import Table
from emulators.dataverse.messages import ApiRequest, ApiResponse, json_response
from emulators.dataverse.query import projector
from emulators.dataverse.store import Row, lookup_value
from emulators.dataverse.values import normalise_id, read_payload

_NAMESPACE: Final = "Microsoft.Dynamics.CRM."
Bound = Callable[[Call, Table, str], ApiResponse]
_OF_USERS: Final[Mapping[str, Bound]] = {
    "RetrieveUserPrivileges": privileges.user_privileges,
    "RetrievePrincipalAttributePrivileges": privileges.column_privileges,
}


def operate(call: Call, table: Table, key: str | None, rest: str | None) -> ApiResponse:
    """Do what a request to a table asks for. Raises ApiError."""
    method = call.request.method
    if key is None:
        return _on_set(call, table, method, rest)
    row_id = reading.parse_key(table, key)
    if rest is None:
        handlers: Mapping[str, Bound] = {"GET": reading.read_row, "PATCH": _patch, "DELETE": _delete}
        if method not in handlers:
            raise _not_allowed(method)
        return handlers[method](call, table, row_id)
    if method == "POST" and (table.name, rest) == ("lead", f"{_NAMESPACE}QualifyLead"):
        return actions.qualify_lead(call, row_id)
    function = rest.removesuffix("()").removeprefix(_NAMESPACE)
    if method == "GET" and table.name == "systemuser" and function in _OF_USERS and not rest.startswith(function):
        return _OF_USERS[function](call, table, row_id)
    if method == "DELETE" and rest.endswith("/$ref"):
        return _clear_reference(call, table, row_id, rest.removesuffix("/$ref"))
    raise errors.unknown_segment(rest)


def _on_set(call: Call, table: Table, method: str, rest: str | None) -> ApiResponse:
    if rest is None and method == "GET":
        return reading.read_rows(call, table)
    if rest == "$count" and method == "GET":
        return reading.count_rows(call, table)
    if rest is None and method == "POST":
        return _post(call, table)
    bulk = {"CreateMultiple": _create_multiple, "UpdateMultiple": _update_multiple}
    name = (rest or "").removeprefix(_NAMESPACE)
    if method == "POST" and name in bulk and rest != name and table.bulk:
        return bulk[name](call, table)
    if rest is None:
        raise _not_allowed(method)
    raise errors.unknown_bound(rest) if rest.startswith(_NAMESPACE) else errors.unknown_segment(rest)


def _not_allowed(method: str) -> errors.ApiError:
    return errors.ApiError(405, "0x80060888", f"The requested resource does not support http method '{method}'.")


def _check_write(call: Call, table: Table, verb: str, row_id: str | None = None) -> None:
    privileges.check_privilege(call, table, verb)
    switches = call.environment.switches
    if row_id is not None and row_id in switches.refused_rows:
        raise errors.refused(switches.refused_rows[row_id], row_id)
    if row_id is not None and row_id in {*switches.no_row_access, *switches.hidden_rows}:
        raise errors.no_access(call.user, verb, row_id)


def _post(call: Call, table: Table) -> ApiResponse:
    _check_write(call, table, "Create")
    call.environment.stats.count("create", table.name)
    values = read_payload(table, call.request.json(), call.environment.store, creating=True)
    row_id = writes.create(call.transaction, table, values)
    return _written(call, table, row_id, created=True)


def _patch(call: Call, table: Table, row_id: str) -> ApiResponse:
    """Dataverse: an upsert, unless If-Match or If-None-Match says otherwise."""
    store = call.environment.store
    existing = store.get(table.name, row_id)
    expected = call.request.headers.get("if-match")
    if call.request.headers.get("if-none-match") == "*" and existing is not None:
        raise errors.already_exists()
    if existing is None and expected is not None:
        raise errors.not_found(table.name, row_id)
    if existing is None:
        _check_write(call, table, "Create")
        call.environment.stats.count("create", table.name)
        values = read_payload(table, call.request.json(), store, creating=True)
        writes.create(call.transaction, table, values, row_id)
        return _written(call, table, row_id, created=True)
    _check_write(call, table, "Write", row_id)
    check_version(call.request, existing)
    call.environment.stats.count("update", table.name)
    values = read_payload(table, call.request.json(), store, creating=False)
    writes.update(call.transaction, table, row_id, values)
    return _written(call, table, row_id, created=False)


def check_version(request: ApiRequest, row: Row) -> None:
    """Raise ApiError 412 when If-Match names another version than the row's."""
    expected = request.headers.get("if-match")
    if expected not in {None, "*", f'W/"{row["versionnumber"]}"'}:
        raise errors.version_mismatch()


def _written(call: Call, table: Table, row_id: str, *, created: bool) -> ApiResponse:
    address = {"OData-EntityId": f"{constants.API_URL}{table.set_name}({row_id})", "OData-Version": "4.0"}
    if call.request.prefer.get("return") != "representation":
        return ApiResponse(204, address)
    privileges.check_reading(call, table)
    store = call.environment.store
    row = projector(store, table, call.options)(store.rows[table.name][row_id])
    response = reading.row_response(call, table, row, 201 if created else 200)
    return ApiResponse(response.status, {**response.headers, **address}, response.body)


def _delete(call: Call, table: Table, row_id: str) -> ApiResponse:
    _check_write(call, table, "Delete", row_id)
    existing = call.environment.store.get(table.name, row_id)
    if existing is not None:
        check_version(call.request, existing)
    call.environment.stats.count("delete", table.name)
    writes.delete(call.transaction, table, row_id)
    return ApiResponse(204, {"OData-Version": "4.0"})


def _clear_reference(call: Call, table: Table, row_id: str, navigation: str) -> ApiResponse:
    if navigation not in table.navigations:
        raise errors.unknown_segment(navigation)
    _check_write(call, table, "Write", row_id)
    call.environment.stats.count("update", table.name)
    column = table.navigations[navigation][0]
    if column.update:
        writes.update(call.transaction, table, row_id, lookup_value(column, None, None))
    return ApiResponse(204, {"OData-Version": "4.0"})


def _targets(call: Call, table: Table) -> list[dict[str, Any]]:
    targets = call.request.json().get("Targets")
    if not isinstance(targets, list) or not targets or not all(isinstance(target, dict) for target in targets):
        raise errors.bad_payload(table.set_name, "The parameter 'Targets' must be a list of rows.")
    for target in targets:
        if str(target.get("@odata.type", "")).lstrip("#") != f"{_NAMESPACE}{table.name}":
            inner = f"Each item of Targets needs an '@odata.type' of '{_NAMESPACE}{table.name}'."
            raise errors.bad_payload(table.set_name, inner)
    return targets


def _create_multiple(call: Call, table: Table) -> ApiResponse:
    """Dataverse, standard tables: one bad row rolls all back."""
    _check_write(call, table, "Create")
    call.environment.stats.count("createmultiple", table.name)
    ids = []
    for target in _targets(call, table):
        values = read_payload(table, target, call.environment.store, creating=True)
        ids.append(writes.create(call.transaction, table, values))
    context = f"{constants.API_URL}$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse"
    return json_response({"@odata.context": context, "Ids": ids})


def _update_multiple(call: Call, table: Table) -> ApiResponse:
    """Dataverse, standard tables: one bad row rolls all back, one that is missing or comes twice too."""
    call.environment.stats.count("updatemultiple", table.name)
    seen: set[str] = set()
    for target in _targets(call, table):
        row_id = normalise_id(target.get(table.primary_id))
        if row_id is None:
            raise errors.bad_payload(table.set_name, f"The primary key '{table.primary_id}' of a target is missing.")
        if row_id in seen:
            raise errors.invalid_argument(f"The Targets hold the row {row_id} twice.")
        seen.add(row_id)
        _check_write(call, table, "Write", row_id)
        values = read_payload(table, target, call.environment.store, creating=False)
        writes.update(call.transaction, table, row_id, values)
    return ApiResponse(204, {"OData-Version": "4.0"})
