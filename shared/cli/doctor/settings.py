"""Checks of what an operator has set: app settings and sync.toml, and of the clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx

from ...config.normalisers import without
from ...model.errors import ConfigurationError
from ...model.ids_and_times import http_date
from ..context import NO_SETTINGS
from ..finding import Finding, attention, counted, failed, ok
from .runner import Check, Subject, skipped

GROUP = "Set-up"
#: Settings that function_app.py names in its triggers and nobody else reads.
FOR_TRIGGERS = ("RELEASE_SCHEDULE", "RUN_SCHEDULE", "RECONCILE_SCHEDULE", "WRITE_BACK_SCHEDULE")
#: NCRONTAB: six fields, seconds first, or five.
_SCHEDULE = re.compile(r"[0-9*][0-9*/,-]*(\s+[0-9A-Za-z*][0-9A-Za-z*/,-]*){4,5}")
#: Seconds that our clock may be wrong. Tokens and signatures are refused from some five minutes on.
CLOCK_ATTENTION = 60.0
CLOCK_FAILED = 300.0


async def _settings(subject: Subject) -> Finding:
    problems, remedy = [], "local.settings.example.json explains each of them"
    try:
        _ = subject.context.settings
    except ConfigurationError as error:
        *problems, remedy = error.message.splitlines()
        if error.code == NO_SETTINGS:
            return failed(problems[0], remedy)
    schedules = {name: subject.context.environment.get(name, "").strip() for name in FOR_TRIGGERS}
    problems += [
        f"{name}: must be six fields, such as 0 */10 * * * *, or the Functions host cannot load the app"
        for name, schedule in schedules.items()
        if not _SCHEDULE.fullmatch(schedule)
    ]
    if problems:
        details = (line.removeprefix("app settings: ") for line in problems)
        return failed(counted(len(problems), "problem"), remedy, details)
    if missing := without(subject.context.environment):
        names = ", ".join(missing)
        return attention(
            f"{names} is a Key Vault reference that Azure did not resolve: the app does without, and tells nobody",
            "python3 infra/operate.py secrets asks for the address; or azd env set NOTIFY false, then azd provision",
        )
    return ok("complete and valid")


async def _sync_toml(subject: Subject) -> Finding:
    path = subject.context.settings.sync.config
    try:
        config = subject.context.config
    except ConfigurationError as error:
        return failed(f"{path} cannot be used", "fix it; its comments explain every option", error.message.splitlines())
    if not config.tables:
        return failed(f"{path} maps no table", "add a section such as [contact.fields]: without it nothing is synced")
    return ok(f"{counted(len(config.tables), 'table')} mapped in {path}")


async def knock(subject: Subject, vendor: str, url: str, path: str) -> httpx.Response:
    """Ask a vendor something without signing in, and note what its clock says.

    Raises ConnectionError with the class of what went wrong when the vendor does not answer.
    """
    async with httpx.AsyncClient(base_url=url, timeout=15) as http:
        before = subject.clock()
        try:
            response = await http.get(path)
        except httpx.HTTPError as error:
            raise ConnectionError(type(error).__name__) from None
        ours = (before + subject.clock()) / 2
    if theirs := http_date(response.headers.get("Date", "")):
        # The header has whole seconds: on average it is half a second behind.
        subject.clocks[vendor] = theirs.timestamp() + 0.5 - ours
    return response


async def _clock(subject: Subject) -> Finding:
    if not subject.clocks:
        return skipped("dynamics-url", "no vendor has told its time")
    worst = max(abs(ahead) for ahead in subject.clocks.values())
    if worst <= CLOCK_ATTENTION:
        return ok(f"at most {worst:.0f} s from {' and '.join(sorted(subject.clocks))}")
    details = [
        f"this machine is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} {vendor}"
        for vendor, ahead in sorted(subject.clocks.items())
        if abs(ahead) > CLOCK_ATTENTION
    ]
    now = datetime.fromtimestamp(subject.clock(), UTC).strftime("%Y-%m-%d %H:%M:%S")
    remedy = f"let this machine's clock be set by a time server; it says {now} UTC"
    if worst > CLOCK_FAILED:
        return failed(f"{worst:.0f} s wrong: tokens and signatures are refused", remedy, details)
    return attention(f"{worst:.0f} s wrong", remedy, details)


CHECKS = (
    Check("settings", GROUP, "App settings", _settings),
    Check("sync-toml", GROUP, "Fields and policies", _sync_toml, needs=("settings",)),
    Check("clock", GROUP, "Clock", _clock, needs=("settings",), after=("dynamics-url", "marketo-url")),
)
