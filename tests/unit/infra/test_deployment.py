"""A pause outlasts a deployment, and a deployment proves itself: against what Azure's APIs answer."""

import json
import re
import urllib.request
import zipfile
from collections.abc import Sequence
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from infra import deployment, operate
from shared.config.version import deployed
from tests.support.values import ROOT
from tests.unit.infra.test_operate import VALUES, Az
from tools import bicep
from tools.bicep import INFRA

HERE = {"AZURE_SUBSCRIPTION_ID": "sub-1", "AZURE_ENV_NAME": "prod"}
SPACE = "/subscriptions/sub-1/resourceGroups/rg-msisync-prod/providers/Microsoft.ServiceBus/namespaces/sb-x"
ALL = sorted(deployment.functions())


class Azure:
    """Answers by a part of the address; a list is given one answer after another, the last one for ever."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.slept = 0.0

    def __call__(self, url: str, _resource: str) -> Any:
        self.asked.append(url)
        for part, answer in self.answers.items():
            if part in url:
                return (answer.pop(0) if len(answer) > 1 else answer[0]) if isinstance(answer, list) else answer
        return None

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def queues(**statuses: str) -> dict[str, Any]:
    return {"value": [{"name": name, "properties": {"status": status}} for name, status in statuses.items()]}


# -- pauses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "noted"),
    [
        ({"persons": "Active", "companies": "Active"}, ""),
        ({"persons": "ReceiveDisabled", "companies": "Active"}, "persons=ReceiveDisabled"),
        ({"persons": "ReceiveDisabled", "companies": "Disabled"}, "companies=Disabled,persons=ReceiveDisabled"),
    ],
)
def test_what_is_paused_is_noted_for_the_template(statuses: dict[str, str], noted: str) -> None:
    az = Az()
    azure = Azure({"sb-x/queues": queues(**statuses), "/namespaces?": {"value": [{"id": SPACE}]}})
    deployment.keep_pauses(HERE, az, azure)
    assert az.commands == [f"azd env set QUEUE_STATUSES {noted}"]


@pytest.mark.parametrize("environment", [{}, HERE], ids=["before azd knows where", "before there is a group"])
def test_before_the_first_deployment_nothing_is_paused(environment: dict[str, str]) -> None:
    az = Az()
    deployment.keep_pauses(environment, az, Azure({}))
    assert az.commands == ["azd env set QUEUE_STATUSES "]


def test_a_deployment_that_would_end_a_pause_unseen_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise HTTPError("u", 403, "", Message(), None)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    az = Az({"auth token": '{"token": "t0ken"}'})

    def ask(url: str, resource: str) -> Any:
        return deployment.ask_azure(url, resource, az)

    with pytest.raises(SystemExit, match="answers HTTP 403") as left:
        deployment.keep_pauses(HERE, az, ask)
    assert "t0ken" not in str(left.value)
    assert not [command for command in az.commands if "env set" in command]


def test_the_template_gives_each_queue_its_status_back() -> None:
    """What the hook notes is what bus.bicep reads, in the form that it reads, and for the group that it makes."""
    text = (INFRA / "bus.bicep").read_text()
    assert "filter(split(queueStatuses, ','), pair => contains(pair, '='))" in text
    assert "pair => split(pair, '=')[0],\n  pair => split(pair, '=')[1]" in text
    assert "status: any(contains(statuses, queue.name) ? statuses[queue.name] : 'Active')" in text
    main = (INFRA / "main.bicep").read_text()
    assert "name: 'rg-msisync-${environmentName}'" in main
    assert "queueStatuses: queueStatuses" in main
    assert "${QUEUE_STATUSES=}" in (INFRA / "main.parameters.json").read_text()


# -- the proof --------------------------------------------------------------------------------------------------


def indexed(names: Sequence[str]) -> dict[str, Any]:
    return {"value": [{"name": f"func-msisync-x/{name}"} for name in names]}


def beat(version: str) -> dict[str, Any]:
    return {"Value": json.dumps({"at": "2026-03-04T12:00:00.000Z", "version": version})}


@pytest.mark.parametrize(
    ("there", "beats", "code", "says"),
    [
        ([indexed(ALL)], [beat(deployed())], 0, "The app runs, version"),
        ([None, indexed([]), indexed(ALL)], [None, beat("0.1.0+old"), beat(deployed())], 0, "The app runs, version"),
        ([indexed(ALL[:-1])], [beat(deployed())], 1, f"does not have these functions: {ALL[-1]}."),
        ([indexed([])], [None], 1, "docs/troubleshooting.md#no-functions"),
        ([indexed(ALL)], [None], 0, "docs/first-day.md, step 4"),
        ([indexed(ALL)], [beat("0.1.0+old")], 1, "The app still runs 0.1.0+old"),
    ],
    ids=["at once", "in the end", "one is missing", "none", "not yet", "the old one"],
)
def test_a_deployment(
    there: list[Any], beats: list[Any], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    azure = Azure({"/functions?": there, "PartitionKey='heartbeat'": beats})
    assert deployment.check(VALUES, azure, azure.sleep) == code
    assert says in capsys.readouterr().out
    assert azure.slept <= deployment.INDEXED_SECONDS + deployment.RUNS_SECONDS
    assert azure.asked[0] == (
        "https://management.azure.com/subscriptions/sub-1/resourceGroups/rg-msisync-prod/providers/Microsoft.Web/sites/"
        "func-msisync-x/functions?api-version=2024-04-01"
    )


def test_the_note_is_looked_for_where_the_app_writes_it() -> None:
    note = "/state(PartitionKey='heartbeat',RowKey='release_deferred')"
    azure = Azure({"/functions?": indexed(ALL), note: beat("x")})
    deployment.check(VALUES, azure, azure.sleep)
    assert azure.asked[1].startswith("https://stmsisyncx.table.core.windows.net/state(")


# -- the fallback -----------------------------------------------------------------------------------------------


def test_a_package_that_needs_no_build_has_the_app_and_its_wheels(tmp_path: Path) -> None:
    commands: list[str] = []

    def pip(command: Sequence[str]) -> str:
        commands.append(" ".join(command))
        where = Path(command[command.index("--target") + 1])
        where.mkdir(parents=True)
        (where / "wheel.py").write_text("x = 1\n")
        return ""

    target = deployment.package({**VALUES, "PYTHON_VERSION": "3.12"}, pip, tmp_path / "package.zip")
    names = set(zipfile.ZipFile(target).namelist())
    assert {"function_app.py", "host.json", "requirements.txt", "sync.toml", "shared/app/composition.py"} <= names
    assert {"shared/cli/console/templates/base.html", "shared/cli/console/static/htmx.min.js"} <= names
    assert ".python_packages/lib/site-packages/wheel.py" in names
    assert not [name for name in names if name.startswith(("tests/", "infra/", "docs/"))]
    (command,) = commands
    for option in ("--python-version=3.12", "--only-binary=:all:", "--require-hashes", "manylinux_2_17_x86_64"):
        assert option in command


# -- the scaler, and instances that are kept ready --------------------------------------------------------------


def test_the_app_may_count_the_queues_that_wake_it_and_only_send_to_dead_letters_without_a_console() -> None:
    text = (INFRA / "bus.bicep").read_text()
    assert "roleAssignments: queue.setting == 'DEAD_LETTER_QUEUE' && !servesConsole ? sends : takes" in text
    assert "servesConsole: !empty(consoleClientId)" in (INFRA / "main.bicep").read_text()
    takes, sends = (re.search(rf"var {name} = \[(.*?)\n\]", text, re.DOTALL)[1] for name in ("takes", "sends"))  # type: ignore[index]
    assert "'Azure Service Bus Data Owner'" in takes
    assert "'Azure Service Bus Data Sender'" in sends
    assert "    roleAssignments: operatorRoles\n" in text  # of the namespace: not the app


def test_there_is_no_console_as_shipped_and_never_one_without_the_platform_s_sign_in() -> None:
    app = INFRA / "app.bicep"
    assert bicep.parsed(INFRA / "main.bicep")["parameters"]["consoleClientId"]["default"] in ("", None)
    text = app.read_text()
    assert "var console = { CONSOLE: empty(consoleClientId) ? 'off' : 'entra' }" in text
    assert "configs: empty(consoleClientId) ? [appSettings] : [appSettings, authentication]" in text
    sign_in = bicep.keys(app, "authentication")["properties"]
    assert sign_in["platform"] == {"enabled": True}
    assert sign_in["globalValidation"]["requireAuthentication"] is True
    assert sign_in["globalValidation"]["excludedPaths"] == ["/api/receive_webhook"]
    assert '@app.route("api/receive_webhook", methods=["POST"])' in (ROOT / "function_app.py").read_text()


def test_no_instance_is_kept_ready_unless_that_is_set() -> None:
    assert bicep.parsed(INFRA / "main.bicep")["parameters"]["alwaysReady"]["default"] in ("", None)
    settings = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert settings["alwaysReady"]["value"] == "${ALWAYS_READY=}"
    assert operate.substituted(settings["alwaysReady"]["value"], {}) == ""


def test_instances_are_kept_ready_of_the_group_http_and_of_functions_by_name() -> None:
    text = (INFRA / "app.bicep").read_text()
    assert "alwaysReady: ready" in text
    assert "== 'http' ? 'http' : 'function:${trim(split(pair, '=')[0])}'" in text
