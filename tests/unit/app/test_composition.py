"""How the product is wired: from settings alone, without a connection, and with logs that can be read."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from shared.app import composition
from shared.model.errors import ConfigurationError
from shared.telemetry import export
from tests.support.settings import ENVIRONMENT
from tests.support.values import ROOT

SETTINGS = ENVIRONMENT | {
    "ServiceBusConnection": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=eA==;",
    "AzureWebJobsStorage": "AccountName=a;AccountKey=eA==;TableEndpoint=http://127.0.0.1:1/a;",
    "SYNC_CONFIG": str(ROOT / "sync.toml"),
}


def forget() -> None:
    for made in (
        composition.pipeline,
        composition.missed_changes,
        composition.write_back,
        composition._shared,
        composition._telemetry,
    ):
        made.cache_clear()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    forget()
    level = logging.getLogger("httpx").level
    yield
    logging.getLogger("httpx").setLevel(level)
    forget()


def test_a_process_has_one_pipeline_and_one_write_back_with_the_same_clients() -> None:
    """One sign-in, one pace and one budget."""
    pipeline: Any = composition.pipeline()
    write_back: Any = composition.write_back()
    assert write_back.feed.marketo is pipeline.marketo
    assert (composition.pipeline(), composition.write_back()) == (pipeline, write_back)


def test_everything_that_is_wrong_is_told_and_mending_it_needs_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETO_URL", "")
    monkeypatch.setenv("MAX_ATTEMPTS", "0")
    with pytest.raises(ConfigurationError, match=r"(?s)MARKETO_URL.*MAX_ATTEMPTS"):
        composition.pipeline()
    monkeypatch.setenv("MARKETO_URL", SETTINGS["MARKETO_URL"])
    monkeypatch.delenv("MAX_ATTEMPTS")
    assert composition.pipeline()


def test_telemetry_is_set_up_once_however_often_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(export, "start", lambda: begun.append(1))
    monkeypatch.setenv("MARKETO_URL", "no URL")
    for made in (composition.pipeline, composition.missed_changes, composition.write_back, composition.pipeline):
        with pytest.raises(ConfigurationError):
            made()
    monkeypatch.setenv("MARKETO_URL", SETTINGS["MARKETO_URL"])
    assert composition.pipeline()
    assert begun == [1]


def test_requests_with_300_ids_are_not_logged_by_the_kilobyte() -> None:
    """The host's default level is Information, and httpx logs every URL at that."""
    composition.pipeline()
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert logging.getLogger("httpx").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize("given", ["", "AA55BB66-0000-4000-8000-000000000001"])
async def test_the_organisation_is_asked_for_unless_it_is_set(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVERSE_ORGANIZATION_ID", given)
    pipeline = composition.pipeline()
    dataverse = composition._shared().dataverse

    async def asked() -> str:
        return "another"

    monkeypatch.setattr(dataverse, "organization_id", asked)
    assert await pipeline.organization_id() == (given.lower() or "another")
