"""What a change means for other rows: children, rows that a team or role decides about, opportunity roles.

And what becomes of changes that no notification told of.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest

from shared.azure.parked_rows import Parked
from shared.model.codes import Kind
from shared.model.errors import BrokerUnavailableError, DataverseError
from shared.model.outcome import Deferred, Failed, Outcome, Parent, Retry, Skipped, Synced
from shared.model.record import Record, decode, encode, read, timestamp
from shared.sync.scheduling import Bursts, Trickle
from shared.sync.storms import COVERED
from tests.support.pipeline import NOON, SEEN, World, body, incoming, update_of
from tests.support.values import guid


async def test_a_change_of_the_filter_s_column_lets_the_children_be_synced_again(world: World) -> None:
    await world.pipeline.route([incoming(update_of(1, "account", ["new_synctomkto", "name"]))])
    (message,) = world.sent
    (account,) = decode(message.body, "company")
    assert account.filter_changed
    world.sent.clear()
    world.children = [Record("contact", guid(5), NOON), Record("opportunity", guid(6), NOON)]
    await world.pipeline.sync("person", [incoming(encode("person", [replace(account, table="lead")]))])
    assert world.ids() == {"person": [guid(5)], "opportunity": [guid(6)]}


async def test_any_other_change_costs_no_look_for_children(world: World) -> None:
    await world.pipeline.route([incoming(update_of(1, "account", ["name"]))])
    (account,) = decode(world.sent.pop().body, "company")
    assert not account.filter_changed
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    await world.pipeline.sync("person", [incoming(encode("person", [replace(account, table="lead")]))])
    assert [outcome for _, outcome in world.settled] == [Synced("created")]


async def test_children_that_cannot_be_read_mean_another_try_of_their_parent(world: World) -> None:
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    entered = Record("lead", guid(1), SEEN, filter_changed=True)
    await world.pipeline.sync("person", [incoming(encode("person", [entered, Record("lead", guid(2), SEEN)]))])
    outcomes = {record.id: outcome for record, outcome in world.settled}
    assert outcomes == {guid(1): Retry(60.0, "0x80044150", "SQL"), guid(2): Synced("created")}


async def test_what_marketo_has_of_the_children_of_a_record_that_it_had_lost_is_synced_again(world: World) -> None:
    world.outcome = Synced("created", anew=True)
    world.in_marketo = {guid(5)}
    world.children = [Record(t, guid(n), NOON) for t, n in (("contact", 5), ("contact", 6), ("connection", 7))]
    await world.pipeline.sync("person", [incoming(encode("person", [Record("contact", guid(1), SEEN)]))])
    assert world.ids() == {"person": [guid(5)], "opportunity_role": [guid(7)]}
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    world.settled.clear()
    await world.pipeline.sync("person", [incoming(encode("person", [Record("contact", guid(1), SEEN)]))])
    ((again, outcome),) = world.settled
    assert isinstance(outcome, Retry)
    assert again.filter_changed, "Marketo will not say again that it had lost the record"


async def test_the_children_of_a_lost_record_cost_one_call_of_each_entity(world: World) -> None:
    world.outcome = Synced("created", anew=True)
    world.in_marketo = {guid(5), guid(6), guid(7)}
    children = {n: Record(t, guid(n), NOON) for t, n in (("lead", 5), ("contact", 6), ("opportunity", 7))}
    world.pages = [[children[5]], [children[6]], [children[7]], [children[7]]]  # it names the account twice
    await world.pipeline.sync("person", [incoming(encode("person", [Record("account", guid(1), SEEN)]))])
    assert sorted(world.finds) == ["opportunity", "person"]
    assert world.ids() == {"person": [guid(5), guid(6)], "opportunity": [guid(7)]}


@pytest.mark.parametrize("storage_is_away", [False, True])
async def test_a_linked_child_of_a_lost_record_is_sent_once(world: World, storage_is_away: bool) -> None:
    """It is parked no more once it was sent; without storage it stays so, and the parent's release sends it again."""
    world.storage_is_away = storage_is_away
    world.outcome = Synced("created", anew=True)
    world.in_marketo = {guid(5)}
    world.children = [Record("contact", guid(5), NOON)]
    parent = Parent("person", "contact", guid(1))
    there, elsewhere, other = (
        Parked(parent, "person", Record("contact", guid(5), SEEN), "etag", linked_later=True),
        Parked(parent, "opportunity", Record("opportunity", guid(6), SEEN), "etag", linked_later=True),
        Parked(Parent("person", "contact", guid(2)), "person", Record("contact", guid(5), SEEN), linked_later=True),
    )
    world.links = [there, elsewhere, other]
    await world.pipeline.sync("person", [incoming(encode("person", [Record("contact", guid(1), SEEN)]))])
    assert [[r.id for r in decode(message.body, message.queue)] for message in world.sent] == [[guid(5)]]
    assert world.unparked == ([] if storage_is_away else [there])
    assert [outcome for _, outcome in world.settled] == [world.outcome]


