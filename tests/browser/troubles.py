"""A small company whose sync is in every trouble that the console shows, to be acted on."""

from datetime import UTC, datetime
from uuid import uuid4

from local.harness import Made, Rows, System, eventually
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.sync.runs.model import RunKind, Scope, new_run
from shared.sync.runs.page import pages_of
from shared.sync.runs.store import Runs

COMPANIES = ("Arrow Pumps", "Birch Valves", "Cedar Bearings", "Dune Filters", "Elm Gears")
PERSONS = (
    *(("Ada", "Lind"), ("Ben", "Okafor"), ("Cleo", "Marsh"), ("Dai", "Pritchard"), ("Eva", "Novak"), ("Finn", "Sato")),
    *(("Gia", "Russo"), ("Hugo", "Brandt"), ("Iris", "Kaya"), ("Jan", "Kowal"), ("Kim", "Dahl"), ("Leo", "Varga")),
)
#: Persons whom Marketo refuses, deals without a name, notifications that are no JSON.
REFUSED, NAMELESS, UNREADABLE = 9, 3, 2


async def make(system: System) -> Made:
    """Bring it about: letters of three codes, parked children, a paused queue, a run. Gives a person that is synced."""
    rows = Rows()
    seller = rows.user(firstname="Sam", lastname="Sellers")
    accounts = [rows.account(seller, name=name) for name in COMPANIES]
    persons = [_person(rows, account, number) for number, account in enumerate(accounts)]
    await system.seed(rows)
    await system.notify(seller, *accounts, *persons)
    await system.synced(seller, *accounts, *persons, seconds=180)
    refused = await _letters(system, rows, accounts[0])
    await _parked(system, rows)
    await _run(system, refused)
    for timer in ("release_deferred", "write_back_msi"):
        await system.run_timer(function=timer)
    return persons[0]


def _person(rows: Rows, account: Made, number: int) -> Made:
    first, last = PERSONS[number % len(PERSONS)]
    return rows.contact(
        account, firstname=first, lastname=last, emailaddress1=f"{first}.{last}.{number}@customer.example".lower()
    )


async def _letters(system: System, rows: Rows, account: Made) -> list[Made]:
    """Gives the persons that Marketo refuses."""
    refused = [_person(rows, account, 100 + number) for number in range(REFUSED)]
    nameless = [rows.opportunity(account, name=None) for _ in range(NAMELESS)]
    for each in refused:
        await system.fault(
            "record", path="/rest/v1/leads.json", field="externalPersonId", value=each.id, code="1007", message="twice"
        )
    await system.seed(rows)
    await system.notify(*refused, *nameless)
    await system.broker.post("changes", [b"hello"] * UNREADABLE)
    number = REFUSED + NAMELESS + UNREADABLE
    await eventually(
        system.broker.dead_letters, lambda seen: len(seen) >= number, seconds=180, what=f"{number} dead letters"
    )
    return refused


async def _parked(system: System, rows: Rows) -> None:
    await system.broker.set_status("company", "ReceiveDisabled")
    account = rows.account(name="Fir Springs")
    children = [_person(rows, account, 200 + number) for number in range(4)]
    await system.seed(rows)
    await system.notify(*children)
    await eventually(
        system.parked, lambda found: len(found) >= len(children), seconds=180, what=f"{len(children)} parked"
    )


async def _run(system: System, refused: list[Made]) -> None:
    """A run that has come through one page of rows; it goes no further, for its timer does not run here."""
    connection = system.endpoints["storage"]["connection_string"]
    storage = StorageSettings.model_validate({"AzureWebJobsStorage": connection})
    account = Account(storage)
    now = datetime.now(UTC).replace(microsecond=0)
    run = new_run(RunKind.INITIAL_SYNC, Scope(("contact",)), now, unique=uuid4().hex, expected={"contact": 1200})
    runs = Runs(account.table(storage.state_table), now=lambda: now)
    await runs.create(run)
    states = {each.id: "failed:1007" for each in refused}
    states |= {str(uuid4()): "skipped:Filtered" for _ in range(21)}
    states |= {str(uuid4()): "created" for _ in range(300 - len(states))}
    pages = [page.sent(now).told(states, {"1007": "twice"}) for page in pages_of(run.id, "contact", 0, list(states))]
    stored = await runs.read(run.id)
    assert stored
    assert await runs.replace(stored, stored.table("contact", rows=len(states), pages=len(pages)), pages)
    await account.close()
