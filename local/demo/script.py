"""What the demo posts, in the worst order: children before parents, some twice, some late, some gone, some nonsense."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from emulators.dataverse import notifications
from emulators.dataverse.notifications import Notification, Origin, notification
from local.world.model import KEYS, SYNCED_TABLES, Reference, Row, World, reference

DUPLICATES = 0.10
LATE = 0.05
MALFORMED = "malformed"
#: Children first. Connections name opportunities and persons, these name accounts, all but connections have an owner.
WORST_ORDER = ("connection", "opportunity", "contact", "lead", "account", "systemuser")
#: Columns that an Update of the table may name.
_COLUMNS = {
    "systemuser": ("internalemailaddress", "title"),
    "account": ("name", "ownerid", "telephone1"),
    "contact": ("emailaddress1", "parentcustomerid", "lastname"),
    "lead": ("emailaddress1", "statuscode", "donotphone"),
    "opportunity": ("estimatedvalue", "stepname", "ownerid"),
    "connection": ("record2roleid", "description"),
}
_STALE = {
    "systemuser": "lastname",
    "account": "name",
    "contact": "lastname",
    "lead": "lastname",
    "opportunity": "name",
}
_HOUR = 3600.0
_FOREIGN = "5f0e9a3c-1c22-ee11-9cbe-000d3a4f77c1"


@dataclass(frozen=True, slots=True)
class Posting:
    """One message for the queue. `entity` is what it is about, or MALFORMED."""

    entity: str
    body: str | bytes
    properties: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that is posted, and what follows from it.

    `announced` and `gone` are rows that notifications name; `refusals` counts the dead letters of malformed
    notifications by their code.
    """

    postings: list[Posting]
    webhooks: list[Posting]
    announced: set[Reference]
    gone: set[Reference]
    refusals: Counter[str]

    def posted(self) -> Counter[str]:
        """How many notifications there are of each entity."""
        return Counter(posting.entity for posting in (*self.postings, *self.webhooks))


def write_script(world: World, *, now: float) -> Script:
    """Write the script of a world; `now` is the time in seconds since the epoch, when the changes happened."""
    chance = random.Random(world.seed)  # noqa: S311  (an order, the same for the same seed)
    silent = _silent_rows(world)
    announced = [change for change in world.synced() if change not in silent]
    by_webhook = {[c for c in announced if c[0] == table][-2] for table in ("systemuser", "account", "contact")}
    postings: list[Posting] = []
    for table in WORST_ORDER:
        rows = [c for c in announced if c[0] == table and c not in by_webhook]
        chance.shuffle(rows)
        postings += _of_table(world, table, [row_id for _, row_id in rows], now, chance)
    copies = chance.sample(postings, round(len(postings) * DUPLICATES))
    late = [_stale(world, change, now) for change in chance.sample(announced, round(len(announced) * LATE))]
    gone, about_gone = _gone(world, now, chance)
    refusals: Counter[str] = Counter()
    malformed = []
    for code, posting in _malformed(world, now):
        refusals[code] += 1
        malformed.append(posting)
    for extra in (*copies, *about_gone, *malformed):
        postings.insert(chance.randrange(len(postings)), extra)
    webhooks = [_posting(change[0], _created(world, change, now)) for change in sorted(by_webhook)]
    return Script([*postings, *late], webhooks, set(announced), gone, refusals)


def _silent_rows(world: World) -> set[Reference]:
    """Rows whose changes nobody posts: parents that only their children ask for, and leads that nobody asks for."""
    accounts = Counter(
        found[1]
        for table, column in (("contact", "parentcustomerid"), ("lead", "parentaccountid"))
        for row in world.rows[table].values()
        if (found := reference(row, column)) and found[0] == "account" and found[1] != world.troubled_account
    )
    owners = Counter(found for row in world.rows["account"].values() if (found := reference(row, "ownerid")))
    busiest = [("account", account) for account, _ in accounts.most_common(3)]
    users = [owner for owner, _ in owners.most_common() if _sells(world, owner)][:1]
    wanted = {reference(row, f"{end}id") for row in world.rows["connection"].values() for end in ("record1", "record2")}
    lonely = [("lead", lead) for lead in world.rows["lead"] if ("lead", lead) not in wanted][:2]
    return {*busiest, *users, *lonely}


def _sells(world: World, owner: Reference) -> bool:
    user = world.rows["systemuser"].get(owner[1], {})
    return bool(user.get("internalemailaddress")) and not user["isdisabled"] and not user["applicationid"]


