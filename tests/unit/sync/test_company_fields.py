"""What persons say of a company stays away from the companies that they are linked to in Marketo."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from shared.model.codes import Kind
from shared.model.entities import COMPANY, PERSON, Entity
from shared.model.errors import MarketoError
from shared.model.outcome import Parent, Retry
from shared.model.record import Record
from shared.sync.batch import Batch, Candidate
from shared.sync.company_fields import Companies
from shared.sync.marketo_cache import PRESENT_SECONDS
from tests.support.values import NOON, guid

COMPANY_FIELDS = frozenset({"company", "region"})


class World:
    """A Marketo that has some persons in companies, and counts what it is asked for."""

    def __init__(self, linked: Sequence[int] = ()) -> None:
        self.linked = {guid(number) for number in linked}
        self.asked: list[int] = []
        self.error: MarketoError | None = None
        itself: Any = self
        self.tenure = 0
        self.now = 0.0
        self.companies = Companies(itself, clock=lambda: self.now)

    def key_of(self, entity: Entity) -> str:
        return entity.key

    async def read(
        self, _entity: Entity, key: str, ids: Sequence[str], fields: Sequence[str], **_: Any
    ) -> list[dict[str, Any]]:
        self.asked.append(len(ids))
        if self.error:
            raise self.error
        assert set(fields) == {key, COMPANY.key}
        return [{key: id_.upper(), COMPANY.key: guid(99) if id_ in self.linked else None} for id_ in ids]

    async def spare(self, candidates: list[Candidate], entity: Entity = PERSON) -> Batch:
        records = [record for candidate in candidates for record in candidate.records]
        sending: Any = SimpleNamespace(tenure=self.tenure)
        batch = Batch(entity, 100.0, {record.key: record for record in records}, sending)
        await self.companies.spare(batch, candidates)
        return batch


def person(number: int, **fields: Any) -> Candidate:
    record = Record("lead", guid(number), NOON)
    return Candidate([record], dict(fields), {}, company_fields=COMPANY_FIELDS)


async def test_a_lead_that_left_its_account_does_not_name_the_account_anew() -> None:
    left, free = person(1, firstName="Li", company="My own shop", Region=None), person(2, company="Contoso")
    await World(linked=[1]).spare([left, free])
    assert (left.fields, free.fields) == ({"firstName": "Li"}, {"company": "Contoso"})
    assert [(entry.field, entry.code) for entry in left.left_out] == [("company", "CompanyField")]
    assert "My own shop" not in str(left.left_out)
    assert free.left_out == []


async def test_only_persons_with_company_fields_are_asked_for_and_300_a_call(world: World) -> None:
    await world.spare([person(number, company="Contoso") for number in range(301)])
    await world.spare([person(number, firstName="Li") for number in range(301)])
    assert world.asked == [300, 1]


async def test_a_lead_that_is_as_it_was_made_has_left_no_account() -> None:
    world = World(linked=[1])
    made = person(1, company="Contoso")
    made.is_as_made = True
    await world.spare([made])
    assert (world.asked, made.fields) == ([], {"company": "Contoso"})


async def test_who_is_in_no_company_is_asked_for_once_while_nobody_else_sends_persons(world: World) -> None:
    for _ in range(3):
        await world.spare([person(1, company="Contoso"), person(2, company="Contoso")])
    await world.spare([person(2, company="Contoso"), person(3, company="Contoso")])
    assert world.asked == [2, 1]
    world.now += PRESENT_SECONDS + 1
    await world.spare([person(1, company="Contoso")])
    assert world.asked == [2, 1, 3], "the call renews what has expired with it"
    await world.spare([person(2, company="Contoso"), person(3, company="Contoso")])
    assert world.asked == [2, 1, 3]


async def test_who_may_have_been_linked_since_is_asked_for_again(world: World) -> None:
    await world.spare([person(1, company="Contoso"), person(2, company="Contoso")])
    world.tenure, world.linked = 1, {guid(1)}  # another process has sent persons
    left = person(1, company="My own shop")
    await world.spare([left])
    assert left.fields == {}
    linking = person(2, company="Contoso")
    linking.parents["externalCompanyId"] = Parent("company", "account", guid(99))
    await world.spare([linking])
    world.linked = {guid(1), guid(2)}
    left = person(2, company="My own shop")
    await world.spare([left])
    assert left.fields == {}


async def test_nobody_is_sent_while_nobody_knows(world: World) -> None:
    world.error = MarketoError("608", "temporarily unavailable", kind=Kind.TRANSIENT)
    batch = await world.spare([person(1, company="Contoso"), person(2, firstName="Li")])
    ((record, outcome),) = batch.outcomes
    assert record.id == guid(1)
    assert isinstance(outcome, Retry)


@pytest.mark.parametrize("linked", [True, False])
async def test_a_linked_person_leaves_null_out_as_well(linked: bool) -> None:
    found = person(1, company=None)
    await World(linked=[1] if linked else []).spare([found])
    assert found.fields == ({} if linked else {"company": None})
    assert found.left_out == []
