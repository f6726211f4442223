"""Merging leads in the Marketo simulator, as Adobe's "Merge Leads" says (lifecycle.md 3)."""

from typing import Any

import httpx

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import code, records, seed

JSON = {"Content-Type": "application/json"}
DEAL = "externalOpportunityId"


async def merge(marketo: Marketo, winner: int, *losers: int, headers: dict[str, str] = JSON) -> dict[str, Any]:
    path = f"/rest/v1/leads/{winner}/merge.json"
    answer: httpx.Response = await marketo.rest.post(
        path, params={"leadIds": ",".join(map(str, losers))}, headers=headers
    )
    return dict(answer.json())


async def code_of(marketo: Marketo, winner: int, *losers: int, **options: Any) -> str:
    return code(await merge(marketo, winner, *losers, **options))


async def test_the_winner_keeps_its_values_and_gets_what_it_lacks_and_the_roles(marketo: Marketo) -> None:
    winner, loser = await seed(marketo, "leads", {"email": "w@x.com"}, {"email": "l@x.com", "firstName": "Ann"})
    await marketo.sync("opportunities", [{DEAL: "o", "name": "Deal"}])
    await marketo.sync("opportunities/roles", [{DEAL: "o", "leadId": loser, "role": "Buyer"}])
    assert (await merge(marketo, winner, loser))["success"]
    (left,) = await records(marketo)
    assert (left["id"], left["email"], left["firstName"]) == (winner, "w@x.com", "Ann")
    (role,) = await records(marketo, "roles")
    assert role["leadId"] == winner


async def test_what_is_refused(marketo: Marketo) -> None:
    winner, loser = await seed(marketo, "leads", {"email": "w@x.com"}, {"email": "l@x.com"})
    assert await code_of(marketo, winner, loser, headers={}) == "612"
    assert await code_of(marketo, winner) == "701", "no losers"
    await merge(marketo, winner, loser)
    assert await code_of(marketo, winner, loser) == "1004", "it is gone"
    assert await code_of(marketo, 99, winner) == "1004", "into nobody"


async def test_at_most_25_go_in_one_call(marketo: Marketo) -> None:
    winner, *losers = await seed(marketo, "leads", *({"email": f"p{number}@x.com"} for number in range(27)))
    assert await code_of(marketo, winner, *losers) == "1080"
    assert (await merge(marketo, winner, *losers[:25]))["success"]
