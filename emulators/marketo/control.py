"""The control API for tests, the demo and benchmarks: look in, seed, switch, break. Plain HTTP; no part of Marketo."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from emulators.marketo.activities import INTERESTING_MOMENT
from emulators.marketo.errors import MarketoError
from emulators.marketo.instance import Instance
from emulators.marketo.merging import merge_leads
from emulators.marketo.objects import LEADS
from emulators.marketo.relations import forget
from emulators.marketo.store import Record

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The control API of one instance.

    GET  /stats               counters, limits used, duplicate keys, records stored
    POST /stats/reset         start counting anew (the used-up quota is forgotten too)
    POST /clear               delete all records and activities
    GET  /stored              {object: {key: seconds since the epoch}}: when each record was first stored
    GET  /switches            every switch; POST changes those named
    GET  /limits              calls_per_20s, concurrency, daily, used_today; POST changes those named; executing: the
                              calls that are being carried out now
    GET  /faults              queued faults (emulators/marketo/faults.py); POST adds one or a list,
                              DELETE drops all and opens all gates
    GET  /gates               the gates of `hold` faults; more in emulators/gates.py
    POST /seed                {object: [records]} created as they are, unchecked relations, system fields allowed
    GET  /records/{object}    every record as it is stored; POST {searchable field: [values]} gives those that have
                              one of these values; PATCH changes records (found by id or key) and logs it
    POST /activities          log activities: [{"leadId" or a lead's key, "activityTypeId", ...}]; an interesting moment
                              shows in Sales Insight's fields, "recalculated" gives what follows from another activity
    POST /recalculate         [{"id" or a lead's key, calculated fields}]: Marketo's own calculation, which logs nothing
    POST /merge               {"winner": {"id" or key}, "losers": [{"id" or key}]}: the losers are gone, and their
                              opportunity roles are the winner's
    POST /delete              {object: [{"id" or key}]}: deleted by hand, whatever refers to them
    POST /paging-tokens/forget  refuse the paging tokens that were given out until now
    POST /clock/advance       {"seconds": n}, forward only; a clock that is wrong is the switch clock_offset
    POST /token/revoke        make all tokens invalid
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(middlewares=[_explain_errors], client_max_size=256 * 1024 * 1024)
        app.add_routes(
            [
                web.get("/stats", self._stats),
                web.post("/stats/reset", self._reset_stats),
                web.post("/clear", self._clear),
                web.get("/stored", self._stored),
                web.get("/switches", self._switches),
                web.post("/switches", self._set_switches),
                web.get("/limits", self._limits),
                web.post("/limits", self._set_limits),
                web.get("/faults", self._faults),
                web.post("/faults", self._add_faults),
                web.delete("/faults", self._clear_faults),
                web.post("/seed", self._seed),
                web.get("/records/{object}", self._records),
                web.post("/records/{object}", self._find_records),
                web.patch("/records/{object}", self._patch),
                web.post("/activities", self._add_activities),
                web.post("/recalculate", self._recalculate),
                web.post("/merge", self._merge),
                web.post("/delete", self._delete),
                web.post("/paging-tokens/forget", self._forget_tokens),
                web.post("/clock/advance", self._advance),
                web.post("/token/revoke", self._revoke),
                *self._instance.gates.routes(),
            ]
        )
        return app

    async def _stats(self, _request: web.Request) -> web.Response:
        instance = self._instance
        leads = instance.tables[LEADS]
        duplicates = {LEADS: {key: leads.repeated((key,)) for key in ("externalPersonId", "email")}}
        return web.json_response(
            {
                **instance.stats.as_json(),
                "counted_today": instance.limits.used_today(),
                "peak_concurrency": instance.limits.peak_executing,
                "max_calls_in_20s": instance.limits.peak_in_window,
                "duplicates": duplicates,
                "stored": {name: len(table) for name, table in instance.tables.items()},
            }
        )

    async def _reset_stats(self, _request: web.Request) -> web.Response:
        self._instance.stats.reset()
        self._instance.limits.reset()
        return _done()

    async def _clear(self, _request: web.Request) -> web.Response:
        self._instance.clear()
        return _done()

    async def _stored(self, _request: web.Request) -> web.Response:
        return web.json_response(self._instance.stats.first_stored)

    async def _switches(self, _request: web.Request) -> web.Response:
        return web.json_response(self._instance.switches.as_json())

    async def _set_switches(self, request: web.Request) -> web.Response:
        self._instance.switch(await request.json())
        return web.json_response(self._instance.switches.as_json())

    async def _limits(self, _request: web.Request) -> web.Response:
        limits = self._instance.limits
        return web.json_response(
            {
                "calls_per_20s": limits.calls_per_window,
                "concurrency": limits.concurrency,
                "daily": limits.daily,
                "used_today": limits.used_today(),
                "executing": limits.executing,
            }
        )

    async def _set_limits(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        limits = self._instance.limits
        known = {"calls_per_20s", "concurrency", "daily", "used_today"}
        if not known.issuperset(wanted):
            raise ValueError(f"limits are {', '.join(sorted(known))}")
        limits.calls_per_window = int(wanted.get("calls_per_20s", limits.calls_per_window))
        limits.concurrency = int(wanted.get("concurrency", limits.concurrency))
        limits.daily = int(wanted.get("daily", limits.daily))
        if "used_today" in wanted:
            limits.use_today(int(wanted["used_today"]))
        return await self._limits(request)

    async def _faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._instance.faults.as_json())

    async def _add_faults(self, request: web.Request) -> web.Response:
        given = await request.json()
        self._instance.faults.add(given if isinstance(given, list) else [given])
        return web.json_response(self._instance.faults.as_json())

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._instance.faults.clear()
        await self._instance.gates.clear()
        return _done()

    async def _seed(self, request: web.Request) -> web.Response:
        ids: dict[str, list[Any]] = {}
        now = self._instance.clock.stamp()
        for name, records in (await request.json()).items():
            schema, table = self._instance.schemas[name], self._instance.tables[name]
            values = [schema.read(record) for record in records]
            stored = [table.insert({"createdAt": now, "updatedAt": now, **entry}) for entry in values]
            ids[name] = [record[schema.kind.id_field] for record in stored]
        return web.json_response(ids)

    async def _records(self, request: web.Request) -> web.Response:
        return web.json_response(list(self._instance.tables[request.match_info["object"]]))

    async def _find_records(self, request: web.Request) -> web.Response:
        name, query = request.match_info["object"], await request.json()
        if not isinstance(query, dict) or len(query) != 1 or not all(isinstance(v, list) for v in query.values()):
            raise ValueError("a query is {one searchable field: [values]}")
        ((wanted, values),) = query.items()
        field = self._instance.schemas[name].find(wanted)
        if field is None or not field.searchable:
            raise ValueError(f"{wanted} is not searchable in {name}")
        return web.json_response(self._instance.tables[name].find_any((field.name,), values))

    async def _patch(self, request: web.Request) -> web.Response:
        name = request.match_info["object"]
        changed = 0
        for entry in await request.json():
            record = self._find(name, entry)
            values = self._instance.schemas[name].read(entry)
            changes = self._instance.tables[name].update(record, values)
            changed += len(changes)
            record["updatedAt"] = self._instance.clock.stamp()
            if name == LEADS:
                self._instance.log.changed(record, changes)
        return web.json_response({"changed": changed})

    async def _add_activities(self, request: web.Request) -> web.Response:
        given = await request.json()
        numbers = [self._log(entry) for entry in (given if isinstance(given, list) else [given])]
        return web.json_response({"ids": numbers})

    def _log(self, entry: dict[str, Any]) -> int:
        lead = self._find(LEADS, {**entry, "id": entry.get("leadId")})
        type_id = int(entry["activityTypeId"])
        attributes = dict(entry.get("attributes") or {})
        primary = entry.get("primaryAttributeValue")
        date = entry.get("activityDate") or self._instance.clock.stamp()
        if type_id == INTERESTING_MOMENT and self._instance.switches.msi_non_native:
            moment = {
                "Type": primary,
                "Date": date,
                "Desc": attributes.get("Description"),
                "Source": attributes.get("Source"),
            }
            schema = self._instance.schemas[LEADS]
            values = {f"msiLastInterestingMoment{part}": value for part, value in moment.items()}
            values = {name: value for name, value in values.items() if schema.find(name) is not None}
            self._instance.tables[LEADS].update(lead, schema.read(values))
        if "recalculated" in entry:
            self._calculate(lead, entry["recalculated"])
        return self._instance.log.add(lead["id"], type_id, date=date, primary=primary, attributes=attributes).number

    async def _recalculate(self, request: web.Request) -> web.Response:
        given = await request.json()
        for entry in given:
            lead = self._find(LEADS, entry)
            self._calculate(lead, {name: entry[name] for name in entry.keys() - {"id", "externalPersonId", "email"}})
        return web.json_response({"recalculated": len(given)})

    def _calculate(self, lead: Record, values: dict[str, Any]) -> None:
        schema = self._instance.schemas[LEADS]
        read = schema.read(values)
        if not schema.protected.issuperset(read):
            raise ValueError(f"not calculated by Marketo: {', '.join(sorted(read.keys() - schema.protected))}")
        self._instance.tables[LEADS].update(lead, read)

    async def _merge(self, request: web.Request) -> web.Response:
        given = await request.json()
        winner = self._find(LEADS, given["winner"])
        merge_leads(self._instance, winner, [self._find(LEADS, entry) for entry in given["losers"]])
        return _done()

    async def _delete(self, request: web.Request) -> web.Response:
        found = [
            (name, self._find(name, entry)) for name, entries in (await request.json()).items() for entry in entries
        ]
        for name, record in found:
            forget(self._instance, name, record)
            self._instance.tables[name].delete(record)
            if name == LEADS:
                self._instance.log.deleted(record)
        return web.json_response({"deleted": len(found)})

    async def _forget_tokens(self, _request: web.Request) -> web.Response:
        self._instance.log.forget_tokens()
        return _done()

    def _find(self, name: str, entry: dict[str, Any]) -> Record:
        kind = self._instance.schemas[name].kind
        keys = [(kind.id_field,), *([("externalPersonId",), ("email",)] if kind.is_lead else [kind.dedupe_fields])]
        for names in keys:
            values = [entry.get(part) for part in names]
            if None not in values:
                found = self._instance.tables[name].find(names, values[0] if len(values) == 1 else tuple(values))
                if found:
                    return found[0]
        raise ValueError(f"no record in {name} for {entry}")

    async def _advance(self, request: web.Request) -> web.Response:
        self._instance.clock.advance(float((await request.json())["seconds"]))
        return web.json_response({"now": self._instance.clock.stamp()})

    async def _revoke(self, _request: web.Request) -> web.Response:
        self._instance.identity.revoke()
        return _done()


@web.middleware
async def _explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (ValueError, KeyError, TypeError, MarketoError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)


def _done() -> web.Response:
    return web.json_response({"ok": True})
