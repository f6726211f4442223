"""Both sides compared: what `msisync reconcile` costs for many contacts of which few differ, what it finds and repairs.

Calls are counted by the simulators, and memory is that of the app's process that carries runs on.
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emulators.marketo.objects import COMPANIES, LEADS, SALES_PERSONS
from local.bench.burst import FULL_SHARE, Report
from local.bench.command import run_measured
from local.bench.figures import Figure, Target, ratio
from local.bench.observer import Observer
from local.harness import System, running_system
from local.harness.insight import Calls, Insight
from local.world.model import lookup

#: A comparison: full calls, and so many more; for 100,000 persons 340 in all.
PERSONS_PER_CALL = 300
CALLS_BESIDE = 6
MEMORY_GROWTH = Target(limit=1.2)
DIFFERENCES = Target(limit=0)

SMALL_PART = 10
#: Of 100 persons one has drifted, most often in a field.
DRIFTED_PART = 100
KINDS = ("differing",) * 70 + ("missing",) * 19 + ("linked_wrongly",) * 10 + ("duplicate",)
#: Runs by the clock would disturb.
_NEVER = "0 0 0 1 1 *"
_SETTINGS = {
    **FULL_SHARE, "WRITE_BACK_SCHEDULE": _NEVER, "RELEASE_SCHEDULE": _NEVER, "RECONCILE_SCHEDULE": _NEVER,
    "RUN_SCHEDULE": "*/3 * * * * *",
}  # fmt: skip
_CARRIER = "carry_on_runs"
_SEEDED_AT_ONCE = 10_000
_PERSONS_OF_AN_ACCOUNT = 50
_MB = 1024 * 1024
_SELLERS = [f"{number:08x}-0000-4000-b000-000000000000" for number in range(20)]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run. `memory`: bytes at most. `wrong`: differences that it did not find, or made up."""

    calls: Calls
    seconds: float
    memory: int
    wrong: list[str]


@dataclass(kw_only=True)
class ReconcileRun:
    """The runs of the benchmark; the last one sends what differs."""

    persons: int
    drifted: int
    small: Compared
    large: Compared
    repaired: Compared

    def details(self) -> dict[str, Any]:
        """Everything, for the report file."""
        return asdict(self)


#: How rows differ, by their ids.
_Drift = dict[str, str]


