"""The msisync command itself: what it gives, its exit codes, how errors look."""

import asyncio
import json
import sys
from typing import Any

import pytest
from rich.console import Console

from shared.cli.command import Exit, Result
from shared.cli.peek import QueueUnavailable
from shared.model.codes import Kind
from shared.model.errors import ConfigurationError, DataverseError, MarketoError, SignInError, VendorError
from tests.support.command_line import Msisync, look, result

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.mark.parametrize("code", [Exit.OK, Exit.ATTENTION, Exit.FAILED])
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
def test_the_exit_code_is_that_of_the_result(msisync: Msisync, code: Exit, as_json: tuple[str, ...]) -> None:
    async def done(*_: Any) -> Result:
        return result(code)

    assert msisync("look", *as_json, does=done) == code


def test_people_get_text_and_progress_beside_it(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("look", does=look) == 0
    said = capsys.readouterr()
    assert said.out == "fine\n{'name': 'look'}\n"
    assert said.err == "looking …\n"


def test_programs_get_one_json_object_and_nothing_else(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("look", "--json", does=look) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"name": "look"}
    assert said.err == ""


def test_a_command_of_two_words_is_found_in_its_group(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    assert msisync("things", "look", "--json", does=look, name="things look") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "things look"}


def test_an_error_has_code_and_remedy(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    async def refuse(*_: Any) -> Result:
        raise SignInError("AADSTS50126", "check [DATAVERSE_USERNAME]")

    assert msisync("look", does=refuse) == Exit.FAILED
    assert capsys.readouterr() == ("", "AADSTS50126: check [DATAVERSE_USERNAME]\n")
    assert msisync("look", "--json", does=refuse) == Exit.FAILED
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": {"code": "AADSTS50126", "message": "check [DATAVERSE_USERNAME]"}}
    assert said.err == ""


@pytest.mark.parametrize("vendor", [MarketoError, DataverseError])
def test_an_outage_names_the_system_and_what_to_do(
    msisync: Msisync, capsys: pytest.CaptureFixture[str], vendor: type[VendorError]
) -> None:
    async def ask(*_: Any) -> Result:
        raise vendor("Unreachable", "no answer: ConnectError", kind=Kind.TRANSIENT)

    who = {"marketo": "Marketo", "dataverse": "Dynamics"}[vendor.system]
    assert msisync("look", does=ask) == Exit.FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"Unreachable: {who}: no answer: ConnectError"
    assert second.startswith(f"  next: {who} is unwell or out of reach: try again")
    assert second.endswith("msisync doctor")
    assert msisync("look", "--json", does=ask) == Exit.FAILED
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["message"]) == ("Unreachable", f"{who}: no answer: ConnectError")
    assert error["system"] == vendor.system
    assert "msisync doctor" in error["remedy"]


def test_an_output_that_cannot_be_written_is_no_defect(
    msisync: Msisync, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Console) -> None:
        raise OSError(28, "No space left on device")

    async def much(*_: Any) -> Result:
        return Result(Exit.OK, {}, full)

    assert msisync("look", does=much) == Exit.FAILED
    assert capsys.readouterr().err == "NotWritten: the output could not be written: No space left on device\n"
    monkeypatch.setattr(sys, "stdout", None)
    assert msisync("look", does=look) == Exit.OK
    sys.stdout.close()


def test_of_several_answers_that_did_not_come_one_is_told(msisync: Msisync, caplog: pytest.LogCaptureFixture) -> None:
    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise MarketoError("Unreachable", "no answer: ConnectError", kind=Kind.TRANSIENT)

    async def ask(*_: Any) -> Result:
        tasks = [asyncio.ensure_future(late())]
        await asyncio.sleep(0)
        raise DataverseError("Unreachable", f"no answer to {len(tasks)}", kind=Kind.TRANSIENT)

    assert msisync("look", does=ask) == Exit.FAILED
    assert caplog.records == []


def test_a_service_bus_that_does_not_answer_leads_to_its_checks(
    msisync: Msisync, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ask(*_: Any) -> Result:
        raise QueueUnavailable("NoAnswer", "Service Bus does not answer")

    next_ = "msisync doctor --only bus queues"
    assert msisync("look", does=ask) == Exit.FAILED
    assert capsys.readouterr().err == f"NoAnswer: Service Bus does not answer\n  next: {next_}\n"
    assert msisync("look", "--json", does=ask) == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["error"]["remedy"] == next_


def test_lines_of_long_errors_are_whole_in_a_pipe(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"/etc/msisync/sync.toml: lead.fields.{name}: {'must be a column in quotes, ' * 6}" for name in "xy"]

    async def refuse(*_: Any) -> Result:
        raise ConfigurationError("BadSyncConfig", "\n".join(lines))

    assert msisync("look", does=refuse) == Exit.FAILED
    assert capsys.readouterr().err == "BadSyncConfig: " + "\n".join(lines) + "\n"


def test_a_defect_fails_with_its_traceback(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    async def stumble(*_: Any) -> Result:
        raise ZeroDivisionError

    assert msisync("look", does=stumble) == Exit.FAILED
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ZeroDivisionError" in said
    assert msisync("look", "--json", does=stumble) == Exit.FAILED
    in_json = capsys.readouterr()
    assert "Traceback" in in_json.err
    assert "ZeroDivisionError" in json.loads(in_json.out)["error"]["message"]


def test_ctrl_c_ends_without_a_traceback(msisync: Msisync, capsys: pytest.CaptureFixture[str]) -> None:
    async def interrupted(*_: Any) -> Result:
        raise KeyboardInterrupt

    assert msisync("look", does=interrupted) == 130
    assert capsys.readouterr().err == "Interrupted: stopped by the keyboard\n"
