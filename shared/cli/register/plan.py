"""From what is registered in Dataverse to what must be: which rows to create, change and delete, and why. Pure.

The order is one in which a run may be stopped at any write: the endpoint is right before a step is made or switched
on, and what is superfluous goes last. A change that is posted twice does no harm, one that is not posted is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from ...model.entities import REFERENCE_TABLES
from ..invocation import command_line
from .wanted import ENABLED, QUEUE, SECRETS, STEP_COLUMNS, Endpoint, Image, Step, StepKey, Values, Wanted, WantedStep

Verb = Literal["create", "update", "enable", "delete"]
Component = Literal["endpoint", "step", "image"]

#: What cannot be changed in an image: another one takes its place.
_FIXED_IN_IMAGES = ("imagetype", "messagepropertyname")

_LISTS = ("filteringattributes", "attributes")
_MEANINGS: Mapping[tuple[str, Any], str] = {
    ("contract", 5): "a topic",
    ("contract", QUEUE): "a queue",
    ("messageformat", 1): "binary XML",
    ("messageformat", 2): "JSON",
    ("messageformat", 3): "text XML",
    ("stage", 10): "before validation",
    ("stage", 20): "before the operation",
    ("stage", 40): "after the operation",
    ("mode", 0): "synchronous",
    ("mode", 1): "asynchronous",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One write. `id` is the row's, empty for one to be created.

    `parent` is the endpoint of a new step or the step of a new image; empty stands for the one created last. With
    `secret` the endpoint's secret is written as well.
    """

    verb: Verb
    kind: Component
    what: str
    why: str
    id: str = ""
    parent: str = ""
    values: Values = field(default_factory=dict)
    key: StepKey = ("", "")
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Repairs:
    """The writes in their order, and what only a person can decide. `endpoint` is the one that stays, if there is."""

    actions: tuple[Action, ...]
    attention: tuple[str, ...]
    endpoint: Endpoint | None


def plan(wanted: Wanted, endpoints: Sequence[Endpoint], *, new_key: bool = False) -> Repairs:
    """What to do about these endpoints; nothing when all is right. `new_key` writes the secret even if one is set."""
    ours, retired, foreign = sort_out(wanted, endpoints)
    actions = list(_endpoint_actions(wanted, ours, new_key=new_key))
    steps = ours.steps if ours else ()
    best, rest = _match(wanted, steps)
    for key, step in wanted.steps.items():
        actions += _step_actions(wanted.name, ours.id if ours else "", key, step, best.get(key))
    for spare, why in rest:
        actions += _step_removal(spare, why)
    for other in retired:
        actions += removal(other, f"another endpoint named {wanted.name}, made for {other.place or 'nothing'}")
    absent = [
        f"sync.toml maps the table {table}, which this environment does not have; remove [{table}.fields], or install "
        "the Dynamics 365 app that it belongs to"
        for table in wanted.absent
    ]
    twice = [_attention(other, "posts to this app as well, so changes come twice") for other in foreign]
    return Repairs(tuple(actions), (*absent, *twice), ours)


def sort_out(wanted: Wanted, endpoints: Iterable[Endpoint]) -> tuple[Endpoint | None, list[Endpoint], list[Endpoint]]:
    """The endpoint that is ours; others of our name, which must go; other people's that post to us all the same.

    Ours is one that already posts to the right place, whoever made it, before one that only has the name: the latter
    set right beside the former would post every change twice.
    """
    name, target = wanted.name, wanted.target

    def likeness(endpoint: Endpoint) -> tuple[bool, bool, int, str]:
        # Steps that are needed are counted, not all: what a repair takes away must not turn the choice around.
        needed = len({(step.table, step.message) for step in endpoint.steps} & wanted.steps.keys())
        return (endpoint.place == target.place, endpoint.name == name, needed, endpoint.id)

    known = [e for e in endpoints if e.name == name or (e.place and e.place in wanted.places)]
    fitting = [
        e for e in known if e.values.get("contract") == target.contract and (e.name == name or e.place == target.place)
    ]
    ours = max(fitting, key=likeness, default=None)
    rest = [e for e in known if e is not ours]
    return ours, [e for e in rest if e.name == name], [e for e in rest if e.name != name and _fires(e)]


