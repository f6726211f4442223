"""Every document: its links lead somewhere, and the files, settings, tasks and checks that it names are there."""

import html
import json
import re
import shlex

import pytest

import dev
from infra import operate
from shared.cli.doctor.command import CHECKS
from shared.cli.queues import QUEUES
from shared.config.settings import Settings
from tests.support.values import ROOT

PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
}
ALERTS = json.loads((ROOT / "infra/alerts.json").read_text())
FIRST_DAY, COSTS = PAGES["docs/first-day.md"], PAGES["docs/limits-and-costs.md"]
#: Names in capitals that are no settings of the app, by where they come from.
OTHER_NAMES = {
    *re.findall(r"\$\{(\w+)", (ROOT / "infra/main.parameters.json").read_text()),  # azd's
    *re.findall(r"output ([A-Z_]+) ", (ROOT / "infra/main.bicep").read_text()),
    *re.findall(r"^  ([A-Z][A-Z0-9_]+): ", (ROOT / "infra/app.bicep").read_text(), re.MULTILINE),  # the platform's
    "MSISYNC_SETTINGS",  # of the command, not of the app
    "RELEASE_SCHEDULE",
    "RUN_SCHEDULE",
    "RECONCILE_SCHEDULE",
    "WRITE_BACK_SCHEDULE",
    "ACCEPT_EULA",
    "SQL_PASSWORD",
    "DEV_PYTHON",
    "MSISYNC_FAULTS",
    "CHROMIUM",
    "WEBSITE_AUTH_ENABLED",
    "WEBSITE_HOSTNAME",
    "HTTPS_PROXY",
    "SAS_KEY_VALUE",
    "FUNCTIONS_WORKER_RUNTIME",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",  # not to be set, as the operations guide says
}
#: Files that are made by running something.
MADE = (".local/", "site/", ".azure/", "march.jsonl", "local.settings.json", ".env", ".venv/")


def settings() -> set[str]:
    groups = [field.annotation for field in Settings.model_fields.values()]
    return {str(field.alias) for group in groups for field in group.model_fields.values()}  # type: ignore[union-attr]  # classes


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_a_file_of_the_project(page: str) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", PAGES[page])
    for target in targets:
        if not target.startswith(("https://", "mailto:")):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_named_files_are_there(page: str) -> None:
    named = re.findall(r"`([\w.*/-]+(?:\.(?:py|md|toml|json|txt|in|yml|yaml|bicep|svg)|/))`", PAGES[page])
    for name in named:
        if name.startswith(MADE) or name in {"dataverse/", "marketo/"}:
            continue
        places = (ROOT, ROOT / "local", ROOT / "emulators", (ROOT / page).parent)
        assert any(list(place.glob(name)) for place in places), name


@pytest.mark.parametrize("page", PAGES)
def test_named_settings_are_known(page: str) -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", PAGES[page]))
    assert named <= settings() | OTHER_NAMES


@pytest.mark.parametrize("page", PAGES)
def test_named_tasks_of_dev_are_there(page: str) -> None:
    for line in re.findall(r"python3? dev\.py ([a-z][^\n`#]*)", PAGES[page]):
        task, *words = (word.strip(",;.") for word in line.split())
        assert task in dev.TASKS, line
        if task == "test":
            assert {word for word in words if re.fullmatch("[a-z0-9]+", word)} <= {
                *dev.TIERS, *dev.NAMED_TIERS, "routing",
            }, line  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_the_operating_script_are_understood(page: str) -> None:
    for line in re.findall(r"(?:python3 )?infra/operate\.py ([a-z][^\n`]*)", PAGES[page]):
        command, *_ = shlex.split(line.split(",")[0].split(".")[0])
        assert f"infra/operate.py {command}" in str(operate.__doc__), line