async def run_reconcile(directory: Path, *, persons: int, report: Report) -> ReconcileRun:
    """Measure both runs on a stack of their own. Raises BenchError when the command does not end well."""
    async with running_system(directory, copied=False, functions_environment=_SETTINGS) as system:
        drift: _Drift = {}
        await _seed_sellers(system)
        report(f"{persons // SMALL_PART:,} contacts in both systems")
        await _seed(system, drift, 0, persons // SMALL_PART)
        report("comparing")
        small = await _compare(system, drift)
        report(f"{persons:,} contacts in both systems")
        await _seed(system, drift, persons // SMALL_PART, persons)
        report("comparing")
        large = await _compare(system, drift)
        report("comparing, and sending what differs")
        repaired = await _compare(system, drift, "--apply")
        left = {id_: kind for id_, kind in drift.items() if kind == "duplicate"}
        report("comparing once more")
        again = await _compare(system, left)
        repaired.wrong.extend(again.wrong)
    return ReconcileRun(persons=persons, drifted=len(drift), small=small, large=large, repaired=repaired)


async def _seed_sellers(system: System) -> None:
    mails = {id_: f"seller.{number}@contoso.example" for number, id_ in enumerate(_SELLERS)}
    users = [
        {"systemuserid": id_, "domainname": mail, "internalemailaddress": mail, "lastname": "S", "firstname": "A"}
        for id_, mail in mails.items()
    ]
    await system.dataverse("/seed", {"systemuser": users})
    of_marketo = [{"externalSalesPersonId": id_, "email": mail} for id_, mail in mails.items()]
    await system.marketo("/seed", {SALES_PERSONS: of_marketo})


async def _seed(system: System, drift: _Drift, first: int, last: int) -> None:
    """Give both systems the contacts with these numbers, and their accounts."""
    for start in range(first, last, _SEEDED_AT_ONCE):
        numbers = range(start, min(start + _SEEDED_AT_ONCE, last))
        drifted = random.Random(start).sample(numbers, len(numbers) // DRIFTED_PART)  # noqa: S311  (the same each time)
        kinds = {number: KINDS[place * len(KINDS) // len(drifted)] for place, number in enumerate(drifted)}
        accounts = sorted({_account(number) for number in numbers})
        rows = {
            "account": [{"accountid": id_, "name": f"Account {id_[:8]}"} for id_ in accounts],
            "contact": [_row(number) for number in numbers],
        }
        await system.dataverse("/seed", rows)
        companies = [{"externalCompanyId": id_, "company": f"Account {id_[:8]}"} for id_ in accounts]
        people = [person for number in numbers for person in _persons(number, kinds.get(number, ""))]
        await system.marketo("/seed", {COMPANIES: companies, LEADS: people})
        drift |= {_id(number): kind for number, kind in kinds.items()}


def _id(number: int) -> str:
    """Spread over the order of ids, as they are in life."""
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-a000-{number:012x}"


def _account(number: int) -> str:
    return f"{number // _PERSONS_OF_AN_ACCOUNT:08x}-0000-4000-c000-000000000000"


def _seller(number: int) -> str:
    return _SELLERS[number % len(_SELLERS)]


def _row(number: int) -> dict[str, Any]:
    links = {
        **lookup("parentcustomerid", "account", _account(number)),
        **lookup("ownerid", "systemuser", _seller(number)),
    }
    names = {"firstname": "Pat", "lastname": f"P{number}", "emailaddress1": f"p{number}@customer.example"}
    more = {
        "jobtitle": "Buyer",
        "telephone1": f"+49 30 {number:07}",
        "address1_city": "Ulm",
        "donotphone": number % 2 == 0,
    }
    return {"contactid": _id(number), **names, **more, **links}


def _persons(number: int, kind: str) -> list[dict[str, Any]]:
    """What Marketo has of a contact: one person, or as its kind of drift says."""
    person = {
        "externalPersonId": _id(number), "firstName": "Pat", "lastName": f"P{number}", "city": "Ulm", "title": "Buyer",
        "email": f"p{number}@customer.example", "phone": f"+49 30 {number:07}", "doNotCall": number % 2 == 0,
        "externalCompanyId": _account(number), "externalSalesPersonId": _seller(number),
    }  # fmt: skip
    match kind:
        case "missing":
            return []
        case "differing":
            return [{**person, "title": "Seller", "doNotCall": number % 2 == 1}]
        case "linked_wrongly":
            return [{**person, "externalSalesPersonId": _seller(number + 1)}]
        case "duplicate":
            return [person, {**person, "firstName": "Twin"}]
    return [person]


async def _compare(system: System, drift: _Drift, *more: str) -> Compared:
    async with Insight(system).counted() as calls, Observer(system.stack) as observer:
        await observer.reset()
        began = time.perf_counter()
        words = ("reconcile", "start", "contact", *more)
        data, _ = await asyncio.to_thread(run_measured, system.stack.settings_file, *words, codes=(0, 1))
        seconds = time.perf_counter() - began
        memory = (await observer.host())["workers"][_CARRIER]["peak_rss_bytes"]
    found = {each["id"]: kind for kind, those in data["differences"].items() for each in those}
    wrong = [f"{id_}: {found.get(id_, 'nothing')}, not {drift.get(id_, 'nothing')}"
             for id_ in found.keys() | drift.keys() if found.get(id_) != drift.get(id_)]  # fmt: skip
    counts = {kind: count for kind, count in data["counts"].items() if count}
    if counts != Counter(drift.values()):
        wrong.append(f"counts {counts}")
    return Compared(calls=calls, seconds=seconds, memory=memory, wrong=wrong)


def reconcile_figures(run: ReconcileRun) -> Iterator[Figure]:
    """What the runs have cost."""
    group = f"reconcile, {run.persons:,} contacts of which {run.drifted:,} differ"
    most = Target(limit=math.ceil(run.persons / PERSONS_PER_CALL) + CALLS_BESIDE)

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    yield figure("Marketo calls", run.large.calls.of_marketo, "", most)
    yield figure("Dataverse requests", run.large.calls.of_dataverse)
    yield figure("from the start of the command to the end of the run", run.large.seconds, "s")
    yield figure("peak memory of the app's process", run.large.memory / _MB, "MB")
    yield figure(
        f"  against {run.persons // SMALL_PART:,}", ratio(run.large.memory, run.small.memory), "times", MEMORY_GROWTH
    )
    yield figure("differences not found, or made up", len([*run.small.wrong, *run.large.wrong]), "", DIFFERENCES)
    yield figure("with --apply: Marketo calls", run.repaired.calls.of_marketo)
    yield figure("  time", run.repaired.seconds, "s")
    yield figure("  what is left besides duplicates", len(run.repaired.wrong), "", DIFFERENCES)
