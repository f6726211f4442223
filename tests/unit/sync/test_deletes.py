"""Rows that are gone: what becomes of their records in Marketo, by the policy of sync.toml, whatever goes wrong."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.dataverse.client import MAX_ASKED
from shared.marketo.answers import Result
from shared.model.codes import Kind
from shared.model.entities import Entity
from shared.model.errors import MarketoError
from shared.model.outcome import Failed, Later, Outcome, Removed, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.deletes import SOONEST
from tests.support.deletions import DAY, FLAG, Marketo, World, deleted, lost
from tests.support.values import NOON, guid


@pytest.mark.parametrize("record", [deleted(), Record("contact", guid(10), NOON, absent=2)], ids=["told", "found out"])
async def test_a_person_is_deleted_by_its_marketo_id(world: World, record: Record) -> None:
    world.with_rules(person="delete")
    world.person()
    world.person(11)
    (outcome,) = await world.sync("person", record)
    assert isinstance(outcome, Removed)
    assert outcome.action == "deleted"
    assert world.marketo.keys("person") == [guid(11)]


async def test_a_bulk_delete_is_asked_for_in_full_and_deleted_in_full_calls(world: World) -> None:
    world.with_rules(person="delete")
    for number in range(10, 310):
        world.person(number)
    outcomes = await world.sync("person", *(deleted(number=number) for number in range(10, 310)))
    assert outcomes == [Removed("deleted", "Deleted")] * 300
    assert world.marketo.calls == [("delete", "person", 300)]
    assert world.dataverse.asked == [MAX_ASKED] * 3


async def test_a_question_that_is_not_answered_holds_its_own_rows_only(world: World) -> None:
    world.with_rules(person="delete")
    for number in range(10, 310):
        world.person(number)
    world.dataverse.away = guid(150)
    outcomes = await world.sync("person", *(deleted(number=number) for number in range(10, 310)))
    assert outcomes.count(Removed("deleted", "Deleted")) == 200
    assert sum(isinstance(outcome, Retry) for outcome in outcomes) == 100
    assert len(world.marketo.records["person"]) == 100


async def test_a_person_is_flagged_once_and_its_restored_row_takes_the_flag_away(world: World) -> None:
    world.with_rules(deleted_flag="NEWDELETED")
    world.person()
    assert await world.sync("person", deleted()) == [Removed("flagged", "Deleted")]
    assert world.marketo.records["person"][0][FLAG] is True
    assert await world.sync("person", deleted()) == [Skipped("Deleted")]
    assert world.marketo.calls == [("update", "person", 1)]
    world.dataverse.rows_of["contact"].add(guid(10))
    assert await world.sync("person", Record("contact", guid(10), NOON)) == [Synced("updated")]
    assert world.marketo.records["person"][0][FLAG] is False


async def test_without_the_field_persons_wait_to_be_flagged_and_everything_else_goes_on(world: World) -> None:
    world.with_rules(deleted_flag=FLAG)
    world.marketo.flag_field = None
    world.person()
    world.dataverse.rows_of["contact"].add(guid(11))
    outcomes = await world.sync("person", deleted(), Record("contact", guid(11), NOON))
    (waits,) = [outcome for outcome in outcomes if isinstance(outcome, Retry)]
    assert (waits.code, waits.counted) == ("DeletedFlagMissing", False)
    assert Synced("created") in outcomes


async def test_an_unlinked_person_loses_key_and_owner_and_keeps_the_rest(world: World) -> None:
    world.with_rules(person="unlink")
    id_ = world.person(externalSalesPersonId=guid(1), externalCompanyId=guid(2), email="a@b.c")
    assert await world.sync("person", deleted()) == [Removed("unlinked", "Deleted")]
    (person,) = world.marketo.records["person"]
    assert (person["id"], person["email"], person["externalCompanyId"]) == (id_, "a@b.c", guid(2))
    assert person["externalPersonId"] is person["externalSalesPersonId"] is None
    assert await world.sync("person", deleted()) == [Skipped("Deleted")]


async def test_what_marketo_has_several_times_goes_one_by_one(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    world.person()
    record, outcome = await world.one("person", deleted())
    assert isinstance(outcome, Retry)
    assert not outcome.counted
    assert (await world.one("person", record))[1] == Removed("deleted", "Deleted")
    assert world.marketo.records["person"] == []


async def test_a_notification_alone_is_no_proof(world: World) -> None:
    """The row is there: restored, or its transaction is not committed yet. After two looks it is what counts."""
    world.with_rules(person="delete")
    world.person()
    world.dataverse.rows_of["contact"].add(guid(10))
    record, looks = deleted(), []
    for _ in range(3):
        record, outcome = await world.one("person", record)
        looks.append(outcome)
    assert looks == [Later("RowStillThere", after=5.0), Later("RowStillThere", after=60.0), Synced("updated")]
    record, _ = await world.one("person", deleted())
    world.dataverse.rows_of["contact"].clear()
    assert (await world.one("person", record))[1] == Removed("deleted", "Deleted")


@pytest.mark.parametrize(("what", "becomes"), [("hidden", Failed), ("unsure", Later)])
async def test_what_dataverse_does_not_say_is_gone_stays(world: World, what: str, becomes: type[Outcome]) -> None:
    world.with_rules(person="delete")
    world.person()
    getattr(world.dataverse, what).add(guid(10))
    record = deleted()
    for _ in range(4):
        record, outcome = await world.one("person", record)
    assert isinstance(outcome, becomes)
    assert world.marketo.keys("person") == [guid(10)]


async def test_a_deletion_and_a_restored_row_of_one_batch_are_an_upsert(world: World) -> None:
    world.with_rules(person="delete")
    world.dataverse.rows_of["contact"].add(guid(10))
    assert await world.sync("person", deleted(), Record("contact", guid(10), NOON)) == [Synced("created")]


async def test_an_opportunity_goes_after_its_roles(world: World) -> None:
    world.marketo.has("opportunity", externalOpportunityId=guid(20))
    for role in ("Buyer", "Judge"):
        world.marketo.has("opportunity_role", externalOpportunityId=guid(20), leadId=7, role=role)
    world.marketo.has("opportunity_role", externalOpportunityId=guid(21), leadId=7, role="Buyer")
    assert await world.sync("opportunity", deleted("opportunity", 20)) == [Removed("deleted", "Deleted")]
    assert world.marketo.calls == [("delete", "opportunity_role", 2), ("delete", "opportunity", 1)]
    assert [row["externalOpportunityId"] for row in world.marketo.records["opportunity_role"]] == [guid(21)]


async def test_a_role_that_marketo_does_not_delete_shows_when_its_opportunity_is_refused(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.marketo.has("opportunity", externalOpportunityId=guid(20))
    world.marketo.has("opportunity_role", externalOpportunityId=guid(20), leadId=7, role="Buyer")
    world.marketo.skips[guid(20)] = "1022"
    record, outcome = await world.one("opportunity", deleted("opportunity", 20))
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.counted) == ("1022", False)
    assert f"role_not_deleted opportunity={guid(20)}|7|Buyer code=1022" in caplog.text
    world.marketo.skips.clear()
    assert (await world.one("opportunity", record))[1] == Removed("deleted", "Deleted")
    assert world.marketo.records["opportunity_role"] == []


async def test_a_role_whose_row_is_gone_is_left_to_its_opportunity(world: World) -> None:
    assert await world.sync("opportunity_role", deleted("connection", 30)) != []
    assert world.marketo.calls == []


async def test_a_company_in_use_waits_without_using_up_attempts_and_then_says_what_hangs_on_it(world: World) -> None:
    world.with_rules(company="delete")
    world.marketo.has("company", externalCompanyId=guid(2))
    for number in range(20, 25):
        world.marketo.has("opportunity", externalOpportunityId=guid(number), externalCompanyId=guid(2))
    world.marketo.skips = {guid(2): "1022"}
    record, waits = deleted("account", 2), list[float]()
    while True:
        record, outcome = await world.one("company", record)
        if not isinstance(outcome, Retry):
            break
        assert not outcome.counted
        assert record.parked_since == NOON
        waits.append(outcome.after)
        world.now += timedelta(seconds=outcome.after)
    assert waits[0] == SOONEST
    assert waits == sorted(waits)
    assert DAY <= world.now - NOON <= DAY + timedelta(hours=1)
    assert isinstance(outcome, Failed)
    assert outcome.code == "1022"
    assert f"used by opportunities {guid(20)}, {guid(21)}, {guid(22)} and 2 more. Move" in outcome.message


async def test_what_is_gone_in_marketo_meanwhile_is_done(world: World) -> None:
    world.with_rules(person="delete")
    id_ = world.person()
    world.marketo.skips = {str(id_): "1004"}
    assert await world.sync("person", deleted()) == [Removed("deleted", "Deleted")]


async def test_what_marketo_never_had_is_skipped_and_not_counted(world: World) -> None:
    world.with_rules(person="delete", delete_brake=1)
    outcomes = await world.sync("person", *(deleted(number=n) for n in range(10, 60)))
    assert outcomes == [Skipped("Deleted")] * 50


async def test_what_this_process_knew_of_the_record_is_forgotten(world: World) -> None:
    world.with_rules(person="delete")
    world.known.add("person", guid(10), world.person())
    await world.sync("person", deleted())
    assert world.known.id_of("person", guid(10)) is None


async def test_each_deletion_is_logged_with_both_ids(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.with_rules(person="delete")
    id_ = world.person()
    with caplog.at_level(logging.INFO):
        await world.sync("person", deleted())
    assert f"removed entity=person action=deleted table=contact id={guid(10)} marketo={id_}" in caplog.text


async def test_a_record_that_spoils_its_call_keeps_no_other(world: World) -> None:
    world.with_rules(person="delete")
    poison = str(world.person(10))

    async def write(entity: Entity, bodies: Sequence[bytes], *how: Any, **more: Any) -> list[Result]:
        if any(json.loads(body)["id"] == int(poison) for body in bodies):
            raise MarketoError("609", "Invalid JSON", kind=Kind.CONFIGURATION)
        return await Marketo.write(world.marketo, entity, bodies, *how, **more)

    world.marketo.write = write  # type: ignore[method-assign]
    for number in range(11, 40):
        world.person(number)
    outcomes = await world.sync("person", *(deleted(number=n) for n in range(10, 40)))
    assert outcomes.count(Removed("deleted", "Deleted")) == 29
    assert world.marketo.keys("person") == [guid(10)]


async def test_while_marketo_is_away_deletions_wait_without_calls(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    away = MarketoError("502", "Bad Gateway", kind=Kind.TRANSIENT)

    async def probe_write(_: Entity) -> None:
        raise away

    world.marketo.probe_write = probe_write  # type: ignore[method-assign]
    world.marketo.before = [away]
    record, outcome = await world.one("person", deleted())
    assert isinstance(outcome, Retry)
    assert not outcome.counted
    calls = len(world.marketo.calls)
    _, again = await world.one("person", record)
    assert isinstance(again, Retry)
    assert again.code == "CircuitOpen"
    assert len(world.marketo.calls) == calls


async def test_while_a_lost_delete_may_be_at_work_the_key_is_not_sent_again(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    world.marketo.after = [lost()]
    _, outcome = await world.one("person", deleted())
    assert isinstance(outcome, Retry)
    world.dataverse.rows_of["contact"].add(guid(10))
    _, restored = await world.one("person", Record("contact", guid(10), NOON))
    assert isinstance(restored, Retry)
    assert restored.code == "InFlight"
    world.ticks += 600
    assert (await world.one("person", Record("contact", guid(10), NOON)))[1] == Synced("created")


# the brake


async def test_what_is_beyond_the_brake_is_a_dead_letter_that_says_what_to_do(world: World) -> None:
    world.with_rules(person="delete", delete_brake=60)
    for number in range(10, 110):
        world.person(number)
    outcomes = await world.sync("person", *(deleted(number=n) for n in range(10, 110)))
    stopped = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert (outcomes.count(Removed("deleted", "Deleted")), len(stopped)) == (60, 40)
    assert {outcome.code for outcome in stopped} == {"DeleteBrake"}
    assert "msisync lifecycle release person --apply" in stopped[0].message
    assert len(world.marketo.records["person"]) == 40


async def test_a_confirmed_deletion_passes_the_brake(world: World) -> None:
    world.with_rules(person="delete", delete_brake=1)
    world.dataverse.total = 0
    for number in range(10, 13):
        world.person(number)
    first = await world.sync("person", *(deleted(number=n) for n in range(10, 13)))
    assert sum(isinstance(outcome, Failed) for outcome in first) == 2
    again = await world.sync("person", *(replace(deleted(number=n), confirmed=True) for n in range(10, 13)))
    assert sum(isinstance(outcome, Removed) for outcome in again) == 2
    assert world.marketo.records["person"] == []


async def test_what_failed_is_not_counted_twice(world: World) -> None:
    world.with_rules(person="delete", delete_brake=1)
    world.dataverse.total = 0
    world.person()
    record = deleted()
    for _ in range(5):
        world.marketo.before = [MarketoError("713", "Transient Error", kind=Kind.TRANSIENT)]
        record, outcome = await world.one("person", record)
        assert isinstance(outcome, Retry)
    assert (await world.one("person", record))[1] == Removed("deleted", "Deleted")


async def test_without_storage_nothing_is_deleted(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    world.state.storage_away = True
    (outcome,) = await world.sync("person", deleted())
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.counted) == ("StorageAway", False)
    assert world.marketo.keys("person") == [guid(10)]
