"""The engine when some records of a call are the cause of its failure: they are found, and the others stored."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.marketo.answers import Result
from shared.model.codes import Kind, marketo_response
from shared.model.errors import MarketoError
from shared.model.outcome import Failed, Retry, Synced
from tests.support.refusals import Sent, World, account, refusing, skipping, stored, system_error


async def test_a_poison_record_is_found_and_the_other_299_are_stored() -> None:
    world = World(refusing(system_error(), because_of={account(137)}))
    outcomes = await world.sync(300)
    poison = outcomes.pop(account(137))
    assert set(outcomes.values()) == {Synced("created")}
    assert poison == Retry(5.0, "611", "System error", counted=True)
    assert len(world.calls) <= 1 + 10


async def test_a_record_that_spoils_a_call_again_is_kept_as_a_dead_letter() -> None:
    world = World(refusing(system_error(), because_of={account(137)}))
    outcomes = await world.sync(300, attempt=1)
    assert outcomes[account(137)] == Failed("611", "System error; it spoils every call that it is in", "marketo")


async def test_where_nothing_is_stored_all_try_again_and_few_calls_are_spent() -> None:
    world = World(refusing(system_error()))
    outcomes = await world.sync(300, attempt=5)
    assert set(outcomes.values()) == {Retry(60.0, "611", "System error", counted=True)}
    assert len(world.calls) <= 1 + 2 * 10


@pytest.mark.parametrize(
    "poison",
    [{3, 4}, {0, 299}, {10, 20, 30}, {40, 41, 42, 43}, {0, 150, 225}, {*range(0, 300, 30)}, {0, *range(150, 160)}],
    ids=len,
)
async def test_several_culprits_are_found_one_after_the_other_and_all_others_are_stored(poison: set[int]) -> None:
    culprits = {account(n) for n in poison}
    world = World(refusing(system_error(), because_of=culprits))
    done: set[str] = set()
    for attempt in range(8):
        outcomes = await world.sync(300, attempt=attempt, without=done)
        assert {i for i, o in outcomes.items() if isinstance(o, Failed)} <= culprits
        done |= {i for i, o in outcomes.items() if isinstance(o, Synced | Failed)}
        if done >= outcomes.keys() - culprits:
            return
    pytest.fail(f"{300 - len(done)} records are still pending")


POISONS = ["611", "701", "712", "714", "718", "1007", "1015", "1021"]


@pytest.mark.parametrize(("one", "other"), [(a, b) for n, a in enumerate(POISONS) for b in POISONS[n:]])
async def test_two_culprits_with_reasons_of_their_own_are_told_apart_and_the_others_stored(
    one: str, other: str
) -> None:
    reasons = {account(40): one, account(240): other}

    def answer(sent: Sent) -> list[Result]:
        for row in sent:
            code = reasons.get(row["externalCompanyId"])
            if code:
                raise MarketoError(code, "no", kind=marketo_response(code))
        return stored(sent)

    world = World(answer)
    outcomes = await world.sync(300, attempt=1)
    assert {outcomes[id_].code for id_ in reasons} <= {one, other}  # type: ignore[union-attr]  # none is synced
    for id_, code in reasons.items():
        assert getattr(outcomes.pop(id_), "code", "") == code
    assert not [outcome for outcome in outcomes.values() if isinstance(outcome, Failed)]
    done = {id_ for id_, outcome in outcomes.items() if isinstance(outcome, Synced)}
    again = await world.sync(300, attempt=1, without={*done, *reasons})
    assert set(again.values()) <= {Synced("created")}
    assert len(world.calls) <= 30


async def test_a_call_refused_for_good_because_of_one_record_costs_the_others_nothing() -> None:
    blank = MarketoError("701", "email cannot be blank", kind=Kind.PERMANENT)
    outcomes = await World(refusing(blank, because_of={account(9)})).sync(50)
    assert outcomes.pop(account(9)) == Failed("701", "email cannot be blank", "marketo")
    assert set(outcomes.values()) == {Synced("created")}


async def test_a_body_that_is_too_large_is_halved_and_a_record_too_large_alone_fails() -> None:
    world = World(refusing(MarketoError("HTTP 413", "too large", kind=Kind.SPLIT), because_of={account(5)}))
    outcomes = await world.sync(10)
    assert outcomes.pop(account(5)) == Failed("HTTP 413", "too large", "marketo")
    assert set(outcomes.values()) == {Synced("created")}


CONFIGURATIONS = ("1003", "609", "603", "610", "1011", "HTTP 400", "HTTP 403", "HTTP 404", "HTTP 415")


def configuration(code: str) -> MarketoError:
    return MarketoError(code, "no", kind=Kind.CONFIGURATION)


@pytest.mark.parametrize("code", CONFIGURATIONS)
@pytest.mark.parametrize(("count", "most"), [(12, 8), (300, 13)])
async def test_a_call_refused_as_if_for_the_configuration_because_of_one_record_costs_one_dead_letter(
    code: str, count: int, most: int
) -> None:
    world = World(refusing(configuration(code), because_of={account(7)}))
    outcomes = await world.sync(count)
    culprit = outcomes.pop(account(7))
    assert isinstance(culprit, Failed)
    assert (culprit.code, culprit.source) == (code, "marketo")
    assert set(outcomes.values()) == {Synced("created")}
    assert len(world.calls) - 1 + world.probes <= most
    assert await world.sync(5, without={account(7)}), "the circuit is closed"


@pytest.mark.parametrize("code", ["1008", "1009", "1011", "1018", "1026", "1035"])
async def test_a_record_skipped_as_if_for_the_configuration_while_others_are_stored_is_a_dead_letter(code: str) -> None:
    world = World(skipping(account(7), code))
    outcomes = await world.sync(12)
    assert (type(outcomes[account(7)]), outcomes.pop(account(7)).code) == (Failed, code)  # type: ignore[union-attr]
    assert set(outcomes.values()) == {Synced("created")}
    assert (len(world.calls), world.probes) == (1, 0)


@pytest.mark.parametrize("code", ["1003", "HTTP 403", "611", "799"])
async def test_a_record_that_is_refused_again_alone_is_kept_when_others_are_stored_meanwhile(code: str) -> None:
    error = MarketoError(code, "no", kind=marketo_response(code) if code.isdigit() else Kind.CONFIGURATION)
    world = World(refusing(error, because_of={account(0)}))
    (first,) = (await world.sync(1)).values()
    assert isinstance(first, Retry)
    assert first.counted
    (again,) = (await world.sync(1, attempt=1)).values()
    assert isinstance(again, Retry), "nobody knows: no other record was sent"
    await world.sync(12, without={account(0)})
    (last,) = (await world.sync(1, attempt=2)).values()
    assert (type(last), getattr(last, "code", "")) == (Failed, code)


@pytest.mark.parametrize("code", ["1008", "1018"])
async def test_records_that_are_all_skipped_for_the_configuration_wait_and_uncounted(code: str) -> None:
    world = World(lambda sent: [Result("skipped", 0, code, "no")] * len(sent))
    assert set((await world.sync(12)).values()) == {Retry(300.0, code, "no")}
    assert world.probes == 1


async def test_where_no_record_is_taken_though_marketo_is_well_all_are_tried_again_and_counted() -> None:
    world = World(refusing(configuration("1003"), because_of={account(n) for n in range(12)}))
    assert set((await world.sync(12)).values()) == {Retry(60.0, "1003", "no", counted=True)}


@pytest.mark.parametrize("code", ["HTTP 500", "HTTP 502", "504", "Unreachable", "604", "UnknownAnswer"])
async def test_a_record_whose_body_ends_every_call_without_an_answer_is_found_and_counted(code: str) -> None:
    kind = Kind.UNKNOWN if code == "UnknownAnswer" else Kind.TRANSIENT
    cut = MarketoError(code, "no answer", kind=kind, at_work=True)
    world = World(refusing(cut, because_of={account(7)}))
    everybody = {account(n) for n in range(12)}
    pending, calls = everybody, 0
    for attempt in range(4):
        outcomes = await world.sync(12, attempt=attempt, without=everybody - pending)
        assert all(o.counted for o in outcomes.values() if isinstance(o, Retry))
        pending = {id_ for id_, outcome in outcomes.items() if not isinstance(outcome, Synced)}
        calls = len(world.calls) + world.probes
        if pending == {account(7)}:
            break
    assert pending == {account(7)}
    assert calls <= 1 + 12
    assert set((await world.sync(5)).values()) == {Synced("created")}


async def test_a_call_without_an_answer_while_marketo_is_away_uses_up_no_attempt() -> None:
    world = World(refusing(MarketoError("HTTP 502", "away", kind=Kind.TRANSIENT, at_work=True)))
    assert set((await world.sync(12)).values()) == {Retry(60.0, "HTTP 502", "away")}
    assert (len(world.calls), world.probes) == (1, 1)


codes_per_record = st.lists(
    st.sampled_from(["", "1003", "1004", "1006", "1007", "1014", "1036", "999"]), min_size=1, max_size=40
)


@example([""] * 10, {0, 1, 5}, "611")
@example([""] * 40, {0, 20, 30}, "611")
@given(codes_per_record, st.sets(st.integers(0, 39), max_size=3), st.sampled_from(["611", "718", "HTTP 413"]))
async def test_whatever_marketo_refuses_each_record_has_one_outcome_and_its_own(
    given_codes: list[str], poison: set[int], poison_code: str
) -> None:
    kind = Kind.MISSING_PARENT if poison_code == "718" else Kind.SPLIT
    poisoned = {account(n) for n in poison}
    numbers = {account(n): code for n, code in enumerate(given_codes)}

    def answer(sent: Sent) -> list[Result]:
        ids = [row["externalCompanyId"] for row in sent]
        if poisoned & set(ids):
            raise MarketoError(poison_code, "", kind=kind)
        return [Result("skipped", 0, numbers[i]) if numbers.get(i) else Result("created") for i in ids]

    outcomes = await World(answer).sync(len(given_codes), attempt=1)
    for id_, code in numbers.items():
        expected = poison_code if id_ in poisoned else code
        assert getattr(outcomes[id_], "code", "") == expected
