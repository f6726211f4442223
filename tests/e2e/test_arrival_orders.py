"""Children that come before their parents: for every relation, and for all of them at once. The timer never runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from local.harness import Made, Rows, System, eventually
from local.harness.system import body_of
from shared.azure.history_tables import HistoryTables
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.sync.history import What
from shared.sync.history_log import read

#: How often a parent is sent for its children: whoever finds it missing in the moment in which it comes asks once more.
ONCE = (1, 2)


@dataclass
class Family:
    """One row of each kind, each with every parent that it can have."""

    seller: Made
    account: Made
    contact: Made
    lead: Made
    deal: Made
    role_of_contact: Made
    role_of_lead: Made


def family(rows: Rows) -> Family:
    seller = rows.user()
    account = rows.account(seller)
    contact = rows.contact(account, seller)
    lead = rows.lead(account, seller)
    deal = rows.opportunity(account, seller)
    roles = rows.connection(deal, contact, "Decision Maker"), rows.connection(deal, lead)
    return Family(seller, account, contact, lead, deal, *roles)


async def are_related(system: System, kin: Family) -> None:
    """Wait until all of a family is in Marketo, with every relation right."""
    owned = {"externalSalesPersonId": kin.seller.id}
    placed = {**owned, "externalCompanyId": kin.account.id}
    await system.synced(kin.seller)
    await system.changed(kin.account, **owned)
    for made in (kin.contact, kin.lead, kin.deal):
        await system.changed(made, **placed)
    await system.has_roles(kin.deal, (kin.contact, "Decision Maker"), (kin.lead, "Stakeholder"))


# (child, its parent that is not in Marketo, the parents that are)
RELATIONS = {
    "company before sales person": ("account", "seller", []),
    "contact before sales person": ("contact", "seller", []),
    "contact before company": ("contact", "account", ["seller"]),
    "lead before sales person": ("lead", "seller", []),
    "lead before company": ("lead", "account", ["seller"]),
    "opportunity before sales person": ("deal", "seller", []),
    "opportunity before company": ("deal", "account", ["seller"]),
    "role before opportunity": ("role_of_contact", "deal", ["account", "contact"]),
    "role before contact": ("role_of_contact", "contact", ["account", "deal"]),
    "role before lead": ("role_of_lead", "lead", ["account", "deal"]),
}
#: How many rows come for these children: themselves, their parents, and the parents of these. Leads count as contacts.
COMING = {"systemuser": 4, "account": 7, "contact": 6, "opportunity": 3}


async def test_a_child_brings_its_parent(system: System, rows: Rows) -> None:
    """Each relation in a family of its own."""
    kin = {relation: family(rows) for relation in RELATIONS}
    await system.seed(rows)
    before = [getattr(kin[relation], name) for relation, (_, _, there) in RELATIONS.items() for name in there]
    await system.notify(*before)
    await system.synced(*before)
    await system.broker.idle()
    sent_before = {table: await system.received(table) for table in COMING}
    await system.notify(*(getattr(kin[relation], child) for relation, (child, _, _) in RELATIONS.items()))
    for relation, (child, parent, _) in RELATIONS.items():
        one = kin[relation]
        if child == "role_of_contact":
            await system.has_roles(one.deal, (one.contact, "Decision Maker"))
        elif child == "role_of_lead":
            await system.has_roles(one.deal, (one.lead, "Stakeholder"))
        else:
            link = "externalSalesPersonId" if parent == "seller" else "externalCompanyId"
            await system.changed(getattr(one, child), **{link: getattr(one, parent).id})
        assert await system.record(getattr(one, parent)), relation
    await system.nothing_parked()
    await system.broker.idle()
    for table, count in COMING.items():
        sent = await system.received(table) - sent_before[table]
        assert count <= sent <= max(ONCE) * count, table
    parents = [getattr(kin[relation], parent) for relation, (_, parent, _) in RELATIONS.items()]
    # The history of a row is written a moment after it was sent.
    times = await eventually(
        lambda: times_sent(system, parents), lambda found: len(found) == len(parents), what="a history of each parent"
    )
    assert max(times.values()) <= max(ONCE), times
    assert not await system.broker.dead_letters()


async def times_sent(system: System, rows: Sequence[Made]) -> Counter[str]:
    """How often each of these rows was stored in Marketo, by its id, as the history says."""
    connection = system.endpoints["storage"]["connection_string"]
    account = Account(StorageSettings.model_validate({"AzureWebJobsStorage": connection}))
    try:
        past = await read(HistoryTables(account), [made.id for made in rows], days=1, now=datetime.now(UTC))
    finally:
        await account.close()
    return Counter(event.id for event in past.events if event.what in {What.CREATED, What.UPDATED})


async def test_a_role_alone_brings_the_whole_family(system: System, rows: Rows) -> None:
    kin = family(rows)
    await system.save(rows, kin.role_of_contact)
    await system.has_roles(kin.deal, (kin.contact, "Decision Maker"))
    await system.changed(kin.deal, externalCompanyId=kin.account.id, externalSalesPersonId=kin.seller.id)
    await system.changed(kin.account, externalSalesPersonId=kin.seller.id)
    await system.nothing_parked()
    assert await system.record(kin.lead) is None  # nobody asked for the lead
    assert not await system.broker.dead_letters()


async def test_a_parent_is_requested_once_however_many_children_wait(system: System, rows: Rows) -> None:
    seller = rows.user()
    account = rows.account(seller)
    children = [rows.contact(account, seller) for _ in range(120)]
    await system.seed(rows)
    sellers, companies, persons = [await system.received(table) for table in ("systemuser", "account", "contact")]
    await system.broker.post("changes", [body_of(child) for child in children])
    await system.synced(*children, seconds=30)
    await system.nothing_parked()
    assert await system.received("systemuser") - sellers in ONCE
    assert await system.received("account") - companies in ONCE
    assert await system.received("contact") == persons + len(children)
    assert not await system.broker.dead_letters()


async def test_several_families_interleaved_backwards(system: System, rows: Rows) -> None:
    families = [family(rows) for _ in range(6)]
    await system.save(rows, *reversed(rows.made))
    for kin in families:
        await are_related(system, kin)
    await system.nothing_parked()
    assert not await system.broker.dead_letters()
