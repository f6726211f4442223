"""What was mapped since the last run over all rows is told with the command that sends it."""

from types import SimpleNamespace
from typing import Any

from shared.cli.fields import unsynced
from shared.config.sync_toml import SyncConfig
from shared.sync.runs.synced_fields import KIND, Unsynced, rules_of
from tests.support.commands import printed
from tests.support.state import SharedState

CONFIG = SyncConfig.model_validate({"contact": {"fields": {"firstName": "firstname", "title": "jobtitle"}}})


def context(state: SharedState) -> Any:
    return SimpleNamespace(config=CONFIG, state=state)


async def test_a_new_field_comes_with_the_command_that_sends_it() -> None:
    state = SharedState()
    rules = rules_of(CONFIG, "contact")
    await state.put(KIND, "contact", {"synced": {"firstName": rules["firstName"]}, "tables": ["contact"]})
    found = await unsynced.look(context(state))
    assert found == [Unsynced("contact", ("title",))]
    text = printed(lambda console: unsynced.show(console, found))
    assert "since the last run over all: title" in text
    assert "msisync quick-sync contact --fields title" in text
    assert unsynced.as_json(found)[0]["next"] == "msisync quick-sync contact --fields title"


async def test_an_installation_without_a_complete_run_gets_no_advice_nor_one_without_storage() -> None:
    state = SharedState()
    assert await unsynced.look(context(state)) == []
    await state.put(KIND, "contact", {"synced": {}, "tables": []})
    state.storage_away = True
    assert await unsynced.look(context(state)) == []


def test_what_a_quick_sync_cannot_send_needs_an_initial_sync_of_the_table() -> None:
    role = Unsynced("connection", ("dealStage",))
    assert unsynced.remedy(role) == "msisync initial-sync start --only connection"
    assert unsynced.remedy(Unsynced("lead", ("title",), is_whole=True)) == "msisync initial-sync start --only lead"
    assert unsynced.remedy(Unsynced("lead", ("title", "city"))) == "msisync quick-sync lead --fields title,city"


async def test_another_filter_needs_an_initial_sync_of_the_table() -> None:
    state = SharedState()
    rules, other = rules_of(CONFIG, "contact"), {"flag": "", "rule": [{"statecode": [0]}]}
    await state.put(KIND, "contact", {"synced": rules, "filter": other, "tables": ["contact"]})
    found = await unsynced.look(context(state))
    text = printed(lambda console: unsynced.show(console, found))
    assert "contact: the last run over all rows was with another filter" in text
    assert "lack what was mapped" not in text
    (told,) = unsynced.as_json(found)
    assert (told["fields"], told["filter_changed"]) == ([], True)
    assert told["next"] == "msisync initial-sync start --only contact"
