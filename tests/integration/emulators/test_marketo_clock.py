"""The time that the Marketo simulator tells its clients, over HTTP."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest

from emulators.marketo.harness import Marketo

STARTED = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC)
NOW = STARTED.timestamp()
USAGE = "/rest/v1/stats/usage.json"


def ahead(response: httpx.Response) -> float:
    """Return by how many seconds the answer's Date header is ahead of the start of the test."""
    return (parsedate_to_datetime(response.headers["Date"]) - STARTED).total_seconds()


async def test_every_answer_tells_the_simulators_time(marketo: Marketo) -> None:
    await marketo.control.post("/clock/advance", json={"seconds": 90})
    calls = [
        marketo.rest.get(USAGE),
        marketo.rest.get("/rest//v1/stats/usage.json"),
        marketo.rest.get("/rest/v1/nothing.json"),
        marketo.rest.post("/rest/v1/leads.json", content=b" " * 1_100_000),
        marketo.rest.post("/identity/oauth/token", data={"grant_type": "client_credentials"}),
    ]
    assert [ahead(await call) for call in calls] == [90.0] * 5


@pytest.mark.parametrize("offset", [-600.0, 7200.0])
async def test_a_wrong_clock_shows_and_breaks_no_token(marketo: Marketo, offset: float) -> None:
    before = await marketo.token()
    await marketo.switch(clock_offset=offset)
    assert await marketo.token() == before
    response = await marketo.rest.get(USAGE)
    assert response.json()["success"]
    assert ahead(response) == offset
    await marketo.sync("leads", [{"email": "a@x.example"}])
    (lead,) = (await marketo.get("leads", filterType="email", filterValues="a@x.example"))["result"]
    assert datetime.fromisoformat(lead["createdAt"]).timestamp() == NOW + offset
    # What happened "since then" is judged by the same wrong clock.
    await marketo.switch(clock_offset=0.0)
    for since, expected in ((0.0, 1), (1.0, 0)):
        moment = datetime.fromtimestamp(NOW + since, UTC).isoformat()
        token = (await marketo.get("activities/pagingtoken", sinceDatetime=moment))["nextPageToken"]
        page = await marketo.get("activities", activityTypeIds="12", nextPageToken=token)
        assert len(page["result"]) == expected


async def test_time_does_not_go_back(marketo: Marketo) -> None:
    assert (await marketo.control.post("/clock/advance", json={"seconds": -1})).status_code == 400
    assert ahead(await marketo.rest.get(USAGE)) == 0
