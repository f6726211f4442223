"""Merging leads in the Marketo simulator, as Adobe's "Merge Leads" says (lifecycle.md 3)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from emulators.marketo.harness import Marketo, running
from emulators.marketo.instance import Instance

JSON = {"Content-Type": "application/json"}
DEAL = "externalOpportunityId"


@pytest.fixture
async def marketo() -> AsyncIterator[Marketo]:
    async with running(Instance(now=lambda: 1_780_000_000.0)) as marketo:
        yield marketo


async def leads(marketo: Marketo, *records: dict[str, Any]) -> list[int]:
    ids = (await marketo.control.post("/seed", json={"leads": list(records)})).json()["leads"]
    return [int(number) for number in ids]


async def merge(marketo: Marketo, winner: int, *losers: int, headers: dict[str, str] = JSON) -> dict[str, Any]:
    path = f"/rest/v1/leads/{winner}/merge.json"
    answer: httpx.Response = await marketo.rest.post(
        path, params={"leadIds": ",".join(map(str, losers))}, headers=headers
    )
    return dict(answer.json())


async def code_of(marketo: Marketo, winner: int, *losers: int, **options: Any) -> str:
    return str((await merge(marketo, winner, *losers, **options))["errors"][0]["code"])


async def test_the_winner_keeps_its_values_and_gets_what_it_lacks_and_the_roles(marketo: Marketo) -> None:
    winner, loser = await leads(marketo, {"email": "w@x.com"}, {"email": "l@x.com", "firstName": "Ann"})
    await marketo.sync("opportunities", [{DEAL: "o", "name": "Deal"}])
    await marketo.sync("opportunities/roles", [{DEAL: "o", "leadId": loser, "role": "Buyer"}])
    assert (await merge(marketo, winner, loser))["success"]
    (left,) = (await marketo.control.get("/records/leads")).json()
    assert (left["id"], left["email"], left["firstName"]) == (winner, "w@x.com", "Ann")
    (role,) = (await marketo.control.get("/records/roles")).json()
    assert role["leadId"] == winner


async def test_a_second_merge_of_the_same_lead_and_one_into_nobody_are_refused(marketo: Marketo) -> None:
    winner, loser = await leads(marketo, {"email": "w@x.com"}, {"email": "l@x.com"})
    await merge(marketo, winner, loser)
    assert await code_of(marketo, winner, loser) == "1004"
    assert await code_of(marketo, 99, winner) == "1004"


async def test_at_most_25_go_in_one_call(marketo: Marketo) -> None:
    winner, *losers = await leads(marketo, *({"email": f"p{number}@x.com"} for number in range(27)))
    assert await code_of(marketo, winner, *losers) == "1080"
    assert (await merge(marketo, winner, *losers[:25]))["success"]


async def test_without_a_content_type_and_without_losers(marketo: Marketo) -> None:
    winner, loser = await leads(marketo, {"email": "w@x.com"}, {"email": "l@x.com"})
    assert await code_of(marketo, winner, loser, headers={}) == "612"
    assert await code_of(marketo, winner) == "701"
