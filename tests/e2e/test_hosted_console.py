"""The console that the app serves (CONSOLE=entra), by two instances of it, through azure-functions' own adapter.

Requests are as App Service Authentication hands them on: it has signed the browser in, and writes who that is.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.harness import System, eventually, running_system
from tests.e2e.conftest import ENVIRONMENT, LIMITS
from tests.support.console import hidden_fields, text_of
from tests.support.entra import HOST, PLATFORM, from_a_page, signed_in

ANN, RITA = signed_in("ann@contoso.example", "operator"), signed_in("rita@contoso.example", "reader")
PAUSE = "/queues/pause?queue=person"


@pytest.fixture(scope="module")
async def instances(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Two instances of the app, each with processes of its own."""
    environment: dict[str, Any] = {**ENVIRONMENT, **PLATFORM, "CONSOLE": "entra"}
    async with running_system(
        tmp_path_factory.mktemp("hosted"), marketo=LIMITS, functions_environment=environment
    ) as running:
        await running.stack.start_functions("b")
        yield running


async def get(system: System, path: str, headers: dict[str, str], host: str = "a") -> httpx.Response:
    """A page, from one of the instances."""
    return await system.http.get(f"{system.hosts[host]}{path}", headers=headers)


async def test_it_shows_what_is_the_case_and_has_its_style(instances: System) -> None:
    async def page() -> str:
        return text_of((await get(instances, "/", RITA)).text)

    seen = await eventually(page, lambda text: "Marketo's day" in text, what="the overview")
    assert "Opportunity roles" in seen
    assert "rita@contoso.example, may look only" in seen
    style = await get(instances, "/static/console.css", RITA)
    assert (style.status_code, style.headers["content-type"].partition(";")[0]) == (200, "text/css")
    answer = await get(instances, "/", RITA)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


async def test_who_has_not_signed_in_is_refused_by_the_app_itself(instances: System) -> None:
    answer = await get(instances, "/", {"host": HOST})
    assert answer.status_code == 401
    assert "contoso.crm" not in answer.text
    assert (await get(instances, "/", {**ANN, "host": "evil.example"})).status_code == 421


async def test_what_is_asked_on_one_instance_is_done_by_another_and_its_end_is_seen_on_both(instances: System) -> None:
    fields = hidden_fields((await get(instances, PAUSE, ANN, "a")).text)
    url = f"{instances.hosts['b']}/queues/pause"
    refused = await instances.http.post(url, data=fields, headers={**RITA, **from_a_page()})
    assert refused.status_code == 403
    begun = await instances.http.post(url, data=fields, headers={**ANN, **from_a_page()})
    assert begun.status_code == 303
    for host in ("a", "b"):
        seen = text_of((await get(instances, begun.headers["location"], ANN, host)).text)
        assert "begun by ann@contoso.example" in seen
        assert "persons: paused" in seen
    assert not (await instances.broker.counts())[instances.broker.queue("person")].waiting
    await instances.broker.set_status("person", "Active")


async def test_the_webhook_is_where_it_was_and_needs_its_key(instances: System) -> None:
    url = f"{instances.hosts['a']}/api/receive_webhook"
    assert (await instances.http.post(url, content=b"{}", headers={"host": HOST})).status_code == 401
    assert (await instances.http.post(url, content=b"{}", headers=ANN)).status_code == 401
    known = {**ANN, "x-functions-key": instances.webhook_key, "content-type": "application/json"}
    assert (await instances.http.post(url, content=b"{}", headers=known)).status_code == 400
    assert (await get(instances, "/api/receive_webhook", ANN)).status_code == 404
