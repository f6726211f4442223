"""What the first sync would do, said beforehand: the same as it does then, and nothing is written for it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.virtual import leases
from shared.marketo.client import Write
from shared.model.codes import Kind
from shared.model.errors import MarketoError, MsiSyncError
from shared.model.outcome import Failed, Outcome, Skipped, Synced
from shared.model.record import Record
from shared.sync.marketo_cache import Known
from shared.sync.newcomers import Newcomers
from shared.sync.preview import Fate, Foreseen, Preview
from shared.sync.schema import Schema
from tests.support.persons import FLAG, World
from tests.support.values import NOON, guid, to


def preview_of(world: World) -> Preview:
    dataverse, marketo, clock = world.dataverse, world.marketo, world.clock
    schema = Schema(world.config, dataverse, marketo, clock=clock)  # type: ignore[arg-type]  # they stand for both
    known, policy = Known(clock=clock), world.config.person
    newcomers = Newcomers(dataverse, marketo, schema, known, policy=policy, tables=world.config.tables)  # type: ignore[arg-type]
    sending, lifecycle = leases(clock).of("person"), world.config.lifecycle
    return Preview(dataverse, marketo, schema, newcomers, sending, policy=lifecycle, now=lambda: NOON)  # type: ignore[arg-type]


async def foreseen(world: World, table: str = "contact", preview: Preview | None = None) -> list[Foreseen]:
    rows = list(world.dataverse.rows_of[table].values())
    return await (preview or preview_of(world)).of(table, rows)


async def fates(world: World, table: str = "contact") -> list[tuple[Fate, tuple[int, ...]]]:
    return [(each.fate, each.persons) for each in await foreseen(world, table)]


async def test_contacts_of_every_kind(world: World) -> None:
    for number, address, key in [
        (1, "known@x.com", guid(1)), (2, "Free@x.com", None), (3, "two@x.com", None), (4, "two@x.com", None),
        (5, "taken@x.com", guid(99)), (6, "lead@x.com", guid(50)),
    ]:  # fmt: skip
        world.marketo.has(number, address, key)
    world.contact(1, "other@x.com")
    world.contact(2, "free@x.com")
    world.contact(3, "two@x.com")
    world.contact(4, "taken@x.com")
    world.contact(5, "nobody@x.com")
    world.contact(6, None)
    world.contact(7, "free@x.com", new_synctomkto=False)
    world.contact(8, "lead@x.com", lead=50)
    world.contact(9, "free@x.com", merged=True, **to("_masterid_value", "contact", guid(2)))
    assert await fates(world) == [
        (Fate.UPDATED, (1,)), (Fate.ADOPTED, (2,)), (Fate.AMBIGUOUS, (3, 4)), (Fate.CREATED, ()), (Fate.CREATED, ()),
        (Fate.CREATED_WITHOUT_EMAIL, ()), (Fate.FILTERED, ()), (Fate.CONTINUED, (6,)), (Fate.MERGED, ()),
    ]  # fmt: skip


@pytest.mark.parametrize("policy", ["keep", "flag", "merge"])
async def test_of_rows_that_were_merged_away_the_policy_says_what_becomes_of_their_persons(policy: str) -> None:
    world = World(lifecycle={"merged": policy, "deleted_flag": FLAG})
    for number in (1, 2, 3, 5, 6):
        world.marketo.has(number, f"{number}@x.com", guid(number))
    world.contact(1)
    world.contact(2, merged=True, **to("_masterid_value", "contact", guid(1)))
    world.contact(3, merged=True, **to("_masterid_value", "contact", guid(4)))
    world.contact(4, new_synctomkto=False)
    world.contact(7, merged=True, **to("_masterid_value", "contact", guid(1)))
    world.lead(5, state=1, **to("_parentcontactid_value", "contact", guid(1)))
    world.lead(6, state=1, **to("_parentcontactid_value", "contact", guid(8)))
    world.contact(8, lead=6)
    person = {"keep": Fate.MERGED, "flag": Fate.MERGED_PERSON, "merge": Fate.MERGED_PERSON}[policy]
    across_the_filter = Fate.MERGED_PERSON if policy == "flag" else Fate.MERGED
    merged = {"keep": Fate.UPDATED}.get(policy, Fate.MERGED_PERSON)
    assert [fate for fate, _ in await fates(world)] == [
        Fate.UPDATED, person, across_the_filter, Fate.FILTERED, Fate.MERGED, Fate.CONTINUED,
    ]  # fmt: skip
    assert await fates(world, "lead") == [(merged, (5,)), (Fate.UPDATED, (6,))]
    assert not {write.name for write in Write} & world.marketo.calls.keys()


async def test_leads_that_were_qualified_are_left_alone(world: World) -> None:
    world.marketo.has(7, "ann@x.com")
    world.lead(1, state=1, **to("_parentcontactid_value", "contact", guid(9)))
    world.lead(2)
    world.contact(3, lead=2)
    world.lead(4)
    assert await fates(world, "lead") == [(Fate.QUALIFIED, ()), (Fate.QUALIFIED, ()), (Fate.ADOPTED, (7,))]


async def test_a_person_is_adopted_once_however_many_pages_there_are(world: World) -> None:
    world.marketo.has(7, "ann@x.com")
    preview = preview_of(world)
    world.contact(1)
    assert [each.fate for each in await foreseen(world, preview=preview)] == [Fate.ADOPTED]
    world.dataverse.rows_of["contact"].clear()
    world.contact(2)
    assert [each.fate for each in await foreseen(world, preview=preview)] == [Fate.CREATED]


async def test_each_question_costs_one_call_for_300_rows(world: World) -> None:
    for number in range(1, 602):
        world.contact(number, f"{number}@x.com")
    done: list[int] = []
    rows = list(world.dataverse.rows_of["contact"].values())
    await preview_of(world).of("contact", rows, done.append)
    assert dict(world.marketo.calls) == {"find": 3, "read email": 3}
    assert sum(done) == 601


async def test_what_marketo_refuses_is_no_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: Any, **__: Any) -> Any:
        raise MarketoError("603", "Access denied", kind=Kind.CONFIGURATION)

    world.contact(1)
    monkeypatch.setattr(world.marketo, "read", refuses)
    with pytest.raises(MsiSyncError, match="603"):
        await foreseen(world)


def fate_of(outcome: Outcome) -> set[Fate]:
    """What a sync that ended so may have been foreseen as."""
    match outcome:
        case Synced(status="updated"):
            return {Fate.UPDATED}
        case Synced(status="adopted"):
            return {Fate.ADOPTED, Fate.CONTINUED}
        case Synced(status="created"):
            return {Fate.CREATED, Fate.CREATED_WITHOUT_EMAIL}
        case Failed(code="AmbiguousPerson"):
            return {Fate.AMBIGUOUS}
        case Skipped(reason="Filtered"):
            return {Fate.FILTERED}
    return {Fate.QUALIFIED} if outcome == Skipped("Qualified") else set()


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["ann@x.com", " Ann@x.com", "bob@x.com", None]), st.sampled_from([0, 1, 2]), st.booleans()
    ),
    min_size=1,
    max_size=6,
)
PERSONS = st.lists(
    st.tuples(st.sampled_from(["ann@x.com", "bob@x.com"]), st.sampled_from([None, 1, 2, 11, 12, 88])), max_size=4
)
POLICIES = st.fixed_dictionaries(
    {"ambiguous": st.sampled_from(["dead-letter", "oldest", "latest", "create"]), "match_email": st.booleans()}
)


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, persons=PERSONS, table=st.sampled_from(["lead", "contact"]), policy=POLICIES, first=st.integers(0, 3))
async def test_the_sync_does_what_was_foreseen(
    rows: list[tuple[str | None, int, bool]],
    persons: list[tuple[str, int | None]],
    *,
    table: str,
    policy: Any,
    first: int,
) -> None:
    """Its rows come in two pages. `first`: how many are in the first one."""
    world = World(**policy)
    keys: set[int] = set()
    for number, (address, key) in enumerate(persons, start=1):
        world.marketo.has(number, address, guid(key) if key and key not in keys else None)
        keys |= {key} if key else set()
    records: list[Record] = []
    for number, (mail, other, kept_out) in enumerate(rows, start=11):
        flag = {"new_synctomkto": False} if kept_out else {}
        is_lead = table == "lead"
        row = (
            world.lead(number, mail, state=other % 2, **flag)
            if is_lead
            else world.contact(number, mail, lead=other, **flag)
        )
        records.append(row)
    before = [dict(person) for person in world.marketo.persons.values()]
    preview, stored = preview_of(world), list(world.dataverse.rows_of[table].values())
    said = [each for page in (stored[:first], stored[first:]) for each in await preview.of(table, page)]
    assert list(world.marketo.persons.values()) == before
    assert not {write.name for write in Write} & world.marketo.calls.keys()
    for each, outcome in zip(said, await world.sync(*records), strict=True):
        assert each.fate in fate_of(outcome), (each, outcome)
        if each.persons and each.fate is not Fate.AMBIGUOUS:
            (person,) = (number for number, key in world.marketo.keys().items() if key == each.id)
            assert each.persons == (person,)
