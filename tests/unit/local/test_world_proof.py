"""The demo's verdict: it must fail for everything that is not as expected, wherever that shows."""

from collections import Counter
from typing import Any

import pytest

from local.demo.proof import Proof, prove
from local.demo.script import MALFORMED, Script, write_script
from local.demo.watch import Letter, Waiting
from local.world import SMALL, Expectations, build, compare, expect
from local.world.relations import Reason

WORLD = build(1, SMALL)
SCRIPT: Script = write_script(WORLD, now=1_760_000_000)
EXPECTATIONS: Expectations = expect(
    WORLD, announced=SCRIPT.announced, gone=SCRIPT.gone, refused={("account", WORLD.troubled_account): "1003"}
)


def findings() -> dict[str, Any]:
    """What a run finds when everything is right."""
    letters = [Letter(row.detail, "refused", "", row.source) for row in EXPECTATIONS.absent_for(Reason.REFUSED)]
    letters += [Letter(code, "malformed", "", None) for code in SCRIPT.refusals.elements()]
    return {
        "letters": letters,
        "parked": [
            *(Waiting(row.source, "", min(row.parents)) for row in EXPECTATIONS.absent_for(Reason.WAITS)),
            *(Waiting(source, "", min(parents)) for source, parents in EXPECTATIONS.linked_later.items()),
        ],
        "stored": EXPECTATIONS.counts(),
        "statuses": {202: len(SCRIPT.webhooks), 400: 1, 401: 1},
    }


def verdict(**changed: Any) -> Proof:
    records: dict[str, list[tuple[Any, dict[str, Any]]]] = {
        entity: [(key, _any_of(record.fields)) for key, record in found.items()]
        for entity, found in EXPECTATIONS.records.items()
    }
    return prove(EXPECTATIONS, SCRIPT, compare(EXPECTATIONS, records), **{**findings(), **changed})


def _any_of(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: min(value) if isinstance(value, frozenset) else value for name, value in fields.items()}


def test_a_run_in_which_everything_is_right_is_proven() -> None:
    proof = verdict()
    assert proof.ok, list(proof.differences())
    lines = {line.reason: (line.expected, line.found, line.kept) for line in proof.absences}
    assert lines["refused by Marketo"] == (2, 2, "queue dead-letters")
    assert lines["application user"] == (1, 1, "nowhere (nothing to do)")
    assert lines["notification: NotJson"] == (2, 2, "queue dead-letters")
    assert all(expected == found for expected, found, _ in lines.values())


GOOD = findings()


@pytest.mark.parametrize(
    "changed",
    [
        {"letters": GOOD["letters"][1:]},
        {"letters": GOOD["letters"][:-1]},
        {"letters": [*GOOD["letters"], Letter("1003", "", "person", ("lead", "somebody"))]},
        {"letters": [*GOOD["letters"], Letter("NotJson", "", "", None)]},
        {"letters": [Letter("611", "", "", letter.source) for letter in GOOD["letters"]]},
        {"parked": GOOD["parked"][1:]},
        {"parked": [*GOOD["parked"], Waiting(("lead", "somebody"), "person", ("company", "a"))]},
        {"parked": [Waiting(waiting.source, "person", ("company", "other")) for waiting in GOOD["parked"]]},
        {"stored": {**GOOD["stored"], "person": GOOD["stored"]["person"] + 1}},
        {"statuses": {202: 2, 400: 1, 401: 1, 503: 1}},
    ],
)
def test_whatever_is_lost_kept_elsewhere_or_too_many_fails_the_proof(changed: dict[str, Any]) -> None:
    proof = verdict(**changed)
    assert not proof.ok
    assert list(proof.differences())


def test_the_script_has_children_before_parents_repeats_and_nonsense() -> None:
    entities = [posting.entity for posting in SCRIPT.postings]
    middle = {
        entity: sum(i for i, e in enumerate(entities) if e == entity) / entities.count(entity)
        for entity in set(entities)
    }
    assert middle["opportunity_role"] < middle["opportunity"] < middle["person"] < middle["company"]
    assert middle["company"] < middle["sales_person"]
    bodies = Counter(posting.body for posting in SCRIPT.postings)
    assert sum(count - 1 for count in bodies.values()) >= len(SCRIPT.announced) * 0.08
    assert entities.count(MALFORMED) == SCRIPT.refusals.total() == 10


def test_old_values_come_last_and_are_no_longer_in_dynamics() -> None:
    assert "Yesterday's value" in str(SCRIPT.postings[-1].body) or SCRIPT.postings[-1].entity == "opportunity_role"
    rows = [row for table in WORLD.rows.values() for row in table.values()]
    assert not any("Yesterday's value" in row.values() for row in rows)


def test_some_parents_are_only_asked_for_by_their_children() -> None:
    companies = {source for record in EXPECTATIONS.records["company"].values() for source in record.sources}
    assert len(companies - SCRIPT.announced) == 3
    sellers = {source for record in EXPECTATIONS.records["sales_person"].values() for source in record.sources}
    assert len(sellers - SCRIPT.announced) == 1
