"""`msisync register` and `unregister` against Dataverse over TLS: every damage repaired, every refusal explained."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from emulators.dataverse import constants
from emulators.dataverse.environment import Fault
from emulators.dataverse.harness import RecordingQueues, Running, running
from emulators.dataverse.store import Row
from shared.cli.command import Exit, Result
from shared.cli.context import Context
from shared.cli.main import parser
from shared.dataverse.client import DataverseClient
from shared.model.errors import ConfigurationError, DataverseError
from tests.support import settings
from tests.support.commands import shown

SEND = "Endpoint=sb://contoso-sync.servicebus.windows.net/;SharedAccessKeyName=dataverse-send;SharedAccessKey=a2V5PT0="
HOOK = "https://contoso-sync.azurewebsites.net/api/receive_webhook"
ENVIRONMENT = settings.ENVIRONMENT | {
    "ServiceBusConnection": "",
    "ServiceBusConnection__fullyQualifiedNamespace": "contoso-sync.servicebus.windows.net",
    "CHANGES_SEND_CONNECTION": SEND,
    "WEBHOOK_URL": HOOK,
    "WEBHOOK_KEY": "function-key",
}
TABLES = ("systemuser", "account", "lead", "contact", "opportunity", "connection")
REGISTRATION = ("serviceendpoint", "sdkmessageprocessingstep", "sdkmessageprocessingstepimage")
NOTHING: dict[str, dict[str, Row]] = {name: {} for name in REGISTRATION}
SYNC_TOML = Path(__file__).parents[2] / "sync.toml"


class Admin:
    """An operator with the command line, at one environment."""

    def __init__(self, api: Running) -> None:
        self.api = api
        self.environment = dict(ENVIRONMENT)
        self.progress = StringIO()
        self.requests: list[httpx.Request] = []

    async def run(self, line: str) -> Result:
        given = parser().parse_args([*line.split(), "--json"])
        context = Context(self.environment)
        http = httpx.AsyncClient(
            base_url=constants.ORGANIZATION_URL, transport=self.api.transport(), event_hooks={"request": [self._note]}
        )
        loop = asyncio.get_running_loop()
        context.dataverse = DataverseClient(http, self, clock=loop.time, sleep=asyncio.sleep)  # type: ignore[arg-type]  # signs in by the two methods below
        try:
            result: Result = await given.command.run(context, given, Console(file=self.progress, width=200))
        finally:
            await context.close()
        return result

    async def todo(self, line: str = "register") -> list[dict[str, Any]]:
        """What a dry run would do."""
        result = await self.run(line)
        actions: list[dict[str, Any]] = result.data["actions"]
        assert result.exit == (Exit.ATTENTION if actions or result.data["attention"] else Exit.OK)
        return actions

    async def apply(self, line: str = "register") -> Result:
        result = await self.run(f"{line} --apply")
        assert result.data["remaining"] == []
        return result

    async def token(self) -> str:
        return self.api.access_token()

    def refuse(self, _token: str) -> None:
        raise AssertionError("the token was refused")

    async def _note(self, request: httpx.Request) -> None:
        self.requests.append(request)

    # -- looks into Dataverse, and faults --------------------------------------------------------------------------

    def rows(self, table: str) -> list[Row]:
        return list(self.api.environment.store.rows[table].values())

    def registered(self) -> dict[str, dict[str, Row]]:
        return {name: dict(self.api.environment.store.rows[name]) for name in REGISTRATION}

    def fail(self, **fault: Any) -> None:
        self.api.environment.faults.append(Fault(**fault))


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with running(empty=True, queues=RecordingQueues()) as api:
        yield Admin(api)


@pytest.fixture
async def registered(admin: Admin) -> Admin:
    await admin.apply()
    return admin


# -- from nothing -------------------------------------------------------------------------------------------------


async def test_a_dry_run_writes_nothing_and_says_what_it_would_write(admin: Admin) -> None:
    result = await admin.run("register")
    assert result.exit == Exit.ATTENTION
    assert admin.registered() == NOTHING
    assert {request.method for request in admin.requests} == {"GET"}
    text = shown(result)
    assert "+ create endpoint msisync" in text
    assert "+ create step contact Update: missing" in text
    assert "Nothing has been written" in text
    first, *others = json.loads(json.dumps(result.data))["actions"]
    assert (first["component"], first["values"]["path"]) == ("endpoint", "dynamics-changes")
    watched = next(a["values"]["filteringattributes"] for a in others if a["what"] == "step contact Update")
    assert {"firstname", "ownerid", "statecode"} <= set(watched.split(","))


async def test_it_writes_endpoint_steps_and_images_and_then_has_nothing_to_do(admin: Admin) -> None:
    result = await admin.apply()
    assert result.exit == Exit.OK
    (endpoint,) = admin.rows("serviceendpoint")
    assert (endpoint["name"], endpoint["path"], endpoint["messageformat"]) == ("msisync", "dynamics-changes", 2)
    assert endpoint["issaskeyset"]
    steps = admin.rows("sdkmessageprocessingstep")
    assert {row["name"] for row in steps} == {
        f"msisync: {table} {message}" for table in TABLES for message in ("Create", "Update", "Delete")
    } | {"msisync: team Update", "msisync: connectionrole Update"}
    assert {(row["stage"], row["mode"], row["statecode"], row["asyncautodelete"]) for row in steps} == {
        (40, 1, 0, True)
    }
    images = admin.rows("sdkmessageprocessingstepimage")
    by_id = admin.registered()["sdkmessageprocessingstep"]
    owners = {by_id[image["_sdkmessageprocessingstepid_value"]]["name"] for image in images}
    assert owners == {"msisync: connection Update", "msisync: connection Delete"}
    assert admin.progress.getvalue().count(": done") == 23
    assert await admin.todo() == []
    assert "Nothing to do" in shown(await admin.run("register"))


async def test_what_is_registered_is_read_in_three_requests(registered: Admin) -> None:
    registered.requests.clear()
    assert await registered.todo() == []
    reads = [request for request in registered.requests if "EntityDefinitions" not in request.url.path]
    assert len(reads) == 3


async def test_no_secret_shows(admin: Admin) -> None:
    result = await admin.apply()
    assert "a2V5PT0=" not in shown(result) + json.dumps(result.data) + admin.progress.getvalue()


async def test_components_are_put_into_the_solution(admin: Admin) -> None:
    await admin.apply("register --solution contoso_sync")
    writes = [request for request in admin.requests if request.method != "GET"]
    assert len(writes) == 23
    assert {request.headers["MSCRM.SolutionUniqueName"] for request in writes} == {"contoso_sync"}


def test_a_solution_is_named_by_its_unique_name() -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["register", "--solution", "Contoso Sync"])


async def test_the_text_stays_readable_on_a_narrow_screen(admin: Admin) -> None:
    text = shown(await admin.run("register"), width=40)
    assert max(map(len, text.splitlines())) <= 40


async def test_a_column_that_dynamics_does_not_have_is_left_out_and_said(admin: Admin) -> None:
    admin.api.environment.switches.removed_columns = {"contact": ["department"]}
    result = await admin.apply()
    assert {"table": "contact", "column": "department"} in result.data["left_out"]
    assert "contact has no column department" in shown(result)
    assert await admin.todo() == []
    admin.api.environment.switches.removed_columns = {}
    (action,) = await admin.todo()
    assert action["why"] == "it misses department"


async def test_a_new_key_is_written_when_told(registered: Admin) -> None:
    registered.environment["CHANGES_SEND_CONNECTION"] = SEND.replace("a2V5PT0=", "bmV3")
    assert await registered.todo() == []
    assert len(await registered.todo("register --new-key")) == 1
    assert (await registered.apply("register --new-key")).exit == Exit.OK
    (endpoint,) = registered.rows("serviceendpoint")
    assert endpoint["saskey"] == "bmV3"


# -- other endpoints ----------------------------------------------------------------------------------------------


async def test_other_people_s_endpoints_stay_and_one_that_posts_here_is_reported(registered: Admin) -> None:
    registered.environment["CHANGES_SEND_CONNECTION"] = SEND.replace("contoso-sync.", "elsewhere.")
    registered.environment["ServiceBusConnection__fullyQualifiedNamespace"] = "elsewhere.servicebus.windows.net"
    await registered.apply("register --name theirs")
    del registered.environment["CHANGES_SEND_CONNECTION"]
    registered.environment |= ENVIRONMENT
    before = registered.registered()
    assert (await registered.run("register")).exit == Exit.OK
    theirs = next(row for row in registered.rows("serviceendpoint") if row["name"] == "theirs")
    here = {"namespaceaddress": "sb://contoso-sync.servicebus.windows.net/"}
    assert (await registered.api.call("PATCH", f"serviceendpoints({theirs['serviceendpointid']})", here)).status == 204
    result = await registered.run("register --apply")
    assert (result.exit, result.data["actions"]) == (Exit.ATTENTION, [])
    assert "msisync unregister --name theirs --apply" in shown(result)
    assert before[REGISTRATION[1]] == registered.registered()[REGISTRATION[1]]
    await registered.apply("unregister --name theirs")
    assert (await registered.run("register")).exit == Exit.OK
    assert (await registered.run("unregister --name theirs")).data["actions"] == []  # nor does it take ours instead


# -- unregister ---------------------------------------------------------------------------------------------------


async def test_unregister_needs_no_key_and_leaves_nothing(registered: Admin) -> None:
    for name in ("CHANGES_SEND_CONNECTION", "WEBHOOK_URL", "WEBHOOK_KEY"):
        del registered.environment[name]
    before = registered.registered()
    assert len(await registered.todo("unregister")) == 23
    assert registered.registered() == before
    assert (await registered.apply("unregister")).exit == Exit.OK
    assert registered.registered() == NOTHING
    assert await registered.todo("unregister") == []


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["serviceendpoint", "sdkmessageprocessingstep", "sdkmessageprocessingstepimage"])
async def test_a_missing_privilege_names_the_role_and_what_was_done(admin: Admin, table: str) -> None:
    admin.api.environment.switches.no_write_privilege = [table]
    with pytest.raises(DataverseError, match="System Customizer") as refused:
        await admin.run("register --apply")
    assert refused.value.code == "0x80040220"
    done = {"serviceendpoint": "done before it: nothing", "sdkmessageprocessingstep": "done before it: create endpoint"}
    assert done.get(table, "create step connection Update") in refused.value.message
    assert "run the same command again" in refused.value.message
    admin.api.environment.switches.no_write_privilege = []
    assert (await admin.apply()).exit == Exit.OK
    assert len(admin.rows("serviceendpoint")) == 1


async def test_what_may_not_be_read_names_the_role(admin: Admin) -> None:
    admin.api.environment.switches.no_read_privilege = ["serviceendpoint"]
    for command in ("register", "unregister"):
        with pytest.raises(DataverseError, match="System Customizer"):
            await admin.run(command)


async def test_what_an_outage_has_cut_off_is_completed_by_the_next_run(admin: Admin) -> None:
    """A run that stops at any other write is in tests/unit/cli/register/test_plan.py."""
    writes = count(1)

    async def fail_the_tenth(request: httpx.Request) -> None:
        if request.method == "POST" and next(writes) == 10:
            admin.fail(method="POST", status=500, code="0x80044150")

    admin._note = fail_the_tenth  # type: ignore[method-assign]
    with pytest.raises(DataverseError):
        await admin.run("register --apply")
    assert admin.progress.getvalue().count(": done") == 9
    assert (await admin.apply()).exit == Exit.OK
    assert len(admin.rows("sdkmessageprocessingstep")) == 20
    assert len(admin.rows("serviceendpoint")) == 1


async def test_throttling_is_waited_out(admin: Admin) -> None:
    admin.fail(method="POST", status=429, code="0x80072322", retry_after=0.01, times=2)
    assert (await admin.apply()).exit == Exit.OK
    assert len(admin.rows("sdkmessageprocessingstep")) == 20


async def test_a_step_that_somebody_else_deletes_meanwhile_is_no_error(registered: Admin) -> None:
    registered.fail(method="DELETE", status=404, code="0x80040217", match="sdkmessageprocessingsteps")
    with pytest.raises(DataverseError, match="0x80040227"):
        await registered.run("unregister --apply")  # the simulator keeps the step, so its endpoint stays
    assert (await registered.apply("unregister")).exit == Exit.OK


async def test_wrong_settings_are_refused_before_anything_is_asked(admin: Admin) -> None:
    admin.environment |= {"CHANGES_SEND_CONNECTION": "", "WEBHOOK_KEY": ""}
    for line, code in (("register", "NoSendConnection"), ("register --webhook", "NoWebhook")):
        with pytest.raises(ConfigurationError, match=code):
            await admin.run(line)
    assert admin.requests == []


async def test_a_sync_toml_without_tables_registers_nothing(admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "sync.toml").write_text("language = 1033\n")
    admin.environment["SYNC_CONFIG"] = str(tmp_path / "sync.toml")
    with pytest.raises(ConfigurationError, match=r"add \[account\.fields\]"):
        await admin.run("register")


async def test_a_table_taken_out_of_sync_toml_loses_its_steps(registered: Admin, tmp_path: Path) -> None:
    text = SYNC_TOML.read_text().replace("[connection.fields]\nexternalCreatedDate", "# ")
    (tmp_path / "sync.toml").write_text(text)
    registered.environment["SYNC_CONFIG"] = str(tmp_path / "sync.toml")
    assert [action["what"] for action in await registered.todo()] == [
        "step connection Create", "image of step connection Delete", "step connection Delete",
        "image of step connection Update", "step connection Update", "step connectionrole Update",
    ]  # fmt: skip
    await registered.apply()
    assert registered.rows("sdkmessageprocessingstepimage") == []
