"""The engine when Marketo refuses or a row is odd: whom it concerns, what is tried again, and when. Companies."""

import json
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.client import NOBODY
from shared.model.codes import Kind, dataverse, marketo_record, marketo_response
from shared.model.entities import ENTITIES, Entity
from shared.model.errors import DataverseError, MarketoError, MsiSyncError, SignInError
from shared.model.outcome import Deferred, Failed, LeftOut, Outcome, Retry, Synced
from shared.model.record import Record
from shared.sync.links import LOOKUP_TABLE
from shared.sync.mapping import MarketoField
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

CONFIG = SyncConfig.model_validate(
    {"account": {"fields": {"company": "name", "industry": {"column": "industrycode", "convert": "label"}}}}
)
COMPANY = ENTITIES["company"]
OWNER = guid(1)
TIME_BUDGET = 180.0

Sent = list[dict[str, Any]]


def account(number: int) -> str:
    """The id of an account; never nobody's, which is all zeros and stands in probes."""
    return guid(1000 + number)


class World(Vendors):
    """Dataverse has every account that is asked for; `answer` decides what Marketo does with a call."""

    columns = ("name", "industrycode")
    fields = ("company", "industry")

    def __init__(
        self, answer: Callable[[Sent], list[Result]], *, owner: str | None = None, refused: str = "keep"
    ) -> None:
        self.answer = answer
        self.tries = 0
        self.probes = 0
        self.calls: list[list[str]] = []
        self.sent: list[dict[str, Any]] = []
        self.now = 0.0
        self.seconds_per_call = 0.0
        self.owner = owner
        self.there = {OWNER}
        self.finds = 0
        self.descriptions = 0
        self.odd: dict[str, dict[str, Any]] = {}
        self.read_error: MsiSyncError | None = None
        self.row_errors: dict[str, MsiSyncError] = {}
        self.reads = 0
        self.find_error: MsiSyncError | None = None
        self.seconds_per_read = 0.0
        config = CONFIG.model_copy(update={"refused": refused})
        self.engine = engine_between(
            self,
            self,
            config,
            clock=lambda: self.now,
            now=lambda: NOON,
            tables=["account", "systemuser"],
            time_budget=TIME_BUDGET,
        )

    async def rows(self, entity_set: str, _key: str, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
        self.reads += 1
        for error in filter(None, (self.read_error, *map(self.row_errors.get, ids))):
            raise error
        self.now += self.seconds_per_read
        if entity_set == "systemusers":
            return {id_: {"internalemailaddress": "sam@x.com"} for id_ in ids}
        owner = {"_ownerid_value": self.owner, "_ownerid_value" + LOOKUP_TABLE: "systemuser"}
        return {id_: {"name": f"Company {id_}", **owner, **self.odd.get(id_, {})} for id_ in ids}

    async def labels(self, *_: Any) -> dict[str, dict[int, str]]:
        return {"industrycode": {1: "Accounting"}}

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        self.descriptions += 1
        return await super().describe(entity)

    async def find(self, _entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        self.finds += 1
        if self.find_error:
            raise self.find_error
        return dict.fromkeys(self.there & set(keys), 0)

    async def upsert(
        self, _entity: Entity, bodies: Sequence[bytes], *, deadline: float, tries: int = 3, **_: Any
    ) -> list[Result]:
        assert deadline == TIME_BUDGET
        self.tries += tries
        self.now += self.seconds_per_call
        sent = [json.loads(body) for body in bodies]
        self.sent += sent
        self.calls.append([row["externalCompanyId"] for row in sent])
        return self.answer(sent)

    async def probe_write(self, _entity: Entity) -> None:
        self.probes += 1
        (result,) = self.answer([{"externalCompanyId": NOBODY}])
        if marketo_record(result.code) is Kind.CONFIGURATION:
            raise MarketoError(result.code, result.message, kind=Kind.CONFIGURATION)

    async def sync(self, count: int, *, attempt: int = 0, without: Collection[str] = ()) -> dict[str, Outcome]:
        ids = [id_ for n in range(count) if (id_ := account(n)) not in without]
        outcomes = await self.engine.sync(COMPANY, [Record("account", id_, NOON, attempt=attempt) for id_ in ids])
        assert len(outcomes) == len(ids)
        return {record.id: outcome for record, outcome in outcomes}


def stored(sent: Sent) -> list[Result]:
    return [Result("created")] * len(sent)


def skipping(id_: str, code: str, message: str = "reason") -> Callable[[Sent], list[Result]]:
    """Marketo skips this one record and stores the others."""
    return lambda sent: [
        Result("skipped", 0, code, message) if row["externalCompanyId"] == id_ else Result("created") for row in sent
    ]


def refusing(
    error: MarketoError | SignInError, *, because_of: set[str] | None = None
) -> Callable[[Sent], list[Result]]:
    """Marketo refuses whole calls: all of them, or those that hold certain records."""

    def answer(sent: Sent) -> list[Result]:
        if because_of is None or because_of & {row["externalCompanyId"] for row in sent}:
            raise error
        return stored(sent)

    return answer


def system_error() -> MarketoError:
    return MarketoError("611", "System error", kind=Kind.SPLIT)


def no_owner() -> MarketoError:
    return MarketoError("718", "ExternalSalesPersonID not found", kind=Kind.MISSING_PARENT)


async def test_a_poison_record_is_found_and_the_other_299_are_stored() -> None:
    world = World(refusing(system_error(), because_of={account(137)}))
    outcomes = await world.sync(300)
    poison = outcomes.pop(account(137))
    assert set(outcomes.values()) == {Synced("created")}
    assert poison == Retry(5.0, "611", "System error", counted=True)
    assert len(world.calls) <= 1 + 10


@pytest.mark.parametrize("position", [0, 1, 149, 150, 298, 299])
async def test_a_poison_record_costs_at_most_twelve_more_calls_wherever_it_is(position: int) -> None:
    world = World(refusing(system_error(), because_of={account(position)}))
    outcomes = await world.sync(300)
    assert sum(outcome == Synced("created") for outcome in outcomes.values()) == 299
    assert len(world.calls) - 1 + 2 <= 12, "the first call is tried three times, the others once"


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


async def test_a_call_refused_for_good_because_of_one_record_costs_the_others_nothing() -> None:
    blank = MarketoError("701", "email cannot be blank", kind=Kind.PERMANENT)
    outcomes = await World(refusing(blank, because_of={account(9)})).sync(50)
    assert outcomes.pop(account(9)) == Failed("701", "email cannot be blank", "marketo")
    assert set(outcomes.values()) == {Synced("created")}


async def test_every_half_holds_each_record_once() -> None:
    world = World(refusing(system_error(), because_of={account(0), account(299)}))
    outcomes = await world.sync(300)
    assert sum(isinstance(outcome, Synced) for outcome in outcomes.values()) == 298
    assert all(len(set(call)) == len(call) for call in world.calls)


async def test_a_body_that_is_too_large_is_halved_and_a_record_too_large_alone_fails() -> None:
    world = World(refusing(MarketoError("HTTP 413", "too large", kind=Kind.SPLIT), because_of={account(5)}))
    outcomes = await world.sync(10)
    assert outcomes.pop(account(5)) == Failed("HTTP 413", "too large", "marketo")
    assert set(outcomes.values()) == {Synced("created")}


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


@pytest.mark.parametrize("message", ["Invalid value for field 'industry' and value 'x'", "Field 'industry' not found"])
async def test_a_refused_field_is_left_out_warned_about_and_the_record_stored(
    message: str, caplog: pytest.LogCaptureFixture
) -> None:
    code = "1006" if "not found" in message else "1003"

    def answer(sent: Sent) -> list[Result]:
        return [Result("skipped", 0, code, message) if "industry" in row else Result("created") for row in sent]

    world = World(answer)
    world.odd = {account(7): {"industrycode": 1}}
    outcomes = await world.sync(20)
    assert outcomes[account(7)] == Synced("created")
    assert message in caplog.text


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


@pytest.mark.parametrize(("code", "descriptions"), [("1006", 2), ("1003", 1), ("1014", 1)])
async def test_after_a_field_was_not_found_the_fields_are_read_anew_before_the_next_try(
    code: str, descriptions: int
) -> None:
    world = World(skipping(account(7), code))
    await world.sync(20)
    await world.sync(20)
    assert world.descriptions == descriptions


@pytest.mark.parametrize(("code", "descriptions"), [("1006", 2), ("502", 1)])
async def test_a_field_not_found_may_be_said_of_the_whole_call_too(code: str, descriptions: int) -> None:
    error = MarketoError(code, "Field 'x' not found", kind=marketo_response(code))
    world = World(refusing(error, because_of={account(7)}))
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
