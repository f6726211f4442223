"""`msisync register` as an operator runs it: from an empty environment to changes that arrive, and back to none."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from emulators.dataverse.seeding import fixed_id
from local.harness import Made, Rows, System, eventually
from local.harness.commands import Ended, run_here, start
from local.harness.showing import way_to
from local.queues import DATAVERSE_KEY

TABLES = ("serviceendpoint", "sdkmessageprocessingstep", "sdkmessageprocessingstepimage")
#: Three steps for each of the six tables of sync.toml, one for teams and one for roles, and two images.
REGISTERED = (1, 20, 2)
WRITES = sum(REGISTERED)
SETS = {
    "endpoint": "serviceendpoints", "step": "sdkmessageprocessingsteps", "image": "sdkmessageprocessingstepimages",
}  # fmt: skip
VERBS = {"create": "POST", "update": "PATCH", "enable": "PATCH", "delete": "DELETE"}


class Operator:
    """Somebody who runs msisync in a terminal, and changes rows in Dynamics."""

    def __init__(self, system: System, web_api: httpx.AsyncClient) -> None:
        self.system = system
        self._web_api = web_api

    async def msisync(self, line: str) -> Ended:
        ended = await run_here(self.system.stack.settings_file, *line.split())
        text = ended.out + ended.err
        assert DATAVERSE_KEY not in text
        assert self.system.webhook_key not in text
        return ended

    async def registered(self) -> list[Any]:
        """The rows of endpoints, steps and images."""
        return [await self.system.dataverse(f"/rows/{table}") for table in TABLES]

    async def counted(self) -> tuple[int, ...]:
        return tuple(map(len, await self.registered()))

    async def posted(self) -> int:
        """How many changes Dynamics has posted, once it has no more to post."""

        async def look() -> Any:
            return await self.system.dataverse("/stats")

        stats = await eventually(look, lambda seen: seen["pending_posts"] == 0, what="the end of all posts")
        assert stats["failed_posts"] == 0
        return int(stats["posted"])

    async def create(self, entity_set: str, content: dict[str, Any]) -> str:
        answer = (await self._web_api.post(entity_set, json=content)).raise_for_status()
        return str(answer.headers["OData-EntityId"]).rpartition("(")[2].rstrip(")")

    async def update(self, contact: Made, **values: Any) -> None:
        await self.write("PATCH", f"contacts({contact.id})", values)

    async def write(self, method: str, path: str, content: dict[str, Any] | None = None) -> None:
        (await self._web_api.request(method, path, json=content)).raise_for_status()


@pytest.fixture
async def operator(system: System) -> AsyncIterator[Operator]:
    given = system.endpoints["dataverse"]
    tls = ssl.create_default_context(cafile=system.endpoints["ca_bundle"])
    names = ("client_id", "client_secret", "username", "password")
    form = {"grant_type": "password", "scope": f"{given['url']}/.default", **{name: given[name] for name in names}}
    async with httpx.AsyncClient(
        base_url=f"{given['url']}/api/data/v9.2/", proxy=system.endpoints["https_proxy"], verify=tls, trust_env=False
    ) as web_api:
        token = (await web_api.post(f"{given['authority']}/oauth2/v2.0/token", data=form)).raise_for_status().json()
        web_api.headers["Authorization"] = f"Bearer {token['access_token']}"
        one = Operator(system, web_api)
        with way_to(system):
            yield one
            await system.dataverse("/faults", [])
            await one.msisync("unregister --apply")


async def new_contact(operator: Operator) -> Made:
    """A contact that comes into being through the Web API, with an owner that Marketo may have already."""
    rows = Rows()
    seller = rows.user()
    await operator.system.seed(rows)
    content = {"firstname": "Ada", "lastname": "Byron", "ownerid@odata.bind": f"/systemusers({seller.id})"}
    return Made("contact", await operator.create("contacts", content), {})


@pytest.mark.parametrize("option", ["", "--webhook"])
async def test_from_nothing_to_changes_that_arrive_and_back(operator: Operator, option: str) -> None:
    system = operator.system
    empty = await operator.registered()
    assert (await operator.msisync("unregister")).code == 0
    planned = await operator.msisync(f"register {option}")
    assert planned.code == 1
    assert planned.out.count("create ") == WRITES
    assert f"{' '.join(['register', *option.split()])} --apply" in planned.out
    assert await operator.registered() == empty == [[], [], []]

    applied = await operator.msisync(f"register {option} --apply")
    assert applied.code == 0, applied.err
    assert f"{WRITES}/{WRITES}" in applied.err
    assert await operator.counted() == REGISTERED
    again = await operator.msisync(f"register {option} --json")
    assert (again.code, again.json["actions"]) == (0, [])

    contact = await new_contact(operator)
    await system.changed(contact, firstName="Ada", lastName="Byron")
    await operator.update(contact, jobtitle="Analyst")
    await system.changed(contact, title="Analyst")
    posted = await operator.posted()
    await operator.update(contact, new_priority=5, new_last_interesting_moment_desc="Opened the email")
    assert await operator.posted() == posted

    taken = await operator.msisync("unregister --apply")
    assert taken.code == 0, taken.err
    assert await operator.registered() == [[], [], []]
    await operator.update(contact, jobtitle="Countess")
    assert await operator.posted() == posted


def after(verb: str, kind: str, gate: str) -> dict[str, Any]:
    """A fault of Dataverse: the next write of this sort is carried out, and its answer stays at a gate."""
    return {"method": VERBS[verb], "match": f"/{SETS[kind]}\\b", "status": "hold", "when": "after", "gate": gate}


async def test_a_run_that_is_killed_between_two_steps_is_completed_by_the_next(operator: Operator) -> None:
    await operator.system.let_go("first", part="dataverse")
    first = [{**after("create", "step", "first"), "times": 10}]
    await operator.system.dataverse("/faults", [*first, after("create", "step", "last")])
    process = await start(operator.system.stack.settings_file, "register", "--apply")
    await operator.system.held("last", part="dataverse")
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    assert process.returncode == -signal.SIGKILL
    await operator.system.dataverse("/faults", [])
    assert await operator.counted() == (1, 11, 0)
    planned = await operator.msisync("register --json")
    assert (planned.code, len(planned.json["actions"])) == (1, WRITES - 12)
    assert (await operator.msisync("register --apply")).code == 0
    assert await operator.counted() == REGISTERED
    assert (await operator.msisync("register")).code == 0


async def test_from_queue_to_webhook_no_change_is_missed(operator: Operator) -> None:
    """A change in each moment between two writes: every one is posted, and the last one arrives."""
    system = operator.system
    assert (await operator.msisync("register --apply")).code == 0
    contact = await new_contact(operator)
    await system.synced(contact)
    planned = (await operator.msisync("register --webhook --json")).json["actions"]
    gates = [f"write {number}" for number in range(len(planned))]
    await system.dataverse(
        "/faults", [after(each["action"], each["component"], gate) for each, gate in zip(planned, gates, strict=True)]
    )
    posted = await operator.posted()
    switching = asyncio.create_task(operator.msisync("register --webhook --apply"))
    for number, gate in enumerate(gates, start=1):
        await system.held(gate, part="dataverse")
        await operator.update(contact, jobtitle=f"Title {number}")
        assert await operator.posted() > posted, planned[number - 1]
        posted = await operator.posted()
        await system.let_go(gate, part="dataverse")
    ended = await switching
    assert ended.code == 0, ended.err
    await system.changed(contact, title=f"Title {len(planned)}")
    (endpoint,) = (await operator.registered())[0]
    assert endpoint["contract"] == 8


async def test_what_is_registered_tells_how_a_role_ended(operator: Operator) -> None:
    """Renamed, moved to another opportunity, deleted: each leaves nothing behind, though functions are killed."""
    system = operator.system
    assert (await operator.msisync("register --apply")).code == 0
    contact = await new_contact(operator)
    customer = {"customerid_contact@odata.bind": f"/contacts({contact.id})"}
    deal, other = [
        Made("opportunity", await operator.create("opportunities", {"name": name, **customer}), {})
        for name in ("Deal", "Other deal")
    ]
    for each in (deal, other):
        await system.has_roles(each, (contact, "Primary Contact"))
    role = fixed_id("connectionrole", "Champion")
    connection = await operator.create(
        "connections",
        {
            "record1id_opportunity@odata.bind": f"/opportunities({deal.id})",
            "record2id_contact@odata.bind": f"/contacts({contact.id})",
            "record2roleid@odata.bind": f"/connectionroles({role})",
        },
    )
    await system.has_roles(deal, (contact, "Champion"), (contact, "Primary Contact"))
    await operator.write("PATCH", f"connections({connection})", {"record2roleid@odata.bind": None})
    await system.has_roles(deal, (contact, "Primary Contact"), (contact, "Stakeholder"))
    moved = {"record1id_opportunity@odata.bind": f"/opportunities({other.id})"}
    await operator.write("PATCH", f"connections({connection})", moved)
    await system.has_roles(deal, (contact, "Primary Contact"))
    await system.has_roles(other, (contact, "Primary Contact"), (contact, "Stakeholder"))
    path = "/rest/v1/opportunities/roles.json"
    await system.fault("hold", gate="the look at the roles", path=path, verb="GET", when="after")
    await operator.write("DELETE", f"connections({connection})")
    await system.held("the look at the roles")
    await system.stack.kill_functions()
    await system.forget_faults()
    await system.stack.start_functions()
    await system.has_roles(other, (contact, "Primary Contact"))
    await system.broker.idle()
    assert not await system.broker.dead_letters()
