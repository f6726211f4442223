"""The plan of an initial sync: when it is green, and what it says of a million rows."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.cli.command import Exit
from shared.cli.doctor.command import CHECKS
from shared.cli.finding import Finding, attention, failed, ok
from shared.cli.initial_sync.look import TablePlan
from shared.cli.initial_sync.plan import Plan
from shared.sync.preview import Fate, Foreseen
from tests.support.commands import printed
from tests.support.run_commands import MARKETO
from tests.support.values import guid

NOON = datetime(2026, 3, 3, 18, tzinfo=UTC)


def contacts(**fates: int) -> TablePlan:
    found = Counter({Fate(name): count for name, count in fates.items()})
    ambiguous = [Foreseen(guid(number), Fate.AMBIGUOUS, (1, 2)) for number in range(found[Fate.AMBIGUOUS])]
    return TablePlan("contact", found.total(), found.total(), found, ambiguous)


def plan(*tables: TablePlan, finding: Finding | None = None, **changes: Any) -> Plan:
    return Plan(NOON, tables, {CHECKS[0]: finding or ok()}, **{"marketo": MARKETO, "used_today": 0, **changes})


@pytest.mark.parametrize(
    ("finding", "fates", "exit_"),
    [
        (ok(), {"created": 5}, Exit.OK),
        (ok(), {"created": 5, "ambiguous": 1}, Exit.ATTENTION),
        (attention("a", "b"), {"created": 5}, Exit.ATTENTION),
        (failed("a", "b"), {"created": 5, "ambiguous": 1}, Exit.FAILED),
    ],
)
def test_it_is_green_when_nobody_has_to_do_anything(finding: Finding, fates: dict[str, int], exit_: Exit) -> None:
    made = plan(contacts(**fates), finding=finding)
    assert made.exit is exit_
    assert made.as_json()["green"] is (exit_ is Exit.OK)


def test_a_million_persons_take_hours_and_a_part_of_the_day() -> None:
    sampled = TablePlan("contact", 1_100_000, 1_000_000, Counter({Fate.CREATED: 2400, Fate.ADOPTED: 600}))
    made = plan(TablePlan("account", 100_000, 90_000), sampled)
    assert made.records == 1_090_000
    data = made.as_json()
    assert data["tables"]["contact"]["expected"] == {"created": 800_000, "adopted": 200_000}
    assert data["tables"]["account"] == {"rows": 100_000, "kept": 90_000}
    assert 10_000 < data["marketo_calls"]["least"] < data["marketo_calls"]["most"] < 30_000
    assert 2.5 < data["hours_at_full_share"] <= 3.1
    text = printed(made.show)
    assert "~800,000" in text
    assert "Marketo was asked about 3,000 of 1,000,000 contacts" in text
    assert "RUN_DAILY_SHARE=0.4" in text


def test_the_table_fits_into_80_columns_and_has_the_fates_that_somebody_has() -> None:
    million = TablePlan("opportunity", 1_000_000, 1_000_000)
    sampled = TablePlan(
        "contact", 1_100_000, 1_000_000, Counter({Fate.CREATED: 2400, Fate.ADOPTED: 500, Fate.QUALIFIED: 100})
    )
    text = printed(plan(million, sampled).show, width=80)
    head, _, contact = [line.split() for line in text.splitlines()][:3]
    assert head == ["rows", "kept", "created", "adopted", "left", "out"]
    assert contact == ["contact", "1,100,000", "1,000,000", "~800,000", "~166,667", "~33,333"]
    assert "…" not in text


def test_a_plan_of_one_call_says_so() -> None:
    assert "About 1 Marketo call," in printed(plan(TablePlan("systemuser", 3, 3)).show)


def test_what_the_app_has_used_today_delays_the_end() -> None:
    many = TablePlan("contact", 6_000_000, 6_000_000, Counter({Fate.UPDATED: 3000}))
    assert plan(many).ends < plan(many, used_today=29_000).ends
    assert plan(many).earliest <= plan(many).ends


def test_findings_and_ambiguous_rows_are_listed_with_what_to_do() -> None:
    text = printed(plan(contacts(ambiguous=20), finding=failed("it is broken", "mend it")).show)
    assert "it is broken" in text
    assert "To do: mend it" in text
    assert text.count("persons 1, 2") == 12
    assert "and 8 more; see --json" in text
    assert "msisync link contact ID MARKETO_ID" in text


def test_without_tables_only_the_reason_and_the_findings_are_shown() -> None:
    made = plan(finding=ok(), unread="401: nobody can sign in")
    assert (made.records, made.calls, made.ends, made.exit) == (0, (0, 0), NOON, Exit.FAILED)
    assert "401: nobody can sign in" in printed(made.show)
    assert "Marketo calls" not in printed(made.show)


def test_a_policy_that_doubles_persons_is_named() -> None:
    assert "match_email of sync.toml is false" in printed(plan(contacts(created=1), match_email=False).show)
