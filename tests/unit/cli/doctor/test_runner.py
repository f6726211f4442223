"""The doctor's order of checks: what is skipped because of what, how it ends, how it is told."""

import asyncio
import io
import json
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from rich.console import Console

from shared.cli.command import Exit, Result
from shared.cli.context import Context
from shared.cli.doctor.command import CHECKS, COMMAND, result
from shared.cli.doctor.runner import Check, Examination, Subject, examine, with_needs
from shared.cli.finding import Finding, Severity, attention, failed, ok
from shared.model.codes import Kind
from shared.model.errors import ConfigurationError, MarketoError

Run = Callable[[Subject], Awaitable[Finding]]


def gives(finding: Finding) -> Run:
    async def run(_: Subject) -> Finding:
        return finding

    return run


def raises(error: Exception) -> Run:
    async def run(_: Subject) -> Finding:
        raise error

    return run


def check(name: str, run: Run | Finding, *needs: str, after: tuple[str, ...] = ()) -> Check:
    return Check(name, "Group", name.title(), gives(run) if isinstance(run, Finding) else run, needs, after)


async def made(*checks: Check, limit: float = 5.0) -> dict[str, Finding]:
    subject = Subject(Context({}))
    try:
        return await examine(checks, subject, limit=limit, done=lambda *_: None)
    finally:
        await subject.close()


