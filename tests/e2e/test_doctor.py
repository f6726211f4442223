"""`msisync doctor` as a user runs it: all green when healthy, cheap, silent about secrets; and what is ours, broken."""

import asyncio
import json
import re
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from azure.servicebus.management import EntityStatus

from emulators.servicebus import connection_string
from local.harness.commands import Ended, run, run_here
from local.harness.operating import Operator, operated_system
from local.queues import DATAVERSE_KEY, DATAVERSE_POLICY
from shared.cli.doctor.command import CHECKS
from shared.cli.doctor.runner import Subject, examine, with_needs
from shared.cli.finding import Finding, Severity

MARKETO_CALLS = 16
#: The checks of what is ours in Azure, and those that they need.
OURS = with_needs(CHECKS, ["changes-key", "storage"])
MARKETO_OBJECTS = ("salespersons", "companies", "leads", "opportunities", "roles")


@pytest.fixture(scope="module")
async def operator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operator]:
    queues = {"without-sessions": {"lock_seconds": 300}, "with-sessions": {"lock_seconds": 300, "sessions": True}}
    async with operated_system(tmp_path_factory.mktemp("doctor"), queues=queues) as running:
        yield running


async def doctor(operator: Operator, *arguments: str, own_process: bool = False, **changes: str) -> Ended:
    """The command with the settings file of the stack, or one that differs in some."""
    file = operator.settings_file
    if changes:
        values = json.loads(file.read_text())["Values"]
        file = file.with_name("changed.settings.json")
        file.write_text(json.dumps({"Values": {**values, **changes}}))
    how = run if own_process else run_here
    return await how(file, "doctor", *arguments)


async def rows_of_both(operator: Operator) -> dict[str, Any]:
    """What the vendors have."""
    tables = ("systemuser", "account", "lead", "contact", "opportunity", "connection", "sdkmessageprocessingstep")
    dynamics = {table: await operator.system.dataverse(f"/rows/{table}") for table in tables}
    return dynamics | {name: await operator.system.marketo(f"/records/{name}") for name in MARKETO_OBJECTS}


async def test_a_healthy_set_up_is_all_green_within_its_budget_and_is_left_as_it_was(operator: Operator) -> None:
    before = await rows_of_both(operator)
    await operator.system.marketo("/stats/reset", {})
    await operator.system.dataverse("/stats/reset", {})
    ended = await doctor(operator, "--json", own_process=True)
    data = json.loads(ended.out)
    not_green = {each["id"]: each["text"] for each in data["checks"] if each["status"] != "ok"}
    assert (ended.code, ended.err, not_green) == (0, "", {})
    assert len(data["checks"]) == len(CHECKS)
    marketo, dataverse = await operator.system.marketo("/stats"), await operator.system.dataverse("/stats")
    assert marketo["calls_total"] <= MARKETO_CALLS
    assert (marketo["identity_calls"], dataverse["sign_ins"], dataverse["refused_sign_ins"]) == (1, 1, 0)
    assert await rows_of_both(operator) == before
    async with operator.system.table() as table:
        assert [row async for row in table.list_entities()] == []


async def test_people_get_it_in_groups_and_nothing_secret(operator: Operator) -> None:
    ended = await doctor(operator)
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "Set-up"
    assert f"{len(CHECKS)} ok, 0 attention, 0 failed, 0 skipped" in ended.out
    assert operator.secrets_in(ended.out + ended.err) == []


async def test_a_failure_is_told_first_with_its_remedy_and_ends_with_2(operator: Operator) -> None:
    ended = await doctor(operator, own_process=True, MARKETO_CLIENT_SECRET="not-the-secret")
    assert ended.code == 2
    assert "marketo-sign-in " in ended.out
    assert "To do: compare MARKETO_CLIENT_ID and MARKETO_CLIENT_SECRET" in ended.out
    assert ended.out.count("because of marketo-sign-in: ") == 1
    assert "Fix first: Marketo, Sign-in (marketo-sign-in)" in ended.out
    assert "not-the-secret" not in ended.out + ended.err
    assert operator.secrets_in(ended.out + ended.err) == []


async def test_attention_ends_with_1_and_a_choice_makes_only_what_it_needs(operator: Operator) -> None:
    ended = await doctor(operator, "--only", "marketo-quota", "--json", MARKETO_DAILY_CALLS="1000000")
    assert ended.code == 0
    names = [each["id"] for each in json.loads(ended.out)["checks"]]
    assert names == ["settings", "sync-toml", "marketo-url", "marketo-sign-in", "marketo-quota"]
    await operator.system.marketo("/limits", {"used_today": 45_000})
    ended = await doctor(operator, "--only", "marketo-quota")
    await operator.system.marketo("/limits", {"used_today": 0})
    assert (ended.code, "! marketo-quota" in ended.out) == (1, True)


async def test_a_check_that_there_is_not_is_wrong_usage(operator: Operator) -> None:
    ended = await doctor(operator, "--only", "nonsense")
    assert (ended.code, "marketo-quota" in ended.err) == (64, True)


@dataclass(frozen=True)
class Broken:
    """One broken thing of ours: which check must tell of it, with which words, and what is done to which queue."""

    check: str
    status: Severity
    words: tuple[str, ...]
    settings: Callable[[int], Mapping[str, str]] = lambda _: {}
    queue: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


def wrong_key(connection: str) -> str:
    """A connection string with a key that nobody gave."""
    return re.sub(r"(Account|SharedAccess)Key=", r"\g<0>AAAA", connection)


def policy(name: str, setting: str = "ServiceBusConnection") -> Callable[[int], Mapping[str, str]]:
    """Another shared access policy of the namespace."""
    return lambda port: {setting: connection_string(port, name)}