@pytest.mark.parametrize(
    ("table", "column", "deciding"),
    [
        ("team", "administratorid", True), ("team", "name", False), ("connectionrole", "name", True),
        ("relationshiprole", "name", True), ("relationshiprole", "description", False),
    ],
)  # fmt: skip
async def test_teams_and_roles_decide_about_others(world: World, table: str, column: str, deciding: bool) -> None:
    world.children = [Record("contact", guid(5), NOON)]
    await world.pipeline.route([incoming(update_of(1, table, [column]))])
    assert [(record.table, record.id) for record in world.looked_for] == ([(table, guid(1))] if deciding else [])
    found = [record.key for message in world.sent for record in decode(message.body, "person")]
    assert found == ([("contact", guid(5))] if deciding else [])


async def test_a_team_whose_rows_cannot_be_found_now_is_looked_at_again(world: World) -> None:
    world.children_error = DataverseError("0x80044150", "SQL", kind=Kind.TRANSIENT)
    team = update_of(1, "team", ["administratorid"])
    await world.pipeline.route([incoming(team), incoming(body(2))])
    waiting = [message for message in world.sent if message.queue == "changes"]
    assert [(message.body, message.properties["first_seen"]) for message in waiting] == [(team, timestamp(SEEN))]
    assert [m.queue for m in world.sent if m not in waiting] == ["person"]


@pytest.mark.parametrize(
    ("outcome", "followed"),
    [
        (Synced("updated"), True), (Skipped("Filtered"), True), (Failed("1003", "refused"), True),
        (Retry(5.0, "606", "rate"), False), (Deferred((Parent("company", "account", guid(9)),)), False),
    ],
)  # fmt: skip
async def test_a_contact_in_between_is_followed_whatever_becomes_of_it_once_that_is_final(
    world: World, outcome: Outcome, followed: bool
) -> None:
    world.outcome = outcome
    world.children = [Record("opportunity", guid(5), NOON)]
    await world.pipeline.route([incoming(update_of(1, "contact", ["parentcustomerid"]))])
    (message,) = world.sent
    world.sent.clear()
    await world.pipeline.sync("person", [incoming(message.body)])
    assert [sent.queue for sent in world.sent] == (["opportunity"] if followed else [])


async def test_an_update_that_does_not_name_its_columns_may_have_written_any(world: World) -> None:
    await world.pipeline.route([incoming(body(1, "contact", InputParameters=[]))])
    (contact,) = decode(world.sent.pop().body, "person")
    assert (contact.filter_changed, contact.deciding) == (True, True)
    await world.pipeline.route([incoming(body(1, "contact", MessageName="Create", InputParameters=[]))])
    (contact,) = decode(world.sent.pop().body, "person")
    assert (contact.filter_changed, contact.deciding) == (False, False)


# -- roles --------------------------------------------------------------------------------------------------------


async def roles_after(world: World, record: Record, outcome: Outcome) -> list[Record]:
    """What is sent to the queue of roles after an opportunity was synced."""
    world.outcome = outcome
    await world.pipeline.sync("opportunity", [incoming(encode("opportunity", [record]))])
    sent = [message for message in world.sent if message.queue == "opportunity_role"]
    return [found for message in sent for found in decode(message.body, "opportunity_role")]


DEAL = Record("opportunity", guid(1), SEEN)


@pytest.mark.parametrize(
    ("facts", "outcome", "additive"),
    [
        ({"deciding": True}, Synced("updated"), False),
        ({"deciding": True, "additive": True}, Synced("updated"), True),
        ({"deciding": True}, Synced("created"), True),
        ({"forced": True}, Synced("created"), False),
        ({"filter_changed": True}, Synced("updated"), False),
        ({"requested": True}, Synced("updated"), True),
        ({}, Synced("created"), True),
    ],
)
async def test_the_roles_of_an_opportunity_follow_when_they_may_be_others(
    world: World, facts: dict[str, Any], outcome: Outcome, additive: bool
) -> None:
    (found,) = await roles_after(world, replace(DEAL, **facts), outcome)
    assert found == replace(DEAL, additive=additive, forced=facts.get("forced", False))


async def test_the_calls_of_roles_that_follow_from_a_run_are_the_runs(world: World) -> None:
    (roles,) = await roles_after(world, replace(DEAL, run="20260304-120000-abcd/opportunity/7"), Synced("created"))
    assert roles.run == "20260304-120000-abcd"


async def test_the_roles_of_an_opportunity_follow_once_from_each_process_though_marketo_had_it(world: World) -> None:
    """The process that created it may have been killed before its roles were sent. They most likely are there."""
    (roles,) = await roles_after(world, DEAL, Synced("updated"))
    assert roles.additive
    assert [message.at for message in world.sent] == [NOON.replace(minute=1, second=0)], "with all of this minute"
    world.sent.clear()
    for outcome in (Synced("updated"), COVERED):
        world.settled.clear()
        await world.pipeline.sync("person", [incoming(encode("person", [Record("lead", guid(2), SEEN)]))])
        world.settled.clear()
        assert await roles_after(world, DEAL, outcome) == []


