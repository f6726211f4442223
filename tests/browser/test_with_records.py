"""One record in the browser: both sides, what its sync would do, and its sync."""

import re

import pytest
from playwright.async_api import expect

from emulators.marketo.objects import LEADS
from local.harness import Made, System
from tests.browser.desk import PATIENCE, Desk, over, settled

expect.set_options(timeout=PATIENCE)
BY_HAND = "Somebody else"


async def test_a_record_that_differs_is_previewed_and_synced(operator: Desk, system: System, person: Made) -> None:
    record = await system.record(person)
    assert record
    url = f"{system.stack.control()['marketo']}/records/{LEADS}"
    (await system.http.patch(url, json=[{"id": record["id"], "firstName": BY_HAND}])).raise_for_status()
    tab = await operator.open(f"/records?q={person.id}")
    await expect(tab.get_by_text("differs in 1 field")).to_be_visible()
    marked = await tab.locator(".sides mark").all_inner_texts()
    assert marked == [person.values["firstname"], BY_HAND]
    await tab.get_by_role("link", name="Preview").click()
    await settled(tab)
    preview = tab.locator("section", has_text="Preview: what its sync would do now")
    await expect(preview).to_contain_text("Its person in Marketo is updated.")
    await expect(preview).to_contain_text("changes in Marketo firstName")
    assert (await system.record(person) or {})["firstName"] == BY_HAND, "nothing was written"
    await tab.get_by_role("button", name="Sync now").click()
    assert f"contact {person.id} is on its queue" in await over(tab)
    await system.changed(person, firstName=person.values["firstname"])
    await tab.get_by_role("link", name="Back").click()
    await settled(tab)
    await tab.get_by_role("link", name="Look again").click()
    await settled(tab)
    await expect(tab.get_by_text("the same in")).to_be_visible()
    await expect(tab.locator("ol.time li", has_text="sent to be synced again, by ann").first).to_be_visible()


@pytest.mark.usefixtures("person")
async def test_what_a_person_belongs_to_stands_side_by_side_too(operator: Desk, system: System) -> None:
    """The account and the sales person."""
    for table, field in (("account", "company"), ("systemuser", "email")):
        (key, record), *_ = (await system.records(table)).items()
        tab = await operator.open(f"/records?q={key}")
        await expect(tab.locator("h2", has_text=f"({key})")).to_be_visible()
        line = tab.locator(".sides tr", has=tab.locator("th", has_text=re.compile(rf"^{field} ")))
        await expect(line).to_contain_text(str(record[field]))
        await tab.get_by_role("link", name="Preview").click()
        await settled(tab)
        await expect(tab.get_by_text("Its record in Marketo is updated.")).to_be_visible()
        await tab.close()
