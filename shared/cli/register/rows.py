"""Reads what is registered in Dataverse, in few requests, and carries out a plan, one write after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ...config.conditions import Row
from ...config.sync_toml import SyncConfig
from ...dataverse.client import API, DataverseClient
from ...dataverse.metadata import Column, Metadata
from ...model.codes import Kind
from ...model.errors import ConfigurationError, DataverseError
from ...sync.dependants import deciding_tables
from .plan import Action
from .wanted import (
    ENDPOINT_COLUMNS,
    IMAGE_COLUMNS,
    SECRETS,
    STEP_COLUMNS,
    Endpoint,
    Image,
    Step,
    StepKey,
    Target,
    place,
)

#: Ids in one filter: each takes some 80 of the URL's 32,768 characters.
_IDS = 100
_SETS = {
    "endpoint": "serviceendpoints",
    "step": "sdkmessageprocessingsteps",
    "image": "sdkmessageprocessingstepimages",
}
_ENDPOINT = "_eventhandler_value"
_STEP = "_sdkmessageprocessingstepid_value"


async def read_columns(config: SyncConfig, metadata: Metadata) -> dict[str, Collection[Column]]:
    """The columns of each table to be watched that Dynamics has. Raises as DataverseClient does."""

    async def of(table: str) -> Collection[Column] | None:
        try:
            return (await metadata.columns(table, config.language)).values()
        except DataverseError as error:
            if error.kind is Kind.GONE:
                return None
            raise

    tables = [*config.tables, *deciding_tables(config)]
    found = await asyncio.gather(*map(of, tables))
    return {table: columns for table, columns in zip(tables, found, strict=True) if columns is not None}


async def read_endpoints(dataverse: DataverseClient, name: str, places: frozenset[str]) -> list[Endpoint]:
    """The endpoints that have this name or post to one of these places, with their steps and images.

    Three requests. Raises as DataverseClient does.
    """
    columns = [*ENDPOINT_COLUMNS, *(flag for _, flag in SECRETS.values())]
    rows = await dataverse.query(f"{API}/serviceendpoints?$select=serviceendpointid,name,{','.join(columns)}")
    known = [row for row in rows if row["name"] == name or (place(row) and place(row) in places)]
    steps = await _read_steps(dataverse, [str(row["serviceendpointid"]) for row in known])
    return [
        Endpoint(
            str(row["serviceendpointid"]),
            str(row["name"]),
            {column: row.get(column) for column in ENDPOINT_COLUMNS},
            any(row.get(flag) is True for contract, (_, flag) in SECRETS.items() if row["contract"] == contract),
            tuple(sorted(steps.get(str(row["serviceendpointid"]), ()), key=lambda s: (s.table, s.message, s.id))),
        )
        for row in known
    ]


async def _read_steps(dataverse: DataverseClient, endpoints: Sequence[str]) -> dict[str, list[Step]]:
    select = f"$select=sdkmessageprocessingstepid,name,{_ENDPOINT},{','.join(STEP_COLUMNS)}"
    expand = "$expand=sdkmessageid($select=name),sdkmessagefilterid($select=primaryobjecttypecode)"
    rows = await _referring(dataverse, f"{_SETS['step']}?{select}&{expand}", _ENDPOINT, endpoints)
    images = await _read_images(dataverse, [str(row["sdkmessageprocessingstepid"]) for row in rows])
    steps: dict[str, list[Step]] = {}
    for row in rows:
        id_ = str(row["sdkmessageprocessingstepid"])
        table = (row.get("sdkmessagefilterid") or {}).get("primaryobjecttypecode")
        step = Step(
            id_,
            str(row.get("name") or ""),
            "" if table in (None, "none") else str(table),
            str((row.get("sdkmessageid") or {}).get("name", "")),
            {column: row.get(column) for column in STEP_COLUMNS},
            tuple(images.get(id_, ())),
        )
        steps.setdefault(str(row[_ENDPOINT]), []).append(step)
    return steps


async def _read_images(dataverse: DataverseClient, steps: Sequence[str]) -> dict[str, list[Image]]:
    query = f"{_SETS['image']}?$select=sdkmessageprocessingstepimageid,{_STEP},{','.join(IMAGE_COLUMNS)}"
    images: dict[str, list[Image]] = {}
    for row in await _referring(dataverse, query, _STEP, steps):
        values = {column: row.get(column) for column in IMAGE_COLUMNS}
        images.setdefault(str(row[_STEP]), []).append(Image(str(row["sdkmessageprocessingstepimageid"]), values))
    return images


async def _referring(dataverse: DataverseClient, query: str, lookup: str, ids: Sequence[str]) -> list[Row]:
    found: list[Row] = []
    for start in range(0, len(ids), _IDS):
        chosen = " or ".join(f"{lookup} eq {id_}" for id_ in ids[start : start + _IDS])
        found += await dataverse.query(f"{API}/{query}&$filter={chosen}")
    return found


class Writer:
    """Carries out actions in their order. `solution` takes what is written into a solution, by its unique name."""

    def __init__(self, dataverse: DataverseClient, target: Target | None, *, solution: str | None = None) -> None:
        self._dataverse = dataverse
        self._target = target
        self._headers = {"MSCRM.SolutionUniqueName": solution} if solution else {}
        self._messages: dict[StepKey, tuple[str, str]] = {}
        self._created: dict[str, str] = {}

    async def prepare(self, actions: Iterable[Action]) -> None:
        """Look up the messages that new steps need. Raises ConfigurationError when a table takes no such steps."""
        keys = [action.key for action in actions if (action.verb, action.kind) == ("create", "step")]
        if not keys:
            return
        tables = " or ".join(f"primaryobjecttypecode eq '{table}'" for table in sorted({table for table, _ in keys}))
        names = " or ".join(f"sdkmessageid/name eq '{name}'" for name in sorted({name for _, name in keys}))
        rows = await self._dataverse.query(
            f"{API}/sdkmessagefilters?$select=sdkmessagefilterid,primaryobjecttypecode,_sdkmessageid_value"
            f"&$expand=sdkmessageid($select=name)&$filter=({tables}) and ({names})"
        )
        for row in rows:
            key = (str(row["primaryobjecttypecode"]), str(row["sdkmessageid"]["name"]))
            self._messages[key] = (str(row["_sdkmessageid_value"]), str(row["sdkmessagefilterid"]))
        missing = sorted({f"{table} {name}" for table, name in keys if (table, name) not in self._messages})
        if missing:
            text = f"this environment takes no steps for {', '.join(missing)}; remove the table from sync.toml"
            raise ConfigurationError("NoSuchMessage", text)

    async def write(self, action: Action) -> None:
        """One write. Raises as DataverseClient does. A row to delete that is gone already is as good as deleted."""
        place_ = f"{API}/{_SETS[action.kind]}"
        if action.verb == "create":
            body = self._body(action)
            self._created[action.kind] = await self._dataverse.write("POST", place_, body, headers=self._headers)
        elif action.verb == "delete":
            try:
                await self._dataverse.write("DELETE", f"{place_}({action.id})", headers=self._headers)
            except DataverseError as error:
                if error.kind is not Kind.GONE:
                    raise
        else:
            await self._dataverse.write("PATCH", f"{place_}({action.id})", self._body(action), headers=self._headers)

    def _body(self, action: Action) -> dict[str, Any]:
        body = dict(action.values)
        if action.secret and self._target:
            body[SECRETS[self._target.contract][0]] = self._target.secret.get_secret_value()
        if action.verb == "create" and action.kind == "step":
            message, chosen = self._messages[action.key]
            endpoint = action.parent or self._created["endpoint"]
            body["eventhandler_serviceendpoint@odata.bind"] = f"/serviceendpoints({endpoint})"
            body["sdkmessageid@odata.bind"] = f"/sdkmessages({message})"
            body["sdkmessagefilterid@odata.bind"] = f"/sdkmessagefilters({chosen})"
        if action.verb == "create" and action.kind == "image":
            step = action.parent or self._created["step"]
            body["sdkmessageprocessingstepid@odata.bind"] = f"/sdkmessageprocessingsteps({step})"
        return body
