"""No secret is logged. The fixture of the running stack looks again when all its tests are through."""

from local.harness import Rows, System
from local.harness.secrets import logged, secrets_in_logs


async def test_no_secret_is_in_the_logs(system: System, rows: Rows) -> None:
    bad = rows.opportunity(None, rows.user(), name=None)
    await system.seed(rows)
    await system.marketo("/token/revoke", {})
    await system.notify(bad)
    await system.broker.dead_letter_of(bad.id)
    text = logged(system)
    assert "settled entity=" in text
    assert "dead_letter entity=" in text
    assert await secrets_in_logs(system) == []


async def test_a_secret_in_the_logs_would_be_found(system: System) -> None:
    """The search itself can fail: a key that somebody writes into a host's log is named."""
    log = system.stack.directory / "logs" / "functions-test.log"
    log.write_text(f"key={system.webhook_key} Authorization: Bearer abcdefghijkl\n")
    try:
        assert await secrets_in_logs(system) == ["the webhook's key", "Bearer abcdefghijkl"]
    finally:
        log.unlink()
