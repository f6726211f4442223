"""The page of one action: how far it is, what became of its parts, and how it has ended."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from . import journal
from .page import View, Visit


async def show(visit: Visit, id_: str) -> View:
    """The action as this process knows it, else as the journal does. Raises HTTPException where there is none."""
    job = visit.jobs.get(id_)
    entry = job.entry if job else await journal.read(visit.context.state, id_)
    if entry is None:
        raise HTTPException(404)
    return View("job.html", {"job": job, "entry": entry})
