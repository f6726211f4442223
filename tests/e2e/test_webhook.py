"""receive_webhook: what it takes reaches Marketo, what it refuses says why, what it cannot keep it does not take."""

import json
import time
from typing import Any

import httpx
import pytest

from local.harness import Made, Rows, System, eventually
from local.harness.system import notification_of

#: Dynamics gives up after 60 s.
PATIENCE = 60


async def call(
    system: System, body: bytes, *, headers: dict[str, str] | None = None, key: str | None = None, method: str = "POST"
) -> httpx.Response:
    """Call the webhook as Dynamics does: the key in the query, the facts in headers."""
    url = f"{system.hosts['a']}/api/receive_webhook"
    params = {"code": system.webhook_key if key is None else key}
    sent = {"Content-Type": "application/json", **(headers or {})}
    return await system.http.request(method, url, params=params, content=body, headers=sent, timeout=PATIENCE)


async def deliver(system: System, made: Made, **parts: Any) -> httpx.Response:
    notification = notification_of(made, **parts)
    return await call(system, notification.json().encode(), headers=notification.headers())


async def test_202_means_that_the_change_arrives(system: System, rows: Rows) -> None:
    contact = rows.contact(rows.account(rows.user()), rows.made[0])
    await system.seed(rows)
    answer = await deliver(system, contact, message="Create")
    assert (answer.status_code, answer.json()) == (202, {"status": "queued"})
    await system.synced(contact)


async def test_the_key_may_come_in_a_header(system: System, rows: Rows) -> None:
    seller = rows.user()
    await system.seed(rows)
    notification = notification_of(seller)
    headers = {**notification.headers(), "x-functions-key": system.webhook_key}
    answer = await call(system, notification.json().encode(), headers=headers, key="")
    assert answer.status_code == 202
    await system.synced(seller)


async def test_a_body_too_large_for_the_queue_arrives_without_what_is_only_bulk(system: System, rows: Rows) -> None:
    contact = rows.contact(None, rows.user())
    await system.seed(rows)
    context = notification_of(contact).context
    context["ParentContext"] = {"InputParameters": [{"key": "Target", "value": "ü" * 120_000}]}
    body = json.dumps(context, ensure_ascii=False).encode()
    assert 192 * 1024 < len(body) < 256 * 1024
    assert (await call(system, body)).status_code == 202
    await system.synced(contact)


REFUSED: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "no JSON": (400, b"hello", {}),
    "empty": (400, b"", {}),
    "a list": (400, b"[]", {}),
    "no routing triple": (400, b'{"MessageName": "Update"}', {}),
    "no GUID": (400, b'{"MessageName": "Update", "PrimaryEntityName": "contact", "PrimaryEntityId": "7"}', {}),
    "too large": (413, b'{"MessageName": "' + b"x" * 256 * 1024 + b'"}', {}),
    "XML": (415, b"<a/>", {"Content-Type": "application/xml"}),
    "text": (415, b"{}", {"Content-Type": "text/plain"}),
}


@pytest.mark.parametrize(("status", "body", "headers"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_it_cannot_use_is_refused(system: System, status: int, body: bytes, headers: dict[str, str]) -> None:
    answer = await call(system, body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["status"]


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_nobody_gets_in_without_the_key(system: System, key: str, rows: Rows) -> None:
    seller = rows.user()
    await system.seed(rows)
    answer = await call(system, notification_of(seller).json().encode(), key=key)
    assert answer.status_code == 401
    await system.broker.idle()
    assert await system.record(seller) is None


async def test_only_post_is_served(system: System) -> None:
    assert (await call(system, b"", method="GET")).status_code == 404


async def test_503_while_the_queue_is_away_and_202_again_by_itself(system: System, rows: Rows) -> None:
    first, second = rows.user(), rows.user()
    await system.seed(rows)
    assert (await deliver(system, first)).status_code == 202
    await system.synced(first)
    await system.stop_service_bus()
    began = time.monotonic()
    assert (await deliver(system, second)).status_code == 503
    assert time.monotonic() - began < PATIENCE
    await system.restart_service_bus()

    async def try_again() -> int:
        return (await deliver(system, second)).status_code

    await eventually(try_again, lambda status: status == 202, what="202")
    await system.synced(second)
