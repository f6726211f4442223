"""The webhook: what it takes into the queue, and how it makes a body fit."""

import json
import logging
from typing import Any

import pytest

from shared.dataverse.notifications import parse
from tests.support.pipeline import JSON, World, body, context
from tests.support.values import guid


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", "Application/JSON"])
async def test_a_webhook_is_202_once_its_change_is_queued_as_it_came(world: World, content_type: str) -> None:
    assert await world.accept(body(), content_type) == 202
    (message,) = world.sent
    assert (message.queue, message.body, message.session, message.at) == ("changes", body(), None, None)
    assert message.correlation_id == guid(77)


@pytest.mark.parametrize(
    ("content_type", "sent", "status"),
    [
        *((content_type, body(), 415) for content_type in ("", "text/plain", "application/xml", "application/msbin1")),
        *((JSON, sent, 400) for sent in (b"", b"[]", b"{", b"{}", body(PrimaryEntityId="no guid"))),
        (JSON, body(OrganizationName="x" * 262_144), 413),
    ],
)
async def test_a_wrong_webhook_is_refused(world: World, content_type: str, sent: bytes, status: int) -> None:
    assert await world.accept(sent, content_type) == status
    assert world.sent == []


async def test_a_webhook_is_503_while_the_broker_is_away(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.unreachable = True
    with caplog.at_level(logging.ERROR):
        assert await world.accept(body()) == 503
    assert guid(77) in caplog.text


@pytest.mark.parametrize("part", ["ParentContext", "PreEntityImages", "PostEntityImages"])
async def test_a_webhook_of_250_kb_is_queued_without_its_bulk(world: World, part: str) -> None:
    large = json.dumps(context() | {part: [{"key": "x", "value": "é" * 40_000}]}).encode()
    assert 192 * 1024 < len(large) <= 256 * 1024
    assert await world.accept(large) == 202
    (message,) = world.sent
    assert len(message.body) <= 192 * 1024
    before, after = parse(large), parse(message.body)
    assert after.changes == before.changes
    assert after.correlation_id == before.correlation_id
    assert after.organization_id == before.organization_id


async def test_parameters_that_are_bulk_alone_are_left_out_as_dynamics_does(world: World) -> None:
    target = {"Attributes": [{"key": "description", "value": "x" * 220_000}], "Id": guid(1), "LogicalName": "lead"}
    large = body(InputParameters=[{"key": "Target", "value": target}])
    assert 192 * 1024 < len(large) <= 256 * 1024
    assert await world.accept(large) == 202
    (message,) = world.sent
    assert len(message.body) < 1024
    assert parse(message.body).changes == parse(large).changes


async def test_a_bulk_update_that_fits_no_message_is_refused_and_never_shortened(world: World) -> None:
    """Its parameters are the only place that names its rows."""
    rows = [{"Id": guid(n), "LogicalName": "lead", "Attributes": [{"key": "x" * 3000}]} for n in range(1, 71)]
    targets = [{"key": "Targets", "value": {"EntityName": "lead", "Entities": rows}}]
    large = body(MessageName="UpdateMultiple", PrimaryEntityId=guid(0), InputParameters=targets)
    assert 192 * 1024 < len(large) <= 256 * 1024
    assert len(parse(large).changes) == 70
    assert await world.accept(large) == 413
    assert world.sent == []


async def test_a_bulk_update_beside_large_images_is_queued_with_all_its_rows(world: World) -> None:
    rows = [{"Id": guid(n), "LogicalName": "lead", "Attributes": []} for n in range(1, 71)]
    targets = [{"key": "Targets", "value": {"EntityName": "lead", "Entities": rows}}]
    facts: dict[str, Any] = {"MessageName": "UpdateMultiple", "PrimaryEntityId": guid(0), "InputParameters": targets}
    large = body(**facts, PreEntityImages=[{"key": "x", "value": "x" * 200_000}])
    assert await world.accept(large) == 202
    assert parse(world.sent[0].body).changes == parse(large).changes


@pytest.mark.parametrize(
    "sent",
    [
        *(json.dumps(context(ParentContext="x" * 110_000)).encode(encoding) for encoding in ("utf-16", "utf-16-be")),
        json.dumps(context(ParentContext="x" * 55_000)).encode("utf-32"),
        b"\xef\xbb\xbf" + body(ParentContext="x" * 200_000),
        body(ParentContext="x" * 200_000, OrganizationName="Contoso \ud83d"),  # half an emoji
    ],
    ids=["utf-16", "utf-16-be", "utf-32", "bom", "surrogate"],
)
async def test_a_large_body_in_any_encoding_is_slimmed(world: World, sent: bytes) -> None:
    assert 192 * 1024 < len(sent) <= 256 * 1024
    assert await world.accept(sent) == 202
    assert parse(world.sent[0].body).changes == parse(body()).changes
