"""The console as a Starlette application: which address shows what. What is shown is in the modules of the pages."""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ...model.errors import MsiSyncError
from ...telemetry.redaction import described
from ..context import Context
from ..status.facts import Status
from ..status.look import look
from . import acts, health, journal, mapping, overview, records, runs
from .jobs import Jobs
from .latest import Latest, Looks
from .letters import page as letters
from .page import AGREED, Action, Download, Lead, Page, Plan, View, Visit
from .parked import page as parked
from .security import CSRF, PUBLIC, Access, Guard, RefusedError
from .templating import FOLDER, environment

log = logging.getLogger(__name__)
#: Codes of an address that names nothing, or nothing any more.
_NOT_HERE = frozenset({"NoSuchQueue", "NoSuchRun", "NoAddress", "NotThere"})

#: The navigation, in its order.
PAGES: tuple[Page, ...] = (
    overview.PAGE,
    records.PAGE,
    letters.PAGE,
    parked.PAGE,
    runs.PAGE,
    health.PAGE,
    mapping.PAGE,
)
#: What `msisync status` finds is not looked for again before so many times as long as a look took: of 100,000 parked
#: records, it takes seconds.
LOOK_TIMES = 4.0

# A machine may know other types for these files, and browsers take what they are told (nosniff).
mimetypes.add_type("text/css", ".css")
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("image/svg+xml", ".svg")


def console(context: Context, access: Access, *, patience: float = 0.0) -> Starlette:
    """The application. `context` is whose credentials it works with; who owns it closes it. `patience`: of Jobs."""
    return served(Site(context, PAGES, Latest(partial(look, context), times=LOOK_TIMES), patience), access)


def served(site: Site, access: Access) -> Starlette:
    """These pages behind their guard, as an ASGI application."""
    pages = site.pages
    routes = [
        Mount(PUBLIC, StaticFiles(directory=FOLDER / "static")),
        Route("/jobs/{id}", site.job),
        Route("/jobs/{id}/file", site.file),
        *(
            Route(path, partial(site.answer, page, show))
            for page in pages
            for path, show in ((page.path, page.show), *page.files)
        ),
        *(
            Route(action.path, partial(site.answer, page, partial(show, action)), methods=[method])
            for page in pages
            for action in page.actions
            for method, show in (("GET", _ask), ("POST", _do))
        ),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=access, refuse=site.refused)],
        exception_handlers={HTTPException: site.not_there},
        lifespan=site.lifespan,
    )


