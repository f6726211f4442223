"""The engine when Marketo refuses or a row is odd: whom it concerns, what is tried again, and when. Companies."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from shared.marketo.answers import Result
from shared.model.codes import Kind, dataverse, marketo_response
from shared.model.errors import DataverseError, MarketoError, SignInError
from shared.model.outcome import Deferred, Failed, LeftOut, Retry, Synced
from tests.support.refusals import (
    OWNER,
    TIME_BUDGET,
    Sent,
    World,
    account,
    no_owner,
    refusing,
    skipping,
    stored,
    system_error,
)


@pytest.mark.parametrize("code", ["0x80048306", "HTTP 413", "HTTP 414", "0x80040217"])
async def test_a_read_refused_for_what_one_row_is_costs_the_others_nothing(code: str) -> None:
    world = World(stored)
    kind = dataverse(code, int(code[5:]) if code.startswith("HTTP") else 400)
    world.row_errors = {account(7): DataverseError(code, "no", kind=kind)}
    outcomes = await world.sync(300)
    odd = outcomes.pop(account(7))
    assert set(outcomes.values()) == {Synced("created")}
    assert isinstance(odd, Failed)
    assert odd.code == code
    assert world.reads < 25


async def test_an_address_where_nothing_is_makes_no_dead_letter() -> None:
    world = World(stored)
    world.read_error = DataverseError("HTTP 404", "", kind=dataverse("", 404))
    assert {type(outcome) for outcome in (await world.sync(300)).values()} == {Retry}


async def test_an_owner_that_marketo_lost_is_looked_up_again_after_seconds() -> None:
    world = World(refusing(no_owner()), owner=OWNER)
    outcomes = await world.sync(20)
    assert set(outcomes.values()) == {Retry(5.0, "718", "ExternalSalesPersonID not found", counted=True)}
    assert len(world.calls) == 1
    world.there.clear()
    again = await world.sync(20, attempt=1)
    assert all(isinstance(outcome, Deferred) for outcome in again.values())
    assert world.finds == 3, "for the owner, when he is first seen and again, and for the records themselves"


async def test_an_owner_that_marketo_refuses_again_costs_only_the_records_that_have_it() -> None:
    world = World(refusing(no_owner(), because_of={account(3)}), owner=OWNER)
    outcomes = await world.sync(20, attempt=1)
    refused = outcomes.pop(account(3))
    assert isinstance(refused, Retry)
    assert refused.counted
    assert set(outcomes.values()) == {Synced("created")}


async def test_a_code_that_no_document_names_is_tried_again_and_counted() -> None:
    outcomes = await World(skipping(account(7), "1999", "Sunspots")).sync(20)
    assert outcomes.pop(account(7)) == Retry(60.0, "1999", "Sunspots", counted=True)
    whole = MarketoError("799", "Sunspots", kind=marketo_response("799"))
    assert set((await World(refusing(whole)).sync(5)).values()) == {Retry(60.0, "799", "Sunspots", counted=True)}


def refusing_industry(sent: Sent) -> list[Result]:
    """Marketo takes no value of this field, but none."""
    text = "Invalid value for field 'industry': text"
    return [Result("skipped", 0, "1003", text) if row.get("industry") else Result("created") for row in sent]


@pytest.mark.parametrize(("refused", "sent"), [("keep", "left out"), ("clear", None)])
async def test_a_value_that_marketo_refuses_is_told_by_its_kind_and_the_field_kept_or_cleared(
    refused: str, sent: Any
) -> None:
    bodies: list[Sent] = []

    def answer(given: Sent) -> list[Result]:
        bodies.append(given)
        return refusing_industry(given)

    world = World(answer, refused=refused)
    world.odd = {account(7): {"industrycode": 1}}
    outcome = (await world.sync(20))[account(7)]
    assert isinstance(outcome, Synced)
    assert outcome.left_out == (
        LeftOut("industry", "1003", "Invalid value for field 'industry': text", "text of 10 characters"),
    )
    assert bodies[-1][0].get("industry", "left out") == sent


async def test_a_field_that_may_not_even_be_cleared_is_left_out_after_all() -> None:
    def answer(sent: Sent) -> list[Result]:
        text = "Invalid value for field 'industry': text"
        return [Result("skipped", 0, "1003", text) if "industry" in row else Result("created") for row in sent]

    world = World(answer, refused="clear")
    world.odd = {account(7): {"industrycode": 1}}
    outcome = (await world.sync(20))[account(7)]
    assert isinstance(outcome, Synced)
    assert [each.field for each in outcome.left_out] == ["industry"]


@pytest.mark.parametrize("code", ["1001", "1003", "1007", "1021"])
async def test_a_record_that_marketo_will_never_take_fails_alone_with_its_code_and_text(code: str) -> None:
    told = "Invalid value for field 'externalCompanyId'"
    outcomes = await World(skipping(account(7), code, told)).sync(20)
    assert outcomes.pop(account(7)) == Failed(code, told, "marketo")
    assert set(outcomes.values()) == {Synced("created")}


async def test_a_record_whose_parent_turns_out_to_be_missing_is_tried_again_soon_and_counted() -> None:
    world = World(skipping(account(7), "1004", "Lead not found"), owner=OWNER)
    outcomes = await world.sync(20)
    assert outcomes[account(7)] == Retry(5.0, "1004", "Lead not found", counted=True)
    finds = world.finds
    await world.sync(20)
    assert world.finds == finds + 1


@pytest.mark.parametrize("code", ["1014", "1029", "1036"])
async def test_a_passing_trouble_of_one_record_is_tried_again_and_counted(code: str) -> None:
    outcome = (await World(skipping(account(7), code)).sync(20))[account(7)]
    assert outcome == Retry(60.0, code, "reason", counted=True)


async def test_a_field_that_only_one_record_lacks_is_tried_once_more_and_then_the_record_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(skipping(account(7), "1006", "Field 'x' not found"))
    with caplog.at_level(logging.ERROR):
        outcome = (await world.sync(20))[account(7)]
    assert outcome == Retry(60.0, "1006", "Field 'x' not found", counted=True)
    assert "Field 'x' not found" in caplog.text
    again = (await world.sync(20, attempt=1))[account(7)]
    assert (type(again), again.code) == (Failed, "1006")  # type: ignore[union-attr]
    assert world.probes == 0, "the others' success tells that Marketo is well"


def call_refused(code: str) -> Callable[[Sent], list[Result]]:
    return refusing(MarketoError(code, "no", kind=marketo_response(code)), because_of={account(7)})


@pytest.mark.parametrize(
    ("answer", "descriptions"),
    [
        (skipping(account(7), "1006"), 2), (skipping(account(7), "1003"), 1), (skipping(account(7), "1014"), 1),
        (call_refused("1006"), 2), (call_refused("502"), 1),
    ],
    ids=["a record: no such field", "a value", "a passing trouble", "a call: no such field", "an outage"],
)  # fmt: skip
async def test_after_a_field_was_not_found_the_fields_are_read_anew_before_the_next_try(
    answer: Callable[[Sent], list[Result]], descriptions: int
) -> None:
    world = World(answer)
    await world.sync(20)
    await world.sync(20)
    assert world.descriptions == descriptions


@pytest.mark.parametrize(
    "value", [["no choice"], {"Value": 1}, object(), float("inf")], ids=lambda value: type(value).__name__
)
async def test_a_value_that_cannot_be_mapped_costs_its_field_and_no_other(value: Any) -> None:
    world = World(stored)
    world.odd = {account(7): {"industrycode": value}}
    assert set((await world.sync(20)).values()) == {Synced("created")}
    assert [record["externalCompanyId"] for record in world.sent if "industry" not in record] == [account(7)]


async def test_half_an_emoji_costs_neither_the_record_nor_its_neighbours() -> None:
    world = World(stored)
    world.odd = {account(7): {"name": "Contoso \ud83d"}}
    assert set((await world.sync(20)).values()) == {Synced("created")}


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (MarketoError("606", "rate", kind=Kind.THROTTLED), 20.0),
        (MarketoError("607", "quota", kind=Kind.DAILY), 900.0),
        (MarketoError("502", "gateway", kind=Kind.TRANSIENT), 60.0),
        (MarketoError("602", "expired", kind=Kind.TOKEN), 60.0),
        (MarketoError("603", "access denied", kind=Kind.CONFIGURATION), 300.0),
        (SignInError("MarketoSignIn", "wrong secret"), 300.0),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
async def test_what_concerns_all_records_uses_up_no_attempt(error: MarketoError, after: float) -> None:
    outcomes = await World(refusing(error)).sync(20)
    assert set(outcomes.values()) == {Retry(after, error.code, error.message)}


async def test_a_wait_that_the_vendor_names_is_kept() -> None:
    world = World(stored)
    world.read_error = DataverseError("0x80072322", "slow down", kind=Kind.THROTTLED, retry_after=120.0)
    assert set((await world.sync(20)).values()) == {Retry(120.0, "0x80072322", "slow down")}


@pytest.mark.parametrize("kind", [Kind.CONFIGURATION, Kind.TRANSIENT])
async def test_a_vendor_error_is_logged_with_what_support_asks_for(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(refusing(MarketoError("603", "access denied", kind=kind, request_id="e42b#1")))
    with caplog.at_level(logging.WARNING):
        await world.sync(1)
    assert "e42b#1" in caplog.text
    assert "603" in caplog.text
    assert "marketo" in caplog.text


async def test_parents_that_cannot_be_looked_up_hold_their_children_for_a_while() -> None:
    world = World(stored, owner=OWNER)

    world.find_error = MarketoError("607", "quota", kind=Kind.DAILY)
    assert set((await world.sync(20)).values()) == {Retry(900.0, "607", "quota")}
    assert world.calls == []


async def test_what_the_time_did_not_suffice_for_is_sent_again_at_once() -> None:
    world = World(refusing(system_error(), because_of={account(299)}))
    world.seconds_per_call = 100.0
    outcomes = await world.sync(300)
    late = [outcome for outcome in outcomes.values() if not isinstance(outcome, Synced)]
    assert len(world.calls) == 2
    assert set(late) == {Retry(0, "OutOfTime", "the invocation's time was over")}
    assert len(late) == 150


async def test_no_call_begins_after_the_time_is_over() -> None:
    world = World(stored)
    world.seconds_per_read = TIME_BUDGET
    outcomes = await world.sync(20)
    assert set(outcomes.values()) == {Retry(0, "OutOfTime", "the invocation's time was over")}
    assert world.calls == []
