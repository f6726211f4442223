"""What `msisync show` finds out, as values: collected by its neighbours, judged by verdict.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ...config.sync_toml import LifecyclePolicy
from ...marketo.usage import Closed
from ...model.entities import PERSON, TABLES, Entity
from ...model.outcome import LeftOut, Parent, WillNotCome
from ...sync.circuit import Outage
from ...sync.history import Event
from ...sync.history_log import Past
from ...write_back.values import Target
from ..finding import Finding, Severity

#: Field of a difference that is about the sales person's own record (guide, last paragraph).
SALES_PERSON_EMAIL = "sales person's email"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that will bring the record to Marketo. `due`: not before then; `routed`: past dynamics-changes."""

    queue: str
    routed: bool
    first_seen: datetime | None = None
    due: datetime | None = None
    attempt: int = 0
    notification: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter of the record. `queue` is where it lies, `source_queue` where it came from.

    `address` is what msisync dead-letters show takes, `replays` is how often it was replayed.
    """

    queue: str
    source_queue: str
    code: str
    message: str
    system: str = ""
    first_seen: datetime | None = None
    attempts: int = 0
    address: str = ""
    replays: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """The record waits for this parent. `next_check`: when the timer looks for the parent, None where nobody does.

    `linked_later`: it is in Marketo without the link. `cause`: why the parent will not come without a repair.
    """

    parent: Parent
    since: datetime
    next_check: datetime | None = None
    checks: int = 0
    linked_later: bool = False
    cause: WillNotCome | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """A queue that may hold more about the record than could be looked at. Counts are None when nobody knows them.

    `moves`: what is in it moves on automatically, unlike dead letters. `entity`: whose queue it is; empty: everybody's.
    `resume`: the command that ends its pause; empty: it is not paused.
    """

    queue: str
    why: str
    active: int | None = None
    scheduled: int | None = None
    moves: bool = True
    entity: str = ""
    resume: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that could have been overlooked."""
        return self.active == 0 and self.scheduled == 0


@dataclass(frozen=True, slots=True)
class Difference:
    """A field whose value in Marketo is not what the mapping gives now. `why` says what follows, where it is known.

    `role`: it is no field, but a role that is missing there.
    """

    field: str
    expected: Any
    actual: Any
    why: str = ""
    role: Role | None = None


@dataclass(slots=True)
class Subject:
    """A record on its way: what is known of it.

    `exists`, `in_marketo` and `differences` are None when nobody could tell; `table` and `id` are empty when nobody
    knows them. `kept_out` says why it is excluded from the sync; `in_marketo` counts Marketo's records with its
    key; `flagged`: its record there is flagged as deleted (`deleted_flag` of sync.toml). `lookalikes` are Marketo's
    ids of records with its e-mail and no key; `parents` are those of an account, an opportunity or a role.

    `qualified`: it is a lead that has become a contact; `winner`: the row that goes on in its place, that contact or
    the one that it was merged into, as table and id.
    """

    table: str
    id: str
    name: str = ""
    exists: bool | None = None
    kept_out: str = ""
    in_marketo: int | None = None
    flagged: bool = False
    differences: list[Difference] | None = field(default_factory=list)
    lookalikes: list[int] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    parked: list[Wait] = field(default_factory=list)
    parents: list[Parent] = field(default_factory=list)
    email: str = ""
    left_out: list[LeftOut] = field(default_factory=list)
    qualified: bool = False
    winner: str = ""

    @property
    def entity(self) -> Entity:
        """As which it is synced; who is asked for by an address is a person."""
        return TABLES[self.table][0] if self.table in TABLES else PERSON

    def __str__(self) -> str:
        id_ = f"({self.id})" if self.id and self.name else self.id
        return " ".join(filter(None, [self.table or "record", self.name, id_]))


