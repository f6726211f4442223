"""Merging leads: the API's call, and what a marketer does by hand."""

from collections.abc import Sequence
from typing import Any

from emulators.marketo.errors import CallError
from emulators.marketo.instance import Call, Instance
from emulators.marketo.objects import LEADS
from emulators.marketo.relations import hand_over_roles
from emulators.marketo.store import Record

#: Adobe, "Merge Leads": more losers than these are refused with 1080 (since 2026-03-31).
MAX_LOSERS = 25
_OWN = frozenset({"id", "createdAt", "updatedAt"})


async def merge(instance: Instance, lead_id: str, call: Call) -> dict[str, Any]:
    """Merge up to 25 leads into another one.

    Raises:
        CallError: 1080, they are too many; 1004, one of them does not exist; 1001, an id is not a number.
    """
    losers = call.listed("leadIds") or call.listed("leadId")
    if not losers:
        raise CallError("701", "leadIds cannot be blank")
    if len(losers) > MAX_LOSERS:
        raise CallError("1080", f"Too many leads to merge: {len(losers)}, the limit is {MAX_LOSERS}")
    await instance.work(call, instance.switches.write_latency_ms)
    found = [_lead(instance, number) for number in (lead_id, *losers)]
    merge_leads(instance, found[0], found[1:])
    return {}


def merge_leads(instance: Instance, winner: Record, losers: Sequence[Record]) -> None:
    """Give the winner what it lacks, the roles and the activities of the losers, which are gone then."""
    table = instance.tables[LEADS]
    if any(loser is winner for loser in losers):
        raise ValueError("a lead cannot be merged into itself")
    for loser in losers:
        hand_over_roles(instance, loser, winner)
        lacking = {name: value for name, value in loser.items() if winner.get(name) is None and name not in _OWN}
        table.delete(loser)
        table.update(winner, lacking)
    instance.log.merged(winner, losers)


def _lead(instance: Instance, number: str) -> Record:
    if not number.isdecimal():
        raise CallError("1001", f"Invalid value '{number}'. Required of type 'integer'")
    found = instance.tables[LEADS].find(("id",), int(number))
    if not found:
        raise CallError("1004", f"Lead '{number}' not found")
    return found[0]
