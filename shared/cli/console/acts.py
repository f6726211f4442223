"""What operators did that concerns no single record, wherever: read once for all pages that show it."""

from __future__ import annotations

from functools import partial

from ...sync.history_log import Past
from ..past import acts_at_large
from .latest import Latest
from .page import Visit

#: The key of the look.
KEY = "acts"
#: Seconds in which it is not read again: that costs two requests to storage for each day that is kept.
FRESH_SECONDS = 30.0


def latest(visit: Visit) -> Latest[Past]:
    """The look of this console: one for all who visit it."""
    return visit.looks.of(KEY, partial(acts_at_large, visit.context), fresh=FRESH_SECONDS)