async def test_without_the_broker_the_roles_of_an_opportunity_follow_when_its_message_comes_again(world: World) -> None:
    await roles_after(world, DEAL, Synced("updated"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "sync", world.lost_after)
        with pytest.raises(BrokerUnavailableError):
            await roles_after(world, DEAL, Synced("created"))
    world.unreachable = False
    world.sent.clear()
    world.settled.clear()
    assert len(await roles_after(world, DEAL, Synced("updated"))) == 1


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"deciding": True}, Skipped("Filtered")),
        ({}, Failed("1002", "no name")),
    ],
)
async def test_the_roles_of_an_opportunity_do_not_follow_for_nothing(
    world: World, facts: dict[str, Any], outcome: Outcome
) -> None:
    assert await roles_after(world, replace(DEAL, **facts), outcome) == []


END = {"key": "record1id", "value": {"Id": guid(7), "LogicalName": "opportunity"}}
#: The notification of a connection that was deleted, with its pre-image.
GONE = body(1, "connection", MessageName="Delete", PreEntityImages=[{"key": "pre", "value": {"Attributes": [END]}}])


async def test_a_deleted_connection_brings_the_opportunity_of_its_pre_image_to_the_queue_of_roles(world: World) -> None:
    await world.pipeline.route([incoming(GONE)])
    found = [record for message in world.sent for record in decode(message.body, "opportunity_role")]
    assert [(record.key, record.operation) for record in found] == [
        (("connection", guid(1)), "delete"),
        (("opportunity", guid(7)), "upsert"),
    ]


async def routed_while_collecting(world: World, *messages: bytes) -> list[tuple[str, bool, datetime | None]]:
    """The records of roles that are sent, each with whether it is not compared and when it comes."""
    trickle = Trickle(AsyncMock(), daily_calls=50_000, share=0.18, longest=60.0, now=lambda: NOON)
    trickle.width, trickle.adapt = 20.0, AsyncMock()  # type: ignore[method-assign]  # more than the pace is used
    world.pipeline.bursts = Bursts(burst_batch=9, seconds=20.0, now=lambda: NOON, trickle=trickle)
    await world.pipeline.route([incoming(message) for message in messages])
    return [
        (record.table, record.additive, message.at)
        for message in world.sent
        for record in decode(message.body, "opportunity_role")
    ]


async def test_while_changes_are_collected_comparisons_of_roles_wait_longer(world: World) -> None:
    found = await routed_while_collecting(world, update_of(1, "connection", ["record2roleid"]))
    assert [(table, additive) for table, additive, _ in found] == [("connection", False), ("connection", True)]
    (_, _, compared), (_, _, sent) = found
    assert compared == NOON.replace(minute=10, second=0)
    assert sent is not None
    assert sent - NOON <= timedelta(seconds=40)


async def test_a_connection_that_is_gone_has_only_a_comparison(world: World) -> None:
    found = await routed_while_collecting(world, GONE)
    later = NOON.replace(minute=10, second=0)
    assert found == [("connection", False, later), ("opportunity", False, later)]


async def test_a_new_connection_has_none(world: World) -> None:
    (found,) = await routed_while_collecting(world, body(1, "connection", MessageName="Create"))
    assert found[:2] == ("connection", True)


async def test_few_rows_go_at_once(world: World) -> None:
    deal = Record("opportunity", guid(7), NOON)
    gone = Record("lead", guid(2), NOON, "delete")
    await world.pipeline.take_up([Record("account", guid(1), NOON), gone], [deal])
    assert [(message.queue, message.at) for message in world.sent] == [
        ("company", None), ("person", None), ("opportunity_role", None),
    ]  # fmt: skip
    assert read(world.sent[1].body, "person").records == [gone]
    assert read(world.sent[2].body, "opportunity_role").records == [deal]


async def test_more_than_a_message_are_a_burst_with_parents_first(world: World) -> None:
    found = [Record("contact", guid(n), NOON) for n in range(150)]
    await world.pipeline.take_up([*found, Record("account", guid(900), NOON)], [])
    assert [message.queue for message in world.sent] == ["company", "person", "person"]
    times = [message.at for message in world.sent if message.at]
    assert times[0] < times[1] == times[2]
    assert all(read(message.body, message.queue).burst for message in world.sent)


async def test_what_depends_on_a_role_is_sent_and_the_role_is_not(world: World) -> None:
    world.pages = [[Record("connection", guid(3), NOON)]]
    await world.pipeline.take_up([Record("connectionrole", guid(1), NOON, deciding=True)], [])
    assert world.ids() == {"opportunity_role": [guid(3)]}


async def test_nothing_is_nothing(world: World) -> None:
    await world.pipeline.take_up([], [])
    assert world.sent == []