FAILED, ATTENTION = Severity.FAILED, Severity.ATTENTION
SEND = "CHANGES_SEND_CONNECTION"
ROOT_POLICY = "RootManageSharedAccessKey"
BREAKAGES = {
    "nobody at the address": Broken(
        "bus", FAILED, ("does not answer", "firewall"), lambda _: {"ServiceBusConnection": connection_string(1)}
    ),
    "wrong key": Broken(
        "bus",
        FAILED,
        ("refuses the credentials", "Send and Listen"),
        lambda port: {"ServiceBusConnection": wrong_key(connection_string(port))},
    ),
    "may not send": Broken("bus", FAILED, ("may not send",), policy("ListenOnly")),
    "may not manage": Broken("queues", ATTENTION, ("may not look", "Manage"), policy("SendAndListen")),
    "no such queue": Broken(
        "queues", FAILED, ("nobody does not exist", "create"), lambda _: {"PERSON_QUEUE": "nobody"}
    ),
    "no sessions": Broken("queues", FAILED, ("no sessions",), lambda _: {"PERSON_QUEUE": "without-sessions"}),
    "sessions": Broken("queues", FAILED, ("has sessions",), lambda _: {"DEAD_LETTER_QUEUE": "with-sessions"}),
    "short lock": Broken(
        "queues",
        FAILED,
        ("persons: its lock lasts 30 s", "PT5M"),
        queue="persons",
        changes={"lock_duration": timedelta(seconds=30)},
    ),
    "few deliveries": Broken(
        "queues", ATTENTION, ("companies", "3 deliveries"), queue="companies", changes={"max_delivery_count": 3}
    ),
    "messages vanish": Broken(
        "queues",
        FAILED,
        ("dynamics-changes", "vanish", "dead letters"),
        queue="dynamics-changes",
        changes={"default_message_time_to_live": timedelta(days=1), "dead_lettering_on_message_expiration": False},
    ),
    "disabled": Broken(
        "queues", FAILED, ("dead-letters", "Disabled"), queue="dead-letters", changes={"status": EntityStatus.DISABLED}
    ),
    "Dynamics may manage": Broken(
        "changes-key", ATTENTION, ("Listen", "Manage", "only Send"), policy(ROOT_POLICY, SEND)
    ),
    "Dynamics may listen": Broken("changes-key", ATTENTION, ("Listen",), policy("SendAndListen", SEND)),
    "Dynamics may not send": Broken("changes-key", FAILED, ("cannot send",), policy("ListenOnly", SEND)),
    "key of another queue": Broken(
        "changes-key",
        FAILED,
        ("no connection string of dynamics-changes",),
        lambda port: {SEND: connection_string(port, DATAVERSE_POLICY, DATAVERSE_KEY) + "EntityPath=persons"},
    ),
    "another namespace": Broken(
        "changes-key",
        ATTENTION,
        ("Dynamics posts to localhost", "the app reads from 127.0.0.1"),
        lambda port: {SEND: connection_string(port, DATAVERSE_POLICY, DATAVERSE_KEY).replace("127.0.0.1", "localhost")},
    ),
    "wrong storage key": Broken(
        "storage", FAILED, ("HTTP 403", "Storage Table Data Contributor"), lambda _: {"AzureWebJobsStorage": ""}
    ),
}


@pytest.fixture(scope="module")
async def found_by_settings(operator: Operator) -> dict[str, dict[str, Finding]]:
    """What is found with other settings. All at the same time: the SDK takes seconds, and mostly waits."""
    port = operator.system.stack.addresses.ports.service_bus
    storage = wrong_key(operator.values["AzureWebJobsStorage"])
    settings = {name: dict(b.settings(port)) for name, b in BREAKAGES.items() if not b.queue}
    settings["wrong storage key"] = {"AzureWebJobsStorage": storage}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Testing an element's truth value", DeprecationWarning)  # azure.data.tables
        found = await asyncio.gather(*(examined(operator, changed) for changed in settings.values()))
    return dict(zip(settings, found, strict=True))


@pytest.mark.parametrize("name", BREAKAGES)
async def test_one_broken_thing_of_ours_turns_exactly_one_check(
    operator: Operator, found_by_settings: Mapping[str, Mapping[str, Finding]], name: str
) -> None:
    broken = BREAKAGES[name]
    found = dict(found_by_settings[name] if not broken.queue else await found_with_changed_queue(operator, broken))
    finding = found.pop(broken.check)
    assert finding.severity == broken.status, told(finding)
    assert [word for word in broken.words if word not in told(finding)] == [], told(finding)
    wrong = {n: told(f) for n, f in found.items() if f.severity is not Severity.OK and f.because != broken.check}
    assert not wrong
    assert operator.secrets_in(told(finding)) == []


async def found_with_changed_queue(operator: Operator, broken: Broken) -> dict[str, Finding]:
    before = await operator.change_queue(broken.queue, broken.changes)
    try:
        return await examined(operator, {})
    finally:
        await operator.change_queue(broken.queue, before)


async def test_without_a_key_for_dynamics_nothing_is_wrong(operator: Operator) -> None:
    found = await examined(operator, {SEND: ""})
    assert {name: told(each) for name, each in found.items() if each.severity is not Severity.OK} == {}


async def examined(operator: Operator, settings: Mapping[str, str]) -> dict[str, Finding]:
    async with operator.context(**settings) as context:
        subject = Subject(context)
        try:
            return await examine(OURS, subject, done=lambda *_: None)
        finally:
            await subject.close()


def told(finding: Finding) -> str:
    return "\n".join([finding.text, *finding.details, finding.remedy])
