"""The control API of the simulator: plain HTTP, for tests, the demo and the benchmark only."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from emulators.dataverse import errors, sample, seeding
from emulators.dataverse.delivery import Delivery
from emulators.dataverse.environment import Environment, Fault, Stats, Switches
from emulators.dataverse.events import EventPipeline
from emulators.dataverse.tables import TABLES

_LARGEST_BODY = 256 * 1024 * 1024
_FAULTS = TypeAdapter(list[Fault])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(environment: Environment, events: EventPipeline, delivery: Delivery) -> web.Application:
    """The control API over one environment."""
    control = _Control(environment, events, delivery)
    app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[_refusals])
    app.add_routes(
        [
            web.post("/seed", control.seed),
            web.post("/sample", control.sample),
            web.post("/clear", control.clear),
            web.get("/stats", control.stats),
            web.post("/stats/reset", control.reset_stats),
            web.get("/switches", control.switches),
            web.post("/switches", control.set_switches),
            web.post("/faults", control.faults),
            web.get("/rows/{table}", control.rows),
            *environment.gates.routes(),
        ]
    )
    return app


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.ApiError as error:
        return web.json_response({"code": error.code, "message": error.message}, status=error.status)
    except ValidationError as error:
        return web.json_response({"message": str(error)}, status=400)


class _Control:
    def __init__(self, environment: Environment, events: EventPipeline, delivery: Delivery) -> None:
        self._environment = environment
        self._events = events
        self._delivery = delivery

    async def seed(self, request: web.Request) -> web.Response:
        """`{table: [rows]}` -> `{table: [ids]}`."""
        ids = seeding.seed(self._environment, await request.json())
        self._events.forget_steps()
        return web.json_response(ids)

    async def sample(self, _request: web.Request) -> web.Response:
        """Load the sample company into an environment that was started empty."""
        sample.load(self._environment)
        return web.json_response({})

    async def clear(self, request: web.Request) -> web.Response:
        """Back to an empty environment; `{"keep_registration": true}` leaves endpoints, steps and images."""
        options = await request.json() if request.can_read_body else {}
        seeding.reset(self._environment, keep_registration=bool(options.get("keep_registration")))
        self._environment.switches = Switches()
        self._environment.faults.clear()
        await self._environment.gates.clear()
        self._environment.forget_usage()
        self._events.forget_steps()
        return web.json_response({})

    async def stats(self, _request: web.Request) -> web.Response:
        """The counters since the start or the last reset, and how many posts are still to be made."""
        return web.json_response({**self._environment.stats.as_dict(), "pending_posts": self._delivery.pending})

    async def reset_stats(self, _request: web.Request) -> web.Response:
        """Count from zero."""
        self._environment.stats = Stats()
        return web.json_response({})

    async def switches(self, _request: web.Request) -> web.Response:
        """All switches."""
        return web.json_response(self._environment.switches.model_dump())

    async def set_switches(self, request: web.Request) -> web.Response:
        """Set the given switches, leave the others."""
        given: dict[str, Any] = await request.json()
        self._environment.switches = Switches.model_validate({**self._environment.switches.model_dump(), **given})
        return web.json_response(self._environment.switches.model_dump())

    async def faults(self, request: web.Request) -> web.Response:
        """Plan faults: one or a list of them; an empty list forgets those planned before and opens all gates."""
        given = await request.json()
        planned = _FAULTS.validate_python(given if isinstance(given, list) else [given])
        if planned:
            self._environment.faults.extend(planned)
        else:
            self._environment.faults.clear()
            await self._environment.gates.clear()
        return web.json_response([fault.model_dump() for fault in self._environment.faults])

    async def rows(self, request: web.Request) -> web.Response:
        """Every row of a table, without the columns that are never read back; `?columns=a,b`: only these."""
        table = TABLES.get(request.match_info["table"])
        if table is None:
            raise errors.unknown_segment(request.match_info["table"])
        hidden = {column.key for column in table.columns.values() if not column.read}
        rows = self._environment.store.rows[table.name].values()
        if "columns" in request.query:
            wanted = set(request.query["columns"].split(",")) - hidden
            return web.json_response([{k: row[k] for k in wanted if k in row} for row in rows])
        return web.json_response([{k: v for k, v in row.items() if k not in hidden} for row in rows])
