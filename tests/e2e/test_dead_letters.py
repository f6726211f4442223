"""What cannot be synced is kept in dead-letters with its reason, and its neighbours in the same batch arrive."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from azure.servicebus import ServiceBusMessage

from emulators.dataverse.notifications import Origin, association, notification
from local.harness import DeadLetter, Made, Rows, System, eventually
from local.harness.system import body_of, notification_of

OTHER_ORGANISATION = "9f0c1c3e-0d5e-4a2b-8f2e-51c1b7a2d001"


async def letters(system: System, count: int) -> list[DeadLetter]:
    return await eventually(system.broker.dead_letters, lambda seen: len(seen) >= count, what=f"{count} dead letters")


def without(made: Made, key: str) -> bytes:
    context = dict(notification_of(made).context)
    del context[key]
    return json.dumps(context).encode()


async def test_malformed_notifications_in_the_middle_of_good_ones(system: System, rows: Rows) -> None:
    good = [rows.user() for _ in range(6)]
    spoilt = rows.user()
    await system.seed(rows)
    malformed: dict[str, list[bytes]] = {
        "NotJson": [b"hello", b'{"MessageName": "Upda', b"\x00\xff\xfe", b""],
        "NotAnObject": [b"[]", b'"text"', b"null"],
        "NoRoutingTriple": [
            b"{}",
            without(spoilt, "MessageName"),
            b'{"MessageName": "Update", "PrimaryEntityName": "contact"}',
        ],
        "BadGuid": [body_of(spoilt).replace(spoilt.id.encode(), b"not-a-guid")],
        "WrongFormat": [b"<RemoteExecutionContext/>", b"@\x06string\x08http://schemas.microsoft.com/2003/10/\xb5"],
    }
    bodies = [body for group in malformed.values() for body in group]
    mixed = [*bodies]
    for number, made in enumerate(good):
        mixed.insert(3 * number, body_of(made))
    await system.broker.post("changes", mixed)
    await system.synced(*good)
    found = await letters(system, len(bodies))
    assert sorted(each.code for each in found) == sorted(code for code, group in malformed.items() for _ in group)
    assert sorted(each.body for each in found) == sorted(bodies)  # as they came
    for each in found:
        assert each.properties["source_queue"] == system.broker.queue("changes")
        assert each.properties["system"] == "msisync"
        assert len(each.properties["message"]) > 20
        assert datetime.fromisoformat(each.properties["first_seen"]).tzinfo is not None
    assert await system.record(spoilt) is None


async def test_good_notifications_are_not_taken_for_their_neighbours(system: System, rows: Rows) -> None:
    first, second = rows.user(), rows.user()
    await system.seed(rows)
    # The platform drops empty values from the lists of a batch's content types and correlation ids.
    await system.broker.post(
        "changes",
        [
            ServiceBusMessage(body_of(first)),
            ServiceBusMessage(b"@\x06binary", content_type="application/msbin1", correlation_id=str(uuid4())),
            ServiceBusMessage(body_of(second)),
        ],
    )
    await system.synced(first, second)
    assert [each.code for each in await letters(system, 1)] == ["WrongFormat"]


async def test_notifications_that_are_not_for_this_app(system: System, rows: Rows) -> None:
    seller = rows.user()
    stranger = rows.user()
    await system.seed(rows)
    foreign = Origin(at=1_700_000_000, organization_id=OTHER_ORGANISATION, organization_name="sandbox")
    # Of rows that are not there (any more): nothing to do, and nothing wrong.
    gone = association(("contact", str(uuid4())), "contactleads_association", [("lead", str(uuid4()))])
    await system.broker.post(
        "changes",
        [
            body_of(stranger, origin=foreign),
            body_of(seller).replace(b'"systemuser"', b'"task"'),
            body_of(seller),
            notification("Associate", "none", {}, Origin(at=1_700_000_000), parameters=gone).json().encode(),
        ],
    )
    await system.synced(seller)
    found = await letters(system, 2)
    by_code = {each.code: each for each in found}
    assert OTHER_ORGANISATION in by_code["WrongOrganization"].properties["message"]
    assert "task" in by_code["UnknownTable"].properties["message"]
    assert json.loads(by_code["WrongOrganization"].body)["PrimaryEntityId"] == stranger.id
    await system.broker.hurried("person")
    await system.broker.idle()
    assert await system.record(stranger) is None


async def test_records_that_marketo_refuses(system: System, rows: Rows) -> None:
    seller = rows.user()
    good = [rows.contact(None, seller) for _ in range(5)]
    twice = rows.contact(None, seller)
    nameless = rows.opportunity(None, seller, name=None)
    fine = rows.opportunity(None, seller)
    await system.seed(rows)
    await system.fault(
        "record", path="/rest/v1/leads.json", field="externalPersonId", value=twice.id, code="1007", message="several"
    )
    await system.notify(*good[:3], twice, *good[3:], nameless, fine)
    await system.synced(*good, fine)
    refused = await system.broker.dead_letter_of(twice.id)
    missing = await system.broker.dead_letter_of(nameless.id)
    assert (refused.code, missing.code) == ("1007", "1002")
    assert "Multiple lead match" in refused.properties["message"]  # what 1007 means, not what Marketo says
    expected = {
        "entity": "person", "table": "contact", "record_id": twice.id, "system": "marketo",
        "source_queue": system.broker.queue("person"), "attempts": 1,
    }  # fmt: skip
    assert {name: refused.properties[name] for name in expected} == expected
    message = json.loads(refused.body)
    assert (message["version"], message["entity"]) == (1, "person")
    assert [record["id"] for record in message["records"]] == [twice.id]
    assert refused.properties["first_seen"] == message["records"][0]["seen"]
    assert len(await system.broker.dead_letters()) == 2


async def test_a_value_that_marketo_does_not_take_is_left_out(system: System, rows: Rows) -> None:
    good, umlaut = rows.contact(), rows.contact(emailaddress1="jürgen@example.com")
    await system.save(rows, umlaut, good)
    await system.synced(umlaut, good)
    await system.changed(umlaut, email=None, lastName=umlaut.values["lastname"])
    await system.changed(good, email=good.values["emailaddress1"])
    await system.broker.idle()
    assert not await system.broker.dead_letters()


async def test_a_dead_letter_can_be_sent_again_once_the_row_is_fixed(system: System, rows: Rows) -> None:
    deal = rows.opportunity(None, rows.user(), name=None)
    await system.save(rows, deal)
    letter = await system.broker.dead_letter_of(deal.id)
    deal.values["name"] = "Pumps"
    await system.seed(rows)
    await system.broker.post("opportunity", [letter.body], session="opportunity")
    await system.changed(deal, name="Pumps")


async def test_bad_messages_on_an_entity_queue(system: System, rows: Rows) -> None:
    contact, seller = rows.contact(None, rows.user()), rows.made[0]
    await system.save(rows, seller)
    await system.synced(seller)
    seen = datetime.now(UTC).isoformat()

    def message(records: Any, **parts: Any) -> bytes:
        return json.dumps({"version": 1, "entity": "person", "records": records, **parts}).encode()

    good = {"table": "contact", "id": contact.id, "seen": seen}
    bad: list[tuple[str, bytes]] = [
        ("BadMessage", b"no JSON"), ("BadMessage", b""), ("MessageVersion", message([good], version=2)),
        ("MessageVersion", b"[]"), ("WrongEntity", message([good], entity="company")),
        ("BadMessage", message("none")), ("BadMessage", message([{"table": "contact", "id": contact.id}])),
        ("BadMessage", message([{**good, "id": contact.id.upper()}])),
    ]  # fmt: skip
    bodies = [body for _, body in bad]
    await system.broker.post("person", [*bodies[:4], message([good]), *bodies[4:]], session="person")
    await system.synced(contact)
    found = await letters(system, len(bad))
    assert sorted(each.code for each in found) == sorted(code for code, _ in bad)
    assert {each.properties["source_queue"] for each in found} == {system.broker.queue("person")}
    await system.broker.post(
        "person", [message([{"table": "account", "id": str(uuid4()), "seen": seen}])], session="person"
    )
    assert "UnknownTable" in [each.code for each in await letters(system, len(bad) + 1)]
    assert (await system.broker.counts())[system.broker.queue("person")].dead == 0
