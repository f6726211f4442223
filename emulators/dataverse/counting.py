"""RetrieveTotalRecordCount: how many rows tables have (Web API reference; Microsoft answers from a daily snapshot)."""

import json
import re
from typing import Final
from urllib.parse import parse_qs, unquote

from emulators.dataverse import constants, errors
from emulators.dataverse.calls import Call
from emulators.dataverse.messages import ApiResponse, json_response

_CALL: Final = re.compile(r"/RetrieveTotalRecordCount\(EntityNames=(?P<names>@\w+|\[[^\]]*\])\)$")


def total_record_count(call: Call) -> ApiResponse:
    """The number of rows of each of the tables, by logical name."""
    call.environment.stats.count("total_record_count")
    found = _CALL.search(unquote(call.request.path))
    if found is None:
        raise errors.unknown_segment("RetrieveTotalRecordCount")
    text = found["names"]
    if text.startswith("@"):  # a parameter alias
        text = parse_qs(call.request.query).get(text, [""])[0]
    try:
        names = json.loads(text.replace("'", '"'))
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise errors.bad_query("The parameter 'EntityNames' is not a collection of logical names.")
    store = call.environment.store
    for name in names:
        if name not in store.tables:
            raise errors.ApiError(400, "0x80041102", f"The entity with a name = '{name}' was not found in the cache.")
    counts = [len(store.rows[name]) for name in names]
    context = f"{constants.API_URL}$metadata#Microsoft.Dynamics.CRM.RetrieveTotalRecordCountResponse"
    collection = {"Count": len(names), "IsReadOnly": False, "Keys": names, "Values": counts}
    return json_response({"@odata.context": context, "EntityRecordCountCollection": collection})