def plan_removal(name: str, places: frozenset[str], endpoints: Sequence[Endpoint]) -> Repairs:
    """How to take every endpoint of a name away. What else posts to this app is reported: it may be meant to stay."""
    actions = [a for e in endpoints if e.name == name for a in removal(e, "no longer wanted")]
    staying = [e for e in endpoints if e.name != name and e.place in places and _fires(e)]
    return Repairs(tuple(actions), tuple(_attention(e, "still posts to this app") for e in staying), None)


def removal(endpoint: Endpoint, why: str) -> Iterator[Action]:
    """Take an endpoint away with all that hangs on it; Dataverse deletes none that still has steps."""
    for step in endpoint.steps:
        yield from _step_removal(step, why)
    yield Action("delete", "endpoint", f"endpoint {endpoint.name}", why, endpoint.id)


def _fires(endpoint: Endpoint) -> bool:
    return any(step.enabled for step in endpoint.steps)


def _attention(endpoint: Endpoint, why: str) -> str:
    return f"the endpoint {endpoint.name!r} ({endpoint.id}) {why}; if nobody needs it, take it away: " + command_line(
        "unregister", "--name", endpoint.name, "--apply"
    )


def _endpoint_actions(wanted: Wanted, ours: Endpoint | None, *, new_key: bool) -> Iterator[Action]:
    values = wanted.target.values
    if ours is None:
        body = {"name": wanted.name, "description": "Posts changes to msisync, for Marketo", **values}
        where = f"nothing posts to {wanted.target.place}"
        yield Action("create", "endpoint", f"endpoint {wanted.name}", where, values=body, secret=True)
        return
    wrong = different(ours.values, values)
    why = [said(ours.values, wrong)] if wrong else []
    if not ours.has_secret:
        why.append(f"{SECRETS[wanted.target.contract][0]} is not set (importing a solution takes it away)")
    elif new_key:
        why.append("its key is written again")
    if why:
        # The key that is there belongs to the address and the policy that are there.
        address = {"authtype", "namespaceaddress", "path", "saskeyname", "url"} & wrong.keys()
        secret = new_key or not ours.has_secret or bool(address)
        what = f"endpoint {ours.name}"
        yield Action("update", "endpoint", what, "; ".join(why), ours.id, values=wrong, secret=secret)


def _match(wanted: Wanted, steps: Sequence[Step]) -> tuple[dict[StepKey, Step], list[tuple[Step, str]]]:
    """The step that serves each wanted one, and the rest with the reason why they must go."""
    best: dict[StepKey, Step] = {}
    rest: list[tuple[Step, str]] = []
    for step in sorted(steps, key=lambda s: (-_likeness(wanted, s), s.id)):
        key = (step.table, step.message)
        if key not in wanted.steps:
            rest.append((step, _why_not(wanted, step)))
        elif key in best:
            rest.append((step, "the same table and message are registered twice"))
        else:
            best[key] = step
    return best, sorted(rest, key=lambda found: (found[0].table, found[0].message, found[0].id))


def _likeness(wanted: Wanted, step: Step) -> int:
    target = wanted.steps.get((step.table, step.message))
    return -len(different(step.values, {**target.values, "statecode": ENABLED["statecode"]})) if target else 0


def _why_not(wanted: Wanted, step: Step) -> str:
    if not step.table:
        return "it posts changes of every table"
    if not any(table == step.table for table, _ in wanted.steps):
        return f"sync.toml does not map {step.table}"
    if step.table in REFERENCE_TABLES and step.message != "Update":
        return "only updates of what decides about other rows are needed"
    return "Create, Update and Delete tell everything"


