"""GET on rows: one, many, a count."""

from typing import Any

from emulators.dataverse import change_tracking, errors
from emulators.dataverse.calls import Call
from emulators.dataverse.columns import Table
from emulators.dataverse.messages import ApiResponse, json_response
from emulators.dataverse.privileges import check_reading
from emulators.dataverse.query import PAGE_LIMIT, projector, run_query
from emulators.dataverse.values import normalise_id


def parse_key(table: Table, key: str) -> str:
    """The id in a row's address. Raises ApiError when it is not a GUID."""
    row_id = normalise_id(key.removeprefix(f"{table.primary_id}="))
    if row_id is None:
        raise errors.bad_query(f"Error in query syntax: '{key}' is not a key of {table.set_name}.")
    return row_id


def _applied(call: Call) -> dict[str, str]:
    prefer = call.request.headers.get("prefer", "")
    return {"Preference-Applied": prefer} if prefer else {}


def read_row(call: Call, table: Table, row_id: str) -> ApiResponse:
    """One row by its id; 304 when If-None-Match names the version it has."""
    check_reading(call, table)
    call.environment.stats.count("read", table.name)
    row = call.environment.store.get(table.name, row_id)
    project = projector(call.environment.store, table, call.options)
    if row is None:
        raise errors.not_found(table.name, row_id)
    if row_id in call.environment.store.hidden_rows:
        raise errors.no_access(call.user, "Read", row_id)
    etag = f'W/"{row["versionnumber"]}"'
    if call.request.headers.get("if-none-match") == etag:
        return ApiResponse(304, {"ETag": etag, "OData-Version": "4.0"})
    call.environment.stats.ids_read += 1
    return row_response(call, table, project(row), 200)


def row_response(call: Call, table: Table, row: dict[str, Any], status: int) -> ApiResponse:
    """An answer that shows one row."""
    body = {"@odata.context": call.context(table, "/$entity"), **row}
    return json_response(body, status, {"ETag": row["@odata.etag"], **_applied(call)})


def read_rows(call: Call, table: Table) -> ApiResponse:
    """The rows that a query finds, one page of them."""
    check_reading(call, table)
    call.environment.stats.count("query", table.name)
    if change_tracking.is_meant(call):
        return json_response(change_tracking.changes(call, table), headers=_applied(call))
    store = call.environment.store
    project = projector(store, table, call.options)
    page = run_query(store, table, call.options)
    call.environment.stats.ids_read += len(page.rows)
    body: dict[str, Any] = {"@odata.context": call.context(table)}
    if call.options.options.get("$count") == "true":
        body["@odata.count"] = min(page.total, PAGE_LIMIT)
    body["value"] = [project(row) for row in page.rows]
    if page.next_token is not None:
        body["@odata.nextLink"] = call.link(table, f"$skiptoken={page.next_token}", without=("skiptoken",))
    return json_response(body, headers=_applied(call))


def count_rows(call: Call, table: Table) -> ApiResponse:
    """`/$count`: how many rows there are, at most 5000."""
    check_reading(call, table)
    call.environment.stats.count("query", table.name)
    total = min(run_query(call.environment.store, table, call.options).total, PAGE_LIMIT)
    return ApiResponse(200, {"Content-Type": "text/plain", "OData-Version": "4.0"}, str(total).encode())