def _of_table(world: World, table: str, ids: list[str], now: float, chance: random.Random) -> Iterable[Posting]:
    """A notification for each row: mostly Create, some Update, some of the other messages and shapes there are."""
    bulk = ids[: len(ids) // 8] if table == "contact" else []
    for start in range(0, len(bulk), 25):
        yield _posting(table, _multiple(world, table, bulk[start : start + 25], now))
    for number, row_id in enumerate(ids[len(bulk) :]):
        row = world.rows[table][row_id]
        at = now - chance.random() * _HOUR
        if number % 40 == 7:
            yield _posting(table, _created(world, (table, row_id), at).stripped(chance.choice(("empty", "absent"))))
        elif number % 40 == 17:
            yield _posting(table, _updated(table, row, at).in_2017_shape())
        elif number % 40 == 27 and table in {"lead", "opportunity"}:
            yield _posting(table, _special(table, row, at))
        elif number % 3 == 2:
            yield _posting(table, _updated(table, row, at))
        else:
            yield _posting(table, _created(world, (table, row_id), at))


def _created(world: World, change: Reference, at: float) -> Notification:
    table, row_id = change
    return notification("Create", table, world.rows[table][row_id], Origin(at=at))


def _updated(table: str, row: Row, at: float) -> Notification:
    return notification("Update", table, row, Origin(at=at), columns=_COLUMNS[table])


def _special(table: str, row: Row, at: float) -> Notification:
    row_id = row[KEYS[table]]
    if table == "lead":
        owner = reference(row, "ownerid") or ("systemuser", "")
        return notification("Assign", table, row, Origin(at=at), parameters=notifications.assign(table, row_id, owner))
    state = notifications.set_state(table, row_id, row["statecode"], row["statuscode"])
    return notification("SetState", table, row, Origin(at=at), parameters=state)


def _multiple(world: World, table: str, ids: list[str], at: float) -> Notification:
    rows = [world.rows[table][row_id] for row_id in ids]
    parameters, output = notifications.multiple(table, rows)
    return notification("CreateMultiple", table, {}, Origin(at=at), parameters=parameters, output=output)


def _stale(world: World, change: Reference, now: float) -> Posting:
    """An Update of yesterday that arrives last, with values that have changed since: they must not reach Marketo."""
    table, row_id = change
    row = dict(world.rows[table][row_id])
    column = _STALE.get(table)
    if column:
        row[column] = "Yesterday's value"
    columns = (column,) if column else ("description",)
    return _posting(table, notification("Update", table, row, Origin(at=now - 24 * _HOUR), columns=columns))


def _gone(world: World, now: float, chance: random.Random) -> tuple[set[Reference], list[Posting]]:
    """Rows that were created and deleted again before anyone looked."""
    gone: set[Reference] = set()
    postings: list[Posting] = []
    for table in WORST_ORDER[:-1]:  # Dynamics does not delete users
        for model in chance.sample(sorted(world.rows[table]), 2):
            row = {**world.rows[table][model], KEYS[table]: notifications.new_id()}
            gone.add((table, row[KEYS[table]]))
            messages = chance.choice((("Delete",), ("Create", "Delete"), ("Update", "Delete")))
            for message in messages:
                columns = _COLUMNS[table] if message == "Update" else None
                postings.append(_posting(table, notification(message, table, row, Origin(at=now), columns=columns)))
    return gone, postings


def _malformed(world: World, now: float) -> list[tuple[str, Posting]]:
    """Nonsense of several kinds, each with the code of the dead letter that it must become."""
    lead = next(iter(world.rows["lead"].values()))
    good = _updated("lead", lead, now)
    elsewhere = notification(
        "Update",
        "lead",
        lead,
        Origin(at=now, organization_id=_FOREIGN, organization_name="unqsandbox"),
        columns=("lastname",),
    )

    def with_change(change: Callable[[dict[str, object]], object]) -> str:
        context = dict(good.context)
        change(context)
        return json.dumps(context)

    def text(code: str, body: str | bytes, content_type: str = "application/json") -> tuple[str, Posting]:
        return code, Posting(MALFORMED, body, content_type=content_type)

    return [
        text("NotJson", "hello, is this the queue?"),
        text("NotJson", good.json()[:-200]),
        text("WrongFormat", "<RemoteExecutionContext><Depth>1</Depth></RemoteExecutionContext>"),
        text("WrongFormat", b"@\x06string\x08\x33http://schemas.microsoft.com", "application/msbin1"),
        text("NotAnObject", "[1, 2, 3]"),
        text("NoRoutingTriple", '{"event": "order.created", "id": 17}'),
        text("NoRoutingTriple", with_change(lambda context: context.pop("MessageName"))),
        text("BadGuid", with_change(lambda context: context.update(PrimaryEntityId="4711"))),
        ("WrongOrganization", replace(_posting("lead", elsewhere), entity=MALFORMED)),
        text("UnknownTable", good.json().replace('"lead"', '"task"')),
    ]


def _posting(table: str, posted: Notification) -> Posting:
    return _as_posting(SYNCED_TABLES[table][1], posted)


def _as_posting(entity: str, posted: Notification) -> Posting:
    posted = posted.fitted()
    return Posting(entity, posted.json(), posted.properties(), correlation_id=posted.context["CorrelationId"])