@dataclass(slots=True)
class Relation:
    """A link of the record as the engine resolves it: `parent` is None where the rules give none, `how` says why.

    `kept_out`, `exists` and `in_marketo` are the parent's; `expected` is what the link must hold now.
    """

    field: str
    parent: Parent | None
    how: str
    name: str = ""
    email: str = ""
    exists: bool | None = None
    kept_out: str = ""
    in_marketo: bool | None = None
    email_in_marketo: str = ""

    @property
    def expected(self) -> str | None:
        """A parent that is kept out never comes, unless Marketo has it from before."""
        return self.parent.id if self.parent and (self.in_marketo or not self.kept_out) else None


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the person in an opportunity: in Dynamics (`expected`), in Marketo (`actual`), or in both.

    `rows`: those of Dynamics that give it (table, id); none: the opportunity's own customer.
    """

    opportunity: str
    role: str
    expected: bool
    actual: bool
    name: str = ""
    why: str = ""
    rows: tuple[tuple[str, str], ...] = ()

    @property
    def is_missing(self) -> bool:
        """Whether Marketo lacks it."""
        return self.expected and not self.actual


@dataclass(frozen=True, slots=True)
class ValueRow:
    """One field. `field` is Marketo's name of it; `dynamics` has the row's value of each column that it is made from.

    `sent` is what the app would send now, None for what clears the field; `is_sent`: whether it would send anything.
    `back`: the way is the other one, from Marketo to the column (Sales Insight's fields), and `sent` is what the column
    would get. `differs`: the side that it is sent to has something else. `note` says why nothing is sent.
    """

    field: str
    dynamics: Mapping[str, Any]
    sent: Any
    marketo: Any
    differs: bool
    is_sent: bool = True
    back: bool = False
    note: str = ""


@dataclass(slots=True)
class Person:
    """All about one lead or contact, or about a row of another table that was asked for by its id.

    `row` is Dynamics' (empty when it is not there), `records` are Marketo's.

    `mapped` is what the engine would send now, without the links, and `fields` are all that it may send.

    `origin`: the lead that a contact comes from; `origin_person`: Marketo's id of that lead's own person, 0 where it
    has none, None when nobody could tell. `history`: what happened to it last, and where it comes from; `no_history`
    says why there is none.

    `verdict`: where it stands, SKIPPED until it is judged. `values`: its fields on both sides, None where nobody asks
    for them.
    """

    subject: Subject
    row: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)
    mapped: dict[str, Any] | None = None
    fields: tuple[str, ...] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    same_email: list[dict[str, Any]] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    children: int | None = None
    origin: str = ""
    origin_person: int | None = None
    history: list[Event] = field(default_factory=list)
    no_history: str = ""
    notes: list[str] = field(default_factory=list)
    verdict: Finding = field(default_factory=lambda: Finding(Severity.SKIPPED))
    values: list[ValueRow] | None = None


@dataclass(slots=True)
class Search:
    """One run of the command: what was found, where was looked, and what could not be looked at (and why).

    `persons`: leads and contacts, or the one row of another table; all of them are of one entity.

    `burst` is how long a burst's records are collected: what is scheduled later than that waits for another try.
    `lifecycle`: what sync.toml says of deleted rows. `deals` and `ties`: the opportunities of the persons' roles, and
    the rows that give these roles, by id. What the app has noted: `outages` are the open circuits, `closed` says why
    Marketo is not called at all; `silent` says that the app does not run, empty when it does. `insight`: the columns
    that take Marketo's fields, by table; empty where nobody asks for values. `flag`: the field that flags deleted rows.
    `others`: rows that give opportunity roles and have the id, where no row with a record of its own has it. `past`:
    the history of the persons, None when nobody could tell.
    """

    persons: list[Person] = field(default_factory=list)
    parents: dict[Parent, Subject] = field(default_factory=dict)
    looked_at: dict[str, int] = field(default_factory=dict)
    unseen: list[Unseen] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    burst: timedelta = timedelta()
    lifecycle: LifecyclePolicy = field(default_factory=LifecyclePolicy)
    deals: dict[str, Subject] = field(default_factory=dict)
    ties: dict[str, Subject] = field(default_factory=dict)
    outages: dict[str, Outage] = field(default_factory=dict)
    closed: Closed | None = None
    silent: str = ""
    insight: dict[str, tuple[Target, ...]] = field(default_factory=dict)
    flag: str = ""
    others: list[Subject] = field(default_factory=list)
    past: Past | None = None

    @property
    def subjects(self) -> dict[str, Subject]:
        """Everything that messages may be about, by id: GUIDs, which no two tables share."""
        persons = [person.subject for person in self.persons]
        all_of_them = [*self.ties.values(), *self.deals.values(), *self.parents.values(), *persons]
        return {subject.id: subject for subject in all_of_them if subject.id}

    @property
    def missing(self) -> list[Role]:
        """The roles that Marketo lacks."""
        return [role for person in self.persons for role in person.roles if role.is_missing]

    def policy_of(self, subject: Subject) -> str:
        """What is done in Marketo when the row of such a record is deleted."""
        return self.lifecycle.of(subject.entity.name)

    @property
    def entity(self) -> Entity:
        """The entity of what was asked for."""
        return self.persons[0].subject.entity if self.persons else PERSON