def test_the_first_day_says_when_each_check_of_the_doctor_is_green() -> None:
    """Once each: a family of checks is told by what its names begin with."""
    rows = re.findall(r"^\| [4-7] [^|]+\| ([^|]+) \|", FIRST_DAY, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`([a-z-]+…?)`", row)]
    assert len(rows) == 4
    assert len(told) == len(set(told))
    whole = {name for name in told if not name.endswith("…")}
    families = tuple(name.rstrip("…") for name in told if name.endswith("…"))
    assert {check.id for check in CHECKS if not check.id.startswith(families)} == whole


def test_a_check_is_green_no_sooner_than_what_it_needs() -> None:
    rows = re.findall(r"^\| ([4-7]) [^|]+\| ([^|]+) \|", FIRST_DAY, re.MULTILINE)
    told = {name: int(step) for step, row in rows for name in re.findall(r"`([a-z-]+…?)`", row)}
    step_of = {check.id: told.get(check.id, told["marketo-…"]) for check in CHECKS}
    for check in CHECKS:
        for needed in check.needs:
            if not check.id.startswith("mapp"):  # they look at the lines that are chosen then
                assert step_of[needed] <= step_of[check.id], check.id


def test_the_month_s_sums_are_what_the_assumptions_give() -> None:
    price = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", COSTS, re.MULTILINE)}
    use = {
        name: [float(value) for value in values.split("|")]
        for name, values in re.findall(r"^\| `(\w+)`[^|]*\| ([\d.]+ \| [\d.]+ \| [\d.]+) \|$", COSTS, re.MULTILINE)
    }
    told = {
        name: [float(value.strip(" *")) for value in values.split("|")]
        for name, values in re.findall(r"^\| ([a-zA-Z*][^|`]+) \| ([\d.* |]+) \|$", COSTS, re.MULTILINE)
    }
    executions = [30 * count + price["timer_executions"] for count in use["executions"]]
    active = [30 * seconds + price["timer_seconds"] for seconds in use["seconds"]]
    runs = [max(0, count - price["executions_free"]) * price["execution"] for count in executions]

    def compute(gigabytes: float) -> list[float]:
        taken = (max(0, seconds * gigabytes - price["gb_seconds_free"]) * price["gb_second"] for seconds in active)
        return [a + b for a, b in zip(taken, runs, strict=True)]

    rest = {
        "Service Bus": [
            price["bus_base"] + max(0, 30 * count - price["bus_included"]) * price["bus_operation"]
            for count in use["operations"]
        ],
        "storage": use["storage"],
        "telemetry": [
            max(0, count * price["log_kb_per_execution"] / 1e6 - price["log_gb_free"]) * price["log_gb"]
            for count in executions
        ],
        "alerts": [
            sum(price["log_alert_5" if rule["every"] == "PT5M" else "log_alert_15"] for rule in ALERTS["log"])
            + price["metric_series"] * (2 * len(QUEUES) - 1)  # of all queues, and of all but dead-letters
        ]
        * 3,
    }
    wanted = {"compute, 2 GB instances": compute(2), **rest}
    for name, values in wanted.items():
        assert told[name] == pytest.approx(values, abs=0.006), name
    for name, gigabytes in {"**sum**": 2.0, "**sum with 512 MB instances**": 0.5}.items():
        sums = [sum(column) for column in zip(compute(gigabytes), *rest.values(), strict=True)]
        assert told[name] == pytest.approx(sums, abs=0.02), name


def test_the_picture_in_the_readme_shows_both_commands_and_loads_nothing() -> None:
    assert "](docs/msisync.svg)" in PAGES["README.md"]
    picture = (ROOT / "docs/msisync.svg").read_text(encoding="utf-8")
    text = html.unescape(re.sub("<[^>]+>", "", picture)).replace("\N{NO-BREAK SPACE}", " ")
    for shown in (
        "$ msisync show person ",
        "Synced",
        "in Dynamics: yes; in Marketo: yes",
        "$ msisync status",
        "opportunity-roles",
    ):
        assert shown in text, shown
    assert set(re.findall(r"https?://[\w.]+", picture)) <= {"http://www.w3.org", "https://www.textualize.io"}
