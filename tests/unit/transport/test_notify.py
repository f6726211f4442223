"""Telling an operator's address: once, without following it elsewhere, and without a word of it in the log."""

import json
import logging

import httpx
import pytest

from shared.transport.notify import notify

URL = "https://hook.example/s3cret?sig=t0ken"


def answering(status: int, seen: list[httpx.Request], **headers: str) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, headers=headers)

    return httpx.MockTransport(answer)


async def test_the_content_is_posted_as_json() -> None:
    seen: list[httpx.Request] = []
    assert await notify(URL, {"text": "complete"}, transport=answering(202, seen))
    (request,) = seen
    assert (request.method, str(request.url), json.loads(request.content)) == ("POST", URL, {"text": "complete"})


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_another_answer_is_logged_and_not_followed(status: int, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[httpx.Request] = []
    with caplog.at_level(logging.WARNING):
        assert not await notify(URL, {}, transport=answering(status, seen, location="https://other.example"))
    assert len(seen) == 1
    assert f"not_notified status={status}" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("late"), OSError("no route")])
async def test_an_address_that_is_away_raises_nothing(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with caplog.at_level(logging.WARNING):
        assert not await notify(URL, {}, transport=httpx.MockTransport(fail))
    assert "not_notified error=" in caplog.text
    assert "hook.example" not in caplog.text
