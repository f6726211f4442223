"""Many rows or requests at once: batches, UpdateMultiple, and what each of them is told."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from shared.dataverse.batch import Part
from shared.model.entities import TABLES
from shared.model.errors import DataverseError
from tests.support.dataverse import API, FAR, URL, World, refusal


def answers_of(*answers: bytes) -> httpx.Response:
    """The answer to a batch."""
    head = b"--r\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 "
    body = b"".join(head + answer + b"\r\n" for answer in answers) + b"--r--\r\n"
    return httpx.Response(200, content=body, headers={"Content-Type": "multipart/mixed; boundary=r"})


def refused_with(status: int, code: str) -> bytes:
    error = {"error": {"code": code, "message": "x"}}
    return f"{status} X\r\nContent-Type: application/json\r\n\r\n{json.dumps(error)}".encode()


async def test_many_requests_are_one_and_each_has_its_own_answer() -> None:
    answer = answers_of(b"204 No Content\r\n\r\n", b'404 Not Found\r\nA: b\r\n\r\n{"error":{}}')
    world = World(refusal(503), answer)
    answers = await world.client.batch([Part("PATCH", f"{API}/leads(1)", {"a": 1}), Part("PATCH", f"{API}/leads(2)")])
    assert [(one.status, one.content) for one in answers] == [(204, b""), (404, b'{"error":{}}')]
    (_, request) = world.requests
    assert request.url.path == f"{API}/$batch"
    assert request.headers["Prefer"] == "odata.continue-on-error"


THROTTLED = b"429 Too Many Requests\r\nRetry-After: 7\r\n\r\n"
DONE = b"204 No Content\r\n\r\n"


async def test_parts_that_are_throttled_are_sent_again_after_the_time_that_dataverse_says() -> None:
    world = World(answers_of(THROTTLED, DONE, THROTTLED), answers_of(DONE, THROTTLED), answers_of(DONE))
    answers = await world.client.batch([Part("PATCH", f"{API}/leads({n})") for n in range(3)], deadline=FAR)
    assert [answer.status for answer in answers] == [204, 204, 204]
    assert world.slept == [7.0, 7.0]
    sent = [[n for n in range(3) if f"leads({n})" in request.content.decode()] for request in world.requests]
    assert sent == [[0, 1, 2], [0, 2], [2]]


@pytest.mark.parametrize(("deadline", "sent"), [(FAR, 4), (10.0, 2)])
async def test_parts_that_stay_throttled_are_given_up_with_that_answer(deadline: float, sent: int) -> None:
    world = World(*[answers_of(THROTTLED)] * 4)
    (answer,) = await world.client.batch([Part("PATCH", f"{API}/leads(1)")], deadline=deadline)
    assert (answer.status, len(world.requests)) == (429, sent)


async def test_a_batch_without_an_answer_for_each_request_is_none() -> None:
    with pytest.raises(DataverseError, match="BatchAnswer"):
        await World(answers_of()).client.batch([Part("GET", f"{API}/leads")])


async def test_all_rows_of_a_table_are_updated_at_once_with_a_tag() -> None:
    world = World(refusal(429, Retry_After="3"), httpx.Response(204))
    await world.client.update_many("contact", "contacts", [{"contactid": "a", "x": 1}], tag="t", deadline=FAR)
    request = world.requests[-1]
    assert str(request.url) == f"{URL}{API}/contacts/Microsoft.Dynamics.CRM.UpdateMultiple?tag=t"
    assert json.loads(request.content) == {
        "Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": "a", "x": 1}]
    }
    assert world.slept == [3.0]


@pytest.mark.parametrize("code", ["0x80044150", "-2147204783"])
async def test_a_lock_among_many_rows_is_told_at_once_and_is_no_outage(code: str) -> None:
    """Which row it is only finds out who writes each by itself."""
    seen: list[type[BaseException] | None] = []

    class Guard:
        @asynccontextmanager
        async def call(self, system: str, *, of_records: bool = False) -> AsyncIterator[int]:  # noqa: ARG002  (a Guard's)
            try:
                yield 3
            except DataverseError as error:
                seen.append(type(error))
                raise
            seen.append(None)

    world = World(refusal(500, code, "locked"))
    world.client.guard = Guard()
    with pytest.raises(DataverseError, match="lock"):
        await world.client.update_many("contact", "contacts", [{"contactid": "a"}], tag="t", deadline=FAR)
    assert (seen, world.slept, len(world.requests)) == ([None], [], 1)


async def test_only_dataverses_own_word_says_that_a_row_does_not_exist() -> None:
    """A gateway's 404, or that of a wrong address, says nothing about a row: its record would be deleted for that."""
    gateway, wrong_address = b"404 Not Found\r\n\r\n{}", refused_with(404, "0x8006088a")
    gone, hidden = refused_with(404, "0x80040217"), refused_with(403, "0x80048306")
    world = World(answers_of(b"200 OK\r\n\r\n{}", gone, gateway, wrong_address, hidden))
    assert await world.client.statuses(TABLES["contact"][1], list("abcde")) == [200, 404, 0, 0, 403]


async def test_a_hundred_rows_are_asked_for_in_one_request() -> None:
    gone, hidden = refused_with(404, "0x80040217"), refused_with(403, "0x80048306")
    world = World(answers_of(*[gone] * 100), answers_of(hidden))
    ids = [str(number) for number in range(101)]
    assert await world.client.statuses(TABLES["contact"][1], ids) == [*[404] * 100, 403]
