"""Plans of the write-back: which fields go to which columns, and when that is found out anew."""

from datetime import timedelta

from local.virtual import MemoryState
from shared.config.sync_toml import SyncConfig
from shared.write_back.plan import KEPT
from shared.write_back.values import Target
from tests.support.plans import CONFIG, Systems


async def test_a_plan_names_what_both_systems_have_and_leaves_out_the_rest() -> None:
    plan = await Systems().plans().current()
    assert plan.tables == {
        "contact": (
            Target("msiLastInterestingMomentType", "msi_type", "String", 20),
            Target("msiLastInterestingMomentDate", "msi_date", "Date"),
            Target("priority", "msi_engagement", "Picklist", choices={"high": 100, "low": 200}),
            Target("relativeScore", "msi_stars", "Integer"),
        )
    }
    assert plan.activities == (61, 62)
    assert plan.merges == 64
    assert plan.logged == ("priority", "relativeScore")
    assert plan.flags == {"contact": "new_synctomkto"}


async def test_without_the_right_to_see_activities_there_is_a_plan_for_the_sweep() -> None:
    systems = Systems()
    systems.refusal = "603"
    plan = await systems.plans().current()
    assert (plan.activities, plan.merges) == ((), 0)
    assert plan.fields


async def test_a_process_that_has_just_started_asks_nobody_for_the_plan() -> None:
    systems = Systems()
    made = await systems.plans().current()
    systems.asked.clear()
    assert await systems.plans().current() == made
    assert systems.asked == []


async def test_a_plan_is_made_anew_after_a_day_for_another_sync_toml_and_once_it_is_forgotten() -> None:
    systems = Systems()

    async def is_made_anew(config: SyncConfig = CONFIG) -> bool:
        systems.asked.clear()
        await systems.plans(config).current()
        return "describe" in systems.asked

    assert await is_made_anew()
    assert not await is_made_anew()
    systems.now += KEPT + timedelta(seconds=1)
    assert await is_made_anew()
    assert await is_made_anew(CONFIG.model_copy(update={"write_back": {"priority": ("Engagement",)}}))
    assert await is_made_anew()
    await systems.plans().forget()
    assert await is_made_anew()


async def test_a_plan_that_another_version_has_kept_is_made_anew() -> None:
    systems = Systems()
    await systems.plans().current()
    await MemoryState(systems.table).put("write_back", "plan", {"rules": 7})
    systems.asked.clear()
    assert (await systems.plans().current()).fields
    assert "describe" in systems.asked


async def test_a_plan_of_a_dry_run_is_kept_nowhere() -> None:
    systems = Systems()
    await systems.plans(reads_only=True).current()
    assert not systems.table.rows
