"""One run of the demo: start, seed, post, watch, prove."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.demo.posting import post, post_webhooks
from local.demo.proof import Proof, prove
from local.demo.screen import Progress, Screen
from local.demo.script import Script, write_script
from local.demo.watch import Snapshot, Watch, endpoints_of
from local.stack import Stack
from local.world import Expectations, Size, World, build, compare, expect
from local.world.relations import Reason
from local.world.rest import MarketoReader

DEADLINE_SECONDS = 150.0
LOOK_SECONDS = 1.0
#: The run is over when so many looks in a row show that nothing is left to do.
QUIET_LOOKS = 2
REFUSED_CODE = "1003"
_REFUSAL = "Invalid value for field 'company': refused on purpose, for the demo"


@dataclass(frozen=True)
class Outcome:
    """What a run ends with."""

    proof: Proof
    progress: Progress
    calls: dict[str, int]
    seconds: float


async def run(stack: Stack, size: Size, screen: Screen, *, seed: int = 1) -> Outcome:
    """Run the demo on a started stack with an empty organisation."""
    began = time.monotonic()
    endpoints = endpoints_of(stack)
    world = build(seed, size)
    script = write_script(world, now=time.time())
    refused = ("account", world.troubled_account)
    expectations = expect(world, announced=script.announced, gone=script.gone, refused={refused: REFUSED_CODE})
    async with Watch(stack, endpoints) as watch:
        await watch.tell("dataverse", "seed", world.seed_body())
        await watch.tell("marketo", "faults", _refuse(world.troubled_account))
        screen.say(_announcement(world, script))
        statuses, progress = await _play(watch, script, expectations, screen, endpoints)
        calls = _calls(await watch.ask("marketo", "stats"), await watch.ask("dataverse", "stats"))
        async with MarketoReader(endpoints) as marketo:
            report = compare(expectations, await marketo.records(expectations))
        final = await watch.look()
        proof = prove(
            expectations,
            script,
            report,
            letters=await watch.letters(),
            parked=await watch.parked(),
            stored=final.stored,
            statuses=statuses,
        )
        if not final.idle:
            proof.problems.append(f"messages are still queued: {final.queued}, {final.changes} changes")
    return Outcome(proof, progress, calls, time.monotonic() - began)


async def _post_all(endpoints: Mapping[str, Any], script: Script, posted: Counter[str]) -> Counter[int]:
    """Post everything; `posted` counts along, by entity."""
    await post(endpoints, script.postings, posted.update)
    statuses = await post_webhooks(endpoints, script.webhooks)
    posted.update(webhook.entity for webhook in script.webhooks)
    return statuses


async def _play(
    watch: Watch, script: Script, expectations: Expectations, screen: Screen, endpoints: Mapping[str, Any]
) -> tuple[Counter[int], Progress]:
    """Post everything and watch until nothing is left to do, or the deadline has passed."""
    began = time.monotonic()
    posted: Counter[str] = Counter()
    posting = asyncio.create_task(_post_all(endpoints, script, posted))
    quiet = 0
    try:
        while True:
            snapshot = await watch.look()
            elapsed = time.monotonic() - began
            progress = Progress(snapshot, posted, script.posted(), expectations.counts(), elapsed)
            if posting.done():
                posting.result()  # raises what went wrong
            quiet = quiet + 1 if posting.done() and _is_finished(snapshot, expectations, script) else 0
            last = quiet >= QUIET_LOOKS or elapsed > DEADLINE_SECONDS
            screen.show(progress, last=last)
            if last:
                return await posting, progress
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        posting.cancel()


def _is_finished(snapshot: Snapshot, expectations: Expectations, script: Script) -> bool:
    """Whether the queues are empty and everything is where it must be, as far as counting tells."""
    reasons = expectations.reasons()
    return (
        snapshot.idle
        and snapshot.stored == expectations.counts()
        and snapshot.parked.total() == reasons[Reason.WAITS] + len(expectations.linked_later)
        and snapshot.letters.total() >= reasons[Reason.REFUSED] + script.refusals.total()
    )


def _refuse(account: str) -> dict[str, Any]:
    return {
        "kind": "record",
        "path": "/rest/v1/companies.json",
        "verb": "POST",
        "count": None,
        "code": REFUSED_CODE,
        "message": _REFUSAL,
        "field": "externalCompanyId",
        "value": account,
    }


def _announcement(world: World, script: Script) -> str:
    rows = ", ".join(f"{len(found)} {table}" for table, found in world.rows.items())
    posted = script.posted().total()
    return f"Dynamics holds {rows} rows. {posted} notifications follow, children before their parents."


def _calls(marketo: Mapping[str, Any], dataverse: Mapping[str, Any]) -> dict[str, int]:
    """The calls of the run, by kind."""
    kinds: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for path, verbs in marketo["calls"].items():
        for verb, results in verbs.items():
            kinds[_kind(path, verb)] += sum(results.values())
            refused.update({code: count for code, count in results.items() if code != "ok"})
    found = {"Marketo, all": sum(kinds.values()), **dict(sorted(kinds.items()))}
    found |= {f"Marketo, answered {code}": count for code, count in sorted(refused.items())}
    requests = dataverse["requests"]
    found |= {f"Dataverse, {name}": count for name, count in requests.items() if " " not in name}
    return found


def _kind(path: str, verb: str) -> str:
    name = path.removeprefix("/rest/v1/").removesuffix(".json")
    if "describe" in name:
        return "Marketo, describe"
    return f"Marketo, {'upsert' if verb == 'POST' else 'look up'} {name}"


def default_directory(root: Path) -> Path:
    """Where the demo's stack keeps its state, apart from the one of `dev.py up`."""
    return root / "demo"