class Site:
    """The pages with what they have in common. `status`: what `msisync status` finds."""

    def __init__(self, context: Context, pages: Sequence[Page], status: Latest[Status], patience: float = 0.0) -> None:
        self.context, self.pages, self.status = context, pages, status
        self.looks, self.jobs = Looks(), Jobs(lambda: context.state, patience=patience, ended=self._of_the_past)

    def _of_the_past(self) -> None:
        """An action has ended."""
        self.status.outdate()
        self.looks.outdate(acts.KEY)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """From the server's start to its end."""
        yield
        await self.jobs.close()
        await self.status.close()
        await self.looks.close()

    async def job(self, request: Request) -> Response:
        """How far an action is, or how it has ended."""
        return await self.answer(None, partial(_job, request.path_params["id"]), request)

    async def file(self, request: Request) -> Response:
        """What an action has written, for operators alone: it may hold personal data."""
        job = self.jobs.get(request.path_params["id"])
        if not job or not job.file or not request.state.operator.may_act:
            raise HTTPException(404)
        return FileResponse(job.file, media_type="application/octet-stream", filename=job.file.name)

    async def answer(
        self, page: Page | None, show: Callable[[Visit], Awaitable[View | Download | Response]], request: Request
    ) -> Response:
        """What `show` gives, as a page or a file, or why it can give nothing."""
        asked = request.state.form if request.method == "POST" else request.query_params
        visit = Visit(asked, request.state.operator, self.context, self.status, self.looks, self.jobs)
        try:
            shown = await show(visit)
            if isinstance(shown, Download):
                return await _sent(shown)
            return shown if isinstance(shown, Response) else self._rendered(200, shown, request, page)
        except MsiSyncError as error:
            return self._problem(404 if error.code in _NOT_HERE else 502, error.code, error.message, request, page)
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  (a defect: of this page, not of the console)
            what = described(error)  # without its text, which may quote data
            log.error("console_defect path=%s error=%s", request.url.path, what)
            text = f"A defect of msisync; report it with this line: {what}"
            return self._problem(500, "Defect", text, request, page)

    def refused(self, error: RefusedError) -> Response:
        """The page of somebody who is not let in."""
        return self._problem(error.status, error.title, error.text)

    async def not_there(self, request: Request, error: Exception) -> Response:
        """The page of an address that the console does not have."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        return self._problem(status, "No such page", "Nothing is at this address.", request)

    def _problem(
        self, status: int, title: str, text: str, request: Request | None = None, page: Page | None = None
    ) -> Response:
        return self._rendered(status, View("problem.html", {"title": title, "text": text}), request, page)

    def _rendered(self, status: int, view: View, request: Request | None, page: Page | None) -> Response:
        operator = getattr(request.state, "operator", None) if request else None
        known = self.status.known
        common: dict[str, Any] = {
            "pages": [(each, each.badge(known) if known else 0) for each in self.pages] if operator else [],
            "here": page,
            "operator": operator,
            "csrf_name": CSRF,
            "agreed_name": AGREED,
            "lead_for": self.lead,
            "systems": self._systems if operator else "",
            "address": f"{request.url.path}?{request.url.query}".rstrip("?") if request else "",
        }
        return HTMLResponse(environment().get_template(view.template).render(common | dict(view.values)), status)

    def lead(self, remedy: str) -> Lead | None:
        """The link that does what a remedy says, if a page has one."""
        return next((lead for page in self.pages if (lead := page.lead(remedy))), None)

    @cached_property
    def _systems(self) -> str:
        """Which two systems these are: operators have several environments."""
        settings = self.context.settings
        return " → ".join(url.partition("://")[2] for url in (settings.dataverse.url, settings.marketo.url))


async def _sent(file: Download) -> Response:
    """A file that is made while it is sent, but for its first part: where nothing can be read, a page says so."""
    first = await anext(file.parts, "")

    async def parts() -> AsyncIterator[str]:
        yield first
        async for part in file.parts:
            yield part

    headers = {"content-disposition": f'attachment; filename="{file.name}"'}
    return StreamingResponse(parts(), media_type=file.media_type, headers=headers)


async def _job(id_: str, visit: Visit) -> View:
    """An action as this process knows it, else as the journal does."""
    job = visit.jobs.get(id_)
    entry = job.entry if job else await journal.read(visit.context.state, id_)
    if entry is None:
        raise HTTPException(404)
    return View("job.html", {"job": job, "entry": entry})


async def _ask(action: Action, visit: Visit) -> View:
    """What an action would do."""
    return _question(action, visit, await action.plan(visit))


async def _do(action: Action, visit: Visit) -> View | Response:
    """Begin an action, if what it would do is still what its sender has agreed to."""
    plan = await action.plan(visit)
    if plan.nothing or not plan.do or visit.word(AGREED) != plan.title:
        return _question(action, visit, plan, has_changed=True)
    job = await visit.jobs.start(plan.title, visit.operator.name, plan.back or action.back, plan.do)
    return RedirectResponse(f"/jobs/{job.id}", 303)


def _question(action: Action, visit: Visit, plan: Plan, *, has_changed: bool = False) -> View:
    """What is asked before an action. Where that has to be read first, its page asks for it with the same fields."""
    fields = [(name, value) for name, value in visit.asked.multi_items() if name not in (CSRF, AGREED)]
    values = {"action": action, "plan": plan, "has_changed": has_changed}
    return View("confirm.html", {**values, "again": f"{action.path}?{urlencode(fields)}"})
