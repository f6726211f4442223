"""What `msisync doctor` finds, check by check, while it looks."""

from __future__ import annotations

from typing import cast

from ...model.record import timestamp
from ..doctor.command import CHECKS
from ..doctor.runner import Examination
from .page import Lead, Page, View, Visit, leads

PATH = "/health"
#: Seconds in which the checks are not made again, unless somebody asks for it.
FRESH_SECONDS = 300.0


async def show(visit: Visit) -> View:
    """The last round, or the one that is under way. The address of "Check again" names the round that it follows."""
    latest = visit.looks.of("health", Examination(visit.context, CHECKS), fresh=FRESH_SECONDS)
    kept = cast(Examination, latest.look)
    if kept.began and visit.word("after") == timestamp(kept.began) and not latest.is_looking:
        latest.outdate()
    await latest.now()
    began = timestamp(kept.began) if kept.began else ""
    return View("health.html", {"it": kept, "is_looking": latest.is_looking, "began": began})


PAGE = Page(PATH, "Health", show, lead=leads(Lead(PATH, "Check what is wrong"), "msisync doctor"))
