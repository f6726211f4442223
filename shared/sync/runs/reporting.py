"""Tells the pages of runs what has become of their records, after an invocation has made that durable.

Nothing depends on it in the moment: news that storage did not take is missing in the page, and the carrier sends the
records again after a while (carrier.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ...azure.errors import best_effort
from ...azure.table import some_at_a_time
from ...model.outcome import Outcome
from ...model.record import Record
from .page import message_of, parse_mark, state_of
from .store import Runs

log = logging.getLogger(__name__)

#: Seconds that an invocation spends on it: the broker's messages wait meanwhile.
PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class _News:
    states: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reporter:
    """`charge` hears how many of Marketo's calls were for runs."""

    runs: Runs
    charge: Callable[[float], None] = lambda _: None

    async def tell(self, outcomes: Iterable[tuple[Record, Outcome]], calls: int) -> None:
        """Tell what these outcomes, as they were carried out, mean; `calls` is how many of Marketo's they took.

        Raises nothing.
        """
        outcomes = list(outcomes)
        marked = [(record, outcome) for record, outcome in outcomes if record.run]
        if not marked:
            return
        self.charge(calls * len(marked) / len(outcomes))
        pages: dict[tuple[str, str, int], _News] = {}
        for record, outcome in marked:
            mark, state = parse_mark(record.run), state_of(outcome)
            if mark and state:
                news = pages.setdefault(mark, _News())
                news.states[record.id] = state
                news.messages |= dict(filter(None, [message_of(outcome)]))
        async with best_effort(PATIENCE_SECONDS, log, "run_not_told pages=%d", len(pages)):
            await some_at_a_time(self._tell(*mark, news) for mark, news in pages.items())

    async def _tell(self, run: str, table: str, number: int, news: _News) -> None:
        await self.runs.change_page(run, table, number, lambda page: page.told(news.states, news.messages))