def shown(outcome: Result, *, width: int = 200, encoding: str = "utf-8", terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    look: dict[str, Any] = {"soft_wrap": not terminal, "force_terminal": terminal, "color_system": None}
    outcome.show(Console(file=file, width=width, highlight=False, **look))
    return raw.getvalue().decode(encoding)


async def test_what_needs_a_failed_check_is_skipped_and_names_the_first_culprit() -> None:
    found = await made(
        check("address", failed("does not answer", "see the address")),
        check("sign-in", ok(), "address"),
        check("user", ok(), "sign-in"),
        check("queue", ok()),
    )
    assert {name: (finding.severity, finding.because) for name, finding in found.items()} == {
        "address": (Severity.FAILED, ""), "sign-in": (Severity.SKIPPED, "address"),
        "user": (Severity.SKIPPED, "address"), "queue": (Severity.OK, ""),
    }  # fmt: skip


async def test_attention_lets_the_others_go_on_unless_it_blocks() -> None:
    found = await made(
        check("quota", attention("nearly used", "buy more")),
        check("fields", ok(), "quota"),
        check("endpoint", attention("cannot be seen", "grant it", blocks=True)),
        check("steps", ok(), "endpoint"),
    )
    assert found["fields"].severity is Severity.OK
    assert (found["steps"].severity, found["steps"].because) == (Severity.SKIPPED, "endpoint")


async def test_independent_checks_run_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def run(_: Subject) -> Finding:
        await both.wait()
        return ok()

    found = await made(check("one", run), check("other", run))
    assert {finding.severity for finding in found.values()} == {Severity.OK}


async def test_a_check_that_only_comes_after_another_is_made_even_when_that_one_failed() -> None:
    order: list[str] = []

    async def late(_: Subject) -> Finding:
        await asyncio.sleep(0)
        order.append("address")
        return failed("gone", "look")

    async def clock(_: Subject) -> Finding:
        order.append("clock")
        return ok()

    found = await made(check("clock", clock, after=("address",)), check("address", late))
    assert (order, found["clock"].severity) == (["address", "clock"], Severity.OK)


async def test_an_error_of_a_vendor_is_told_with_its_code_and_what_to_do() -> None:
    throttled = MarketoError("606", "Max rate limit exceeded", kind=Kind.THROTTLED)
    unwell = MarketoError("Unreachable", "no answer: ConnectError", kind=Kind.TRANSIENT)
    found = await made(
        check("quota", raises(throttled)),
        check("fields", raises(unwell)),
        check("toml", raises(ConfigurationError("BadSyncConfig", "line 3: what is this"))),
    )
    assert (found["quota"].text, found["quota"].severity) == ("marketo answered 606: Max rate limit exceeded", "failed")
    assert "try again in some minutes" in found["quota"].remedy
    assert "status page" in found["fields"].remedy
    assert "line 3" in found["toml"].text


async def test_a_check_that_breaks_fails_alone_and_its_text_is_kept_back() -> None:
    found = await made(check("one", raises(RuntimeError("password=hunter2"))), check("other", ok()))
    assert (found["one"].severity, found["other"].severity) == (Severity.FAILED, Severity.OK)
    assert "RuntimeError" in found["one"].text
    assert "hunter2" not in str(found["one"])


async def test_a_check_without_an_answer_ends_at_its_limit() -> None:
    async def hang(_: Subject) -> Finding:
        await asyncio.Event().wait()
        return ok()

    found = await made(check("one", hang), check("two", ok(), "one"), limit=0.05)
    assert (found["one"].severity, found["two"].because) == (Severity.FAILED, "one")
    assert "no answer within 0.05 seconds" in found["one"].text


async def test_what_several_checks_ask_is_asked_once_and_fails_for_all_of_them() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise MarketoError("603", "Access denied", kind=Kind.CONFIGURATION)

    async def run(subject: Subject) -> Finding:
        await subject.once("fields", ask)
        return ok()

    found = await made(check("one", run), check("other", run))
    assert asked == 1
    assert {finding.severity for finding in found.values()} == {Severity.FAILED}


async def test_an_impatient_check_does_not_end_what_another_one_waits_for() -> None:
    released = asyncio.Event()

    async def ask() -> str:
        await released.wait()
        return "answer"

    async def patient(subject: Subject) -> Finding:
        return ok(await subject.once("question", ask))

    subject = Subject(Context({}))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await subject.once("question", ask)
    released.set()
    assert (await patient(subject)).text == "answer"
    await subject.close()


@pytest.mark.parametrize(
    ("findings", "exit_"),
    [
        ([ok(), ok()], Exit.OK),
        ([ok(), attention("low", "look")], Exit.ATTENTION),
        ([attention("low", "look"), failed("gone", "fix")], Exit.FAILED),
    ],
)
def test_the_worst_finding_gives_the_exit_code(findings: list[Finding], exit_: Exit) -> None:
    checks = [check(f"c{number}", finding) for number, finding in enumerate(findings)]
    found = {c.id: f for c, f in zip(checks, findings, strict=True)}
    assert judged(checks, found).exit is exit_


def judged(checks: Sequence[Check], found: dict[str, Finding]) -> Result:
    """What the command says of these findings, made in 1.25 seconds."""
    context: Any = None
    return result(Examination(context, checks, found=found, seconds=1.25))


def sample() -> Result:
    checks = [
        Check("settings", "Set-up", "App settings", gives(ok())),
        Check("address", "Dynamics", "Address", gives(ok())),
        Check("sign-in", "Dynamics", "Sign-in", gives(ok()), ("address",)),
        Check("calls", "Marketo", "Calls", gives(ok())),
    ]
    found = {
        "settings": ok("complete and valid"),
        "address": failed("it does not answer at all today", "compare DATAVERSE_URL [x]", ["first", "second"]),
        "sign-in": Finding(Severity.SKIPPED, because="address", blocks=True),
        "calls": attention("45,000 of 50,000 used", "buy more"),
    }
    return judged(checks, found)


def test_people_get_one_line_a_check_with_its_id_and_below_it_what_to_do() -> None:
    text = shown(sample())
    assert text.splitlines() == [
        "Set-up",
        "  ✔ settings  App settings: complete and valid",
        "Dynamics",
        "  ✖ address   Address: it does not answer at all today",
        "      - first",
        "      - second",
        "      To do: compare DATAVERSE_URL [x]",
        "Marketo",
        "  ! calls     Calls: 45,000 of 50,000 used",
        "      To do: buy more",
        "Skipped",
        "  · 1 because of address: sign-in",
        "",
        "Fix first: Dynamics, Address (address)",
        "1 ok, 1 attention, 1 failed, 1 skipped; 1.2 s",
    ]


def test_a_heading_is_printed_once_wherever_its_checks_stand_in_the_table() -> None:
    checks = [Check(name, group, name, gives(ok())) for name, group in (("a", "Bus"), ("b", "Storage"), ("c", "Bus"))]
    lines = shown(judged(checks, dict.fromkeys("abc", ok()))).splitlines()
    assert lines[:5] == ["Bus", "  ✔ a  a", "  ✔ c  c", "Storage", "  ✔ b  b"]
    everything = shown(judged(CHECKS, {each.id: ok() for each in CHECKS})).splitlines()
    headings = [line for line in everything if line and not line.startswith(" ")]
    assert sorted(headings) == sorted(set(headings))
    assert max(map(len, everything)) <= 80


def test_a_narrow_terminal_wraps_and_keeps_its_indent() -> None:
    lines = shown(sample(), width=40, terminal=True).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert "".join(line.strip() + " " for line in lines).count("it does not answer at all today") == 1


def test_a_console_without_unicode_gets_ascii_marks() -> None:
    text = shown(sample(), encoding="ascii")
    assert "+ settings" in text
    assert "x address" in text
    assert "! calls" in text
    assert "- 1 because of address" in text


def test_programs_get_every_finding_as_json() -> None:
    data = json.loads(json.dumps(sample().data))
    assert data["counts"] == {"ok": 1, "attention": 1, "failed": 1, "skipped": 1}
    assert [entry["id"] for entry in data["checks"]] == ["settings", "address", "sign-in", "calls"]
    assert data["checks"][1] == {
        "id": "address", "group": "Dynamics", "title": "Address", "status": "failed",
        "text": "it does not answer at all today", "details": ["first", "second"],
        "remedy": "compare DATAVERSE_URL [x]", "because": "",
    }  # fmt: skip
    assert data["checks"][2]["because"] == "address"


def test_a_long_list_of_details_is_counted_instead() -> None:
    assert failed("many", "fix", map(str, range(40))).details[-1] == "and 28 more"


def test_the_table_names_only_checks_that_there_are_and_has_no_circle() -> None:
    ids = [each.id for each in CHECKS]
    assert len(ids) == len(set(ids))
    done: set[str] = set()
    for _ in CHECKS:
        done |= {each.id for each in CHECKS if {*each.needs, *each.after} <= done}
    assert done == set(ids)


def test_chosen_checks_bring_what_they_need() -> None:
    chosen = [each.id for each in with_needs(CHECKS, ["dynamics-user", "storage"])]
    assert chosen == ["settings", "dynamics-url", "dynamics-sign-in", "dynamics-user", "storage"]


def test_the_help_lists_every_check_and_others_are_refused() -> None:
    assert all(each.id in COMMAND.more for each in CHECKS)
    parser = ArgumentParser(exit_on_error=False)
    COMMAND.arguments(parser)
    assert parser.parse_args(["--only", "queues", "storage"]).only == ["queues", "storage"]
    with pytest.raises(Exception, match="nonsense"):
        parser.parse_args(["--only", "nonsense"])
