"""What the caller's role lets it do: privileges per table, less those that a switch takes away."""

import re
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from emulators.dataverse import constants, errors
from emulators.dataverse.calls import Call
from emulators.dataverse.columns import Table
from emulators.dataverse.environment import Switches
from emulators.dataverse.messages import ApiResponse, json_response
from emulators.dataverse.metadata import column_id
from emulators.dataverse.tables import TABLES

_VERBS: Final = ("Create", "Read", "Write", "Delete", "Append", "AppendTo")
_WRITING: Final = frozenset({"Create", "Write", "Delete"})
# Dataverse: a privilege is called after the table's schema name, but for users.
_OWN_NAMES: Final = {"systemuser": "User"}
_ALLOWED: Final = 4  # of the choice field_security_permission_type
_STEP: Final = re.compile(r"(\w+)/")
_NAME: Final = re.compile(r"\w+")


def privilege_name(table: Table, verb: str) -> str:
    """The privilege that an operation on a table needs, such as prvReadContact."""
    return f"prv{verb}{_OWN_NAMES.get(table.name, table.schema_name)}"


def _is_held(switches: Switches, table: Table, verb: str) -> bool:
    if verb == "Read":
        return table.name not in switches.no_read_privilege
    return verb not in _WRITING or table.name not in switches.no_write_privilege


def check_privilege(call: Call, table: Table, verb: str) -> None:
    """Raise ApiError 403 when the switch has taken the privilege away."""
    if not _is_held(call.environment.switches, table, verb):
        message = (
            f"Principal user (Id={call.user}, type=8, roleCount=1, privilegeCount=512, accessMode='0 Read-Write') is "
            f"missing {privilege_name(table, verb)} privilege on OTC={table.type_code} for entity '{table.name}'."
        )
        raise errors.ApiError(403, "0x80040220", message)


def check_reading(call: Call, table: Table) -> None:
    """Raise ApiError 403 unless the table, and those that the query follows a lookup to, may be read."""
    check_privilege(call, table, "Read")
    options = call.options.options
    followed = {*_STEP.findall(options.get("$filter", "")), *_NAME.findall(options.get("$expand", ""))}
    for name in followed & table.navigations.keys():
        target = table.navigations[name][1]
        if target is not None:
            check_privilege(call, TABLES[target], "Read")


def user_privileges(call: Call, table: Table, user_id: str) -> ApiResponse:
    """RetrieveUserPrivileges: what the roles of a user add up to; here every user has the same role."""
    check_privilege(call, table, "Read")
    user = call.environment.store.get("systemuser", user_id)
    if user is None:
        raise errors.not_found("systemuser", user_id)
    call.environment.stats.count("privileges")
    held: dict[str, dict[str, Any]] = {}
    for other in TABLES.values():
        for verb in _VERBS:
            if _is_held(call.environment.switches, other, verb):
                name = privilege_name(other, verb)
                held[name] = {
                    "Depth": "Global",
                    "PrivilegeId": str(uuid5(NAMESPACE_URL, name)),
                    "BusinessUnitId": user.get("_businessunitid_value") or constants.BUSINESS_UNIT_ID,
                    "PrivilegeName": name,
                    "RecordFilterId": constants.EMPTY_ID,
                    "RecordFilterUniqueName": "",
                }
    context = f"{constants.API_URL}$metadata#Microsoft.Dynamics.CRM.RetrieveUserPrivilegesResponse"
    return json_response({"@odata.context": context, "RolePrivileges": list(held.values())})


def column_privileges(call: Call, table: Table, user_id: str) -> ApiResponse:
    """RetrievePrincipalAttributePrivileges: what the user's field security profiles allow on which secured columns.

    A column by the MetadataId of its definition, a permission as 4 (allowed) or 0; secured columns that no profile of
    the user names are missing. Here every user has the same profiles.
    """
    check_privilege(call, table, "Read")
    if call.environment.store.get("systemuser", user_id) is None:
        raise errors.not_found("systemuser", user_id)
    call.environment.stats.count("privileges")
    held = [
        {
            "AttributeId": column_id(TABLES[other.name], column),
            "CanCreate": 0 if column.locked else _ALLOWED,
            "CanRead": _ALLOWED,
            "CanReadUnmasked": 0,
            "CanUpdate": 0 if column.locked else _ALLOWED,
        }
        for other in call.environment.store.tables.values()
        for column in other.columns.values()
        if column.secured and not column.hidden
    ]
    context = f"{constants.API_URL}$metadata#Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivilegesResponse"
    return json_response({"@odata.context": context, "AttributePrivileges": held})
