"""What Marketo's answers mean: only what Adobe documents is success."""

from typing import Any

import httpx
import pytest

from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.model.codes import Kind
from shared.model.errors import MarketoError
from shared.model.outcome import Retry, of_error, of_skip
from tests.support.marketo import COMPANY, FAR, PERSON, World, ok


async def test_only_the_documented_status_of_a_delete_counts_as_done() -> None:
    world = World(ok([{"status": "updated"}]))
    (found,) = await world.client.write(COMPANY, [b"{}"], Write.DELETE, deadline=FAR, begin=world.begin)
    assert found.code == "UnknownResult"


@pytest.mark.parametrize("count", [0, 2])
async def test_a_delete_has_a_result_for_each_record(count: int) -> None:
    world = World(ok([{"status": "deleted"}] * count))
    with pytest.raises(MarketoError, match="ResultCount"):
        await world.client.write(COMPANY, [b"{}"], Write.DELETE, deadline=FAR, begin=world.begin)


async def test_each_record_has_its_result_by_position() -> None:
    skipped = {"seq": 1, "status": "skipped", "reasons": [{"code": "1003", "message": "Invalid data"}]}
    world = World(ok([{"id": 7, "status": "created"}, skipped, {"marketoGUID": "dff", "status": "updated"}]))
    assert await world.upsert(b"{}", b"{}", b"{}") == [
        Result("created", 7), Result("skipped", 0, "1003", "Invalid data"), Result("updated"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ([], "ResultCount"), ([{"status": "created"}], "ResultCount"), ([{"status": "created"}] * 3, "ResultCount"),
        (None, "ResultCount"), ({"status": "created"}, "UnknownAnswer"), (["created", "created"], "UnknownAnswer"),
        ([{"seq": 1, "status": "created"}, {"seq": 0, "status": "updated"}], "UnknownAnswer"),
    ],
)  # fmt: skip
async def test_results_that_cannot_be_matched_by_position_are_not_matched_at_all(result: Any, code: str) -> None:
    world = World(httpx.Response(200, json={"success": True, "result": result}))
    with pytest.raises(MarketoError) as refused:
        await world.upsert(b"{}", b"{}")
    assert (refused.value.code, refused.value.kind, refused.value.at_work) == (code, Kind.UNKNOWN, False)
    assert len(world.requests) == 1


@pytest.mark.parametrize(
    "row",
    [
        {}, {"status": None}, {"status": "queued"}, {"status": "Created"}, {"status": "deleted"}, {"status": ["x"]},
        {"status": "skipped"}, {"status": "skipped", "reasons": []}, {"status": "skipped", "reasons": {"code": "1003"}},
        {"status": "skipped", "reasons": ["1003"]}, {"id": 7, "status": "<b>li@x.example</b>"},
    ],
)  # fmt: skip
async def test_a_status_that_is_not_documented_is_never_success(row: dict[str, Any]) -> None:
    """Adobe's description: created, updated, deleted, skipped, added, removed; the last two are those of lists."""
    good, odd = await World(ok([{"id": 3, "status": "updated"}, row])).upsert(b"{}", b"{}")
    assert good == Result("updated", 3)
    assert (odd.status, odd.code) == ("skipped", "UnknownResult")
    assert "li@x.example" not in odd.message
    assert of_skip(odd.code, odd.message) == Retry(60.0, "UnknownResult", odd.message, counted=True)


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"result": []}, {"success": "true", "result": [{"status": "created"}]}, {"success": 1},
        {"success": False}, {"success": False, "errors": []}, {"success": False, "errors": {"code": "1003"}},
        {"success": False, "errors": ["606"]}, {"success": None, "errors": [{"code": "606"}]},
        {"success": True, "errors": [{"code": "606"}], "result": [{"status": "created"}]},
        {"success": True, "errors": {"code": "1003"}, "result": [{"status": "created"}]},
    ],
)  # fmt: skip
async def test_an_answer_of_another_shape_is_never_success(answer: dict[str, Any]) -> None:
    reply = httpx.Response(200, json=answer)
    error = await World(reply).refused()
    assert (error.code, error.kind) == ("UnknownAnswer", Kind.UNKNOWN)
    retry = of_error(error)
    assert isinstance(retry, Retry)
    assert (retry.code, retry.counted) == ("UnknownAnswer", True)
    world = World(reply, ok([{"id": 7, "externalPersonId": "A"}]))
    assert await world.client.find(PERSON, ["a"]) == {"a": 7}


@pytest.mark.parametrize("number", ["7", None, 7.5, True, [7]])
async def test_a_number_that_is_none_is_not_taken_for_the_persons(number: Any) -> None:
    assert await World(ok([{"id": number, "status": "created"}])).upsert() == [Result("created", 0)]
    assert await World(ok([{"id": number, "externalPersonId": "a"}])).client.find(PERSON, ["a"]) == {"a": 0}


async def test_an_object_without_fields_is_not_believed() -> None:
    """Believed, it would take every value out of every record."""
    for result in ([], [{"name": "API Lead"}], [{"name": "API Lead", "fields": []}]):
        with pytest.raises(MarketoError, match="UnknownAnswer"):
            await World(ok(result)).client.describe(PERSON)
