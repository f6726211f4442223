"""What `msisync doctor` finds, check by check, while it looks."""

from __future__ import annotations

from typing import cast

from ..doctor.command import CHECKS
from ..doctor.runner import Examination
from .listing import look_again, name_of
from .page import Lead, Page, View, Visit, leads

PATH = "/health"
#: Seconds in which the checks are not made again, unless somebody asks for it.
FRESH_SECONDS = 300.0


async def show(visit: Visit) -> View:
    """The last round, or the one that is under way."""
    latest = visit.looks.of("health", Examination(visit.context, CHECKS), fresh=FRESH_SECONDS)
    kept = cast(Examination, latest.look)
    look_again(visit, latest)
    await latest.now()
    return View("health.html", {"it": kept, "is_looking": latest.is_looking, "name": name_of(kept)})


PAGE = Page(PATH, "Health", show, lead=leads(Lead(PATH, "Check what is wrong"), "msisync doctor"))