def _step_actions(name: str, endpoint: str, key: StepKey, wanted: WantedStep, step: Step | None) -> Iterator[Action]:
    what = f"step {' '.join(key)}"
    if step is None:
        values = {"name": f"{name}: {' '.join(key)}", "rank": 1, **wanted.values}
        yield Action("create", "step", what, "missing", parent=endpoint, values=values, key=key)
        if wanted.image:
            yield _new_image(key, "", wanted.image, "missing")
        return
    wrong = different(step.values, {c: wanted.values.get(c) for c in STEP_COLUMNS if c != "statecode"})
    if wrong:
        yield Action("update", "step", what, said(step.values, wrong), step.id, values=wrong, key=key)
    yield from _image_actions(key, wanted.image, step)
    if not step.enabled:
        yield Action("enable", "step", what, "it is disabled", step.id, values=ENABLED, key=key)


def _step_removal(step: Step, why: str) -> Iterator[Action]:
    key = (step.table, step.message)
    what = f"step {step.table or 'of all tables'} {step.message}"
    for image in step.images:
        yield Action("delete", "image", f"image of {what}", why, image.id, key=key)
    yield Action("delete", "step", what, why, step.id, key=key)


def _image_actions(key: StepKey, wanted: Values | None, step: Step) -> Iterator[Action]:
    what = f"image of step {' '.join(key)}"
    able = [image for image in step.images if wanted and _can_become(image, wanted)]
    kept = min(able, key=lambda image: (bool(different(image.values, wanted or {})), image.id), default=None)
    for image in step.images:
        if image is not kept:
            yield Action("delete", "image", what, "not the one that is needed", image.id, key=key)
    if wanted and kept and (wrong := different(kept.values, wanted)):
        yield Action("update", "image", what, said(kept.values, wrong), kept.id, values=wrong, key=key)
    if wanted and not kept:
        yield _new_image(key, step.id, wanted, "missing: only a pre-image tells what the row connected before")


def _can_become(image: Image, values: Values) -> bool:
    return all(image.values.get(column) == values[column] for column in _FIXED_IN_IMAGES)


def _new_image(key: StepKey, step: str, values: Values, why: str) -> Action:
    body = {"name": values["entityalias"], **values}
    return Action("create", "image", f"image of step {' '.join(key)}", why, parent=step, values=body, key=key)


def different(present: Values, wanted: Values) -> dict[str, Any]:
    """The wanted columns that are not so."""
    return {
        column: value
        for column, value in wanted.items()
        if _plain(column, present.get(column)) != _plain(column, value)
    }


def _plain(column: str, value: Any) -> Any:
    """A value in the form that counts: lists of columns have no order, addresses no case and no last slash."""
    if column in _LISTS:
        return _names(value)
    if column == "namespaceaddress":
        return urlsplit(str(value or "")).netloc.lower()
    if column == "path":
        return str(value or "").lower()
    return value


def _names(value: Any) -> frozenset[str]:
    return frozenset(filter(None, map(str.strip, str(value or "").split(","))))


def said(present: Values, wrong: Values) -> str:
    """The differences in words."""
    return "; ".join(_said(column, present.get(column), value) for column, value in wrong.items())


def _said(column: str, present: Any, wanted: Any) -> str:
    if column not in _LISTS:
        return f"{column} is {_meaning(column, present)}, not {_meaning(column, wanted)}"
    there, needed = _names(present), _names(wanted)
    if not there:
        return "it asks for every column, the ones that Marketo fills included"
    less, more = ", ".join(sorted(needed - there)), ", ".join(sorted(there - needed))
    return "; ".join(filter(None, (less and f"it misses {less}", more and f"it needs no {more}")))


def _meaning(column: str, value: Any) -> str:
    return _MEANINGS.get((column, value)) or ("empty" if value is None else str(value))
