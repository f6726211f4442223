"""Single checks of the doctor, on answers that a simulator does not give."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError
from pydantic import SecretStr

from shared.azure.parked_table import Store
from shared.azure.table import Table
from shared.cli.doctor.command import CHECKS
from shared.cli.doctor.runner import Subject
from shared.cli.doctor.settings import FOR_TRIGGERS, knock
from shared.cli.finding import Finding, Severity
from shared.config.sync_toml import SyncConfig
from shared.model.codes import Kind
from shared.model.errors import DataverseError

URL = "https://contoso.crm4.dynamics.com"
ORGANIZATION = "3a6c9d12-7b4d-ee11-a81c-000d3a4f77c1"
RULES = SyncConfig.model_validate({table: {"fields": {"a": "b"}} for table in ("lead", "contact", "account")})
DENIED = DataverseError("0x80040220", "missing prvReadUser", kind=Kind.CONFIGURATION)


class Dataverse:
    """Gives the answer whose key is part of the address; an error is raised."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    async def get(self, url: str) -> Any:
        answer: Any = next((found for part, found in self._answers.items() if part in url), {"value": []})
        if isinstance(answer, Exception):
            raise answer
        return answer


async def made(check: str, subject: Subject) -> Finding:
    return await next(each.run for each in CHECKS if each.id == check)(subject)


def subject(**context: Any) -> Subject:
    given: Any = SimpleNamespace(**context)
    return Subject(given)


async def find(check: str, answers: Mapping[str, Any], *, organization_id: str = "") -> Finding:
    """What a check finds with these answers of Dataverse."""
    settings = SimpleNamespace(dataverse=SimpleNamespace(url=URL, organization_id=organization_id))
    dataverse = Dataverse({"WhoAmI": {"UserId": "u-1"}, **answers})
    return await made(check, subject(settings=settings, config=RULES, dataverse=dataverse))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[httpx.Response], None]:
    """Lets everybody who is asked without signing in answer this."""

    def all_answer(response: httpx.Response) -> None:
        client, transport = httpx.AsyncClient, httpx.MockTransport(lambda _: response)
        monkeypatch.setattr(
            "shared.cli.doctor.settings.httpx.AsyncClient", lambda **options: client(transport=transport, **options)
        )

    return all_answer


def organization(**changes: Any) -> dict[str, Any]:
    endpoints = {"Keys": ["WebApplication"], "Values": [f"{URL}/"]}
    detail = {"OrganizationId": ORGANIZATION, "FriendlyName": "Contoso", "State": "Enabled", "Endpoints": endpoints}
    return {"RetrieveCurrentOrganization": {"Detail": {**detail, **changes}}}


def privileges(**depths: str) -> dict[str, Any]:
    everything = {f"prvRead{table}": "Global" for table in ("Lead", "Contact", "Account", "User", "Team")}
    everything |= {"prvWriteLead": "Global", "prvWriteContact": "Global"}
    held = {**everything, **depths}
    named = [{"PrivilegeName": name, "Depth": depth} for name, depth in held.items() if depth]
    return {"RetrieveUserPrivileges": {"RolePrivileges": named}}


async def test_the_right_organisation_is_named() -> None:
    found = await find("dynamics-organization", organization(), organization_id=ORGANIZATION.upper())
    assert (found.severity, "Contoso" in found.text) == (Severity.OK, True)


async def test_a_disabled_environment_fails() -> None:
    found = await find("dynamics-organization", organization(State="Disabled"))
    assert (found.severity, "Disabled" in found.text) == (Severity.FAILED, True)


async def test_an_environment_that_has_another_address_should_be_called_by_it() -> None:
    moved = {"Keys": ["WebApplication"], "Values": ["https://fabrikam.crm4.dynamics.com/"]}
    found = await find("dynamics-organization", organization(Endpoints=moved))
    assert found.severity is Severity.ATTENTION
    assert "set DATAVERSE_URL to https://fabrikam.crm4.dynamics.com" in found.remedy


async def test_rights_on_some_rows_only_are_told() -> None:
    found = await find("dynamics-read", privileges(prvReadLead="Basic", prvReadAccount="Local"))
    assert found.severity is Severity.ATTENTION
    assert found.details == ("lead: only rows of the user's own", "account: only rows of its business unit")
    found = await find("dynamics-write", privileges(prvWriteContact="Deep"))
    assert (found.severity, "contact" in found.details[0]) == (Severity.ATTENTION, True)


async def test_a_privilege_of_another_name_is_no_reason_to_complain_when_the_table_can_be_read() -> None:
    found = await find("dynamics-read", privileges(prvReadTeam=""))
    assert found.severity is Severity.OK


async def test_a_table_that_is_not_there_is_told_from_one_that_may_not_be_read() -> None:
    gone = DataverseError("0x80060888", "Resource not found for the segment 'leads'.", kind=Kind.GONE)
    found = await find("dynamics-read", {**privileges(prvReadLead=""), "/leads?": gone})
    assert "Dynamics 365 Sales app" in found.details[0]
    found = await find("dynamics-read", {**privileges(prvReadLead=""), "/leads?": DENIED})
    assert (found.severity, found.details) == (Severity.FAILED, ("lead: 0x80040220 missing prvReadUser",))


@pytest.mark.parametrize("answer", [DENIED, {"RolePrivileges": [{"PrivilegeId": "p-1", "Depth": "Global"}]}])
async def test_privileges_that_nobody_may_see_are_tried_by_reading_and_never_by_writing(answer: Any) -> None:
    unseen = {"RetrieveUserPrivileges": answer}
    assert (await find("dynamics-read", unseen)).severity is Severity.OK
    found = await find("dynamics-write", unseen)
    assert (found.severity, "nothing is written to find out" in found.text) == (Severity.ATTENTION, True)


async def test_a_registration_that_may_not_be_seen_is_no_failure_but_hides_the_steps() -> None:
    class Unseen(Dataverse):
        async def query(self, _: str) -> Any:
            raise DENIED

    settings = SimpleNamespace(
        bus=SimpleNamespace(namespace="contoso-sync.servicebus.windows.net", connection=SecretStr("")),
        registration=SimpleNamespace(send_connection=SecretStr(""), webhook_url=""),
        queues=SimpleNamespace(changes="dynamics-changes"),
    )
    found = await made("endpoint", subject(settings=settings, config=RULES, dataverse=Unseen({})))
    assert (found.severity, found.blocks) == (Severity.ATTENTION, True)
    assert "may read service endpoints" in found.remedy


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (httpx.Response(503), "is unwell (HTTP 503)"),
        (httpx.Response(429), "is unwell (HTTP 429)"),
        (httpx.Response(200, text="<html>"), "is no Dataverse environment"),
        (httpx.Response(401), "is no Dataverse environment"),
        (httpx.Response(401, headers={"WWW-Authenticate": "Bearer authorization_uri=https://login/x"}), URL),
    ],
)
async def test_what_answers_there(
    response: httpx.Response, text: str, answers: Callable[[httpx.Response], None]
) -> None:
    answers(response)
    found = await find("dynamics-url", {})
    assert text in found.text
    assert (found.severity is Severity.OK) is (text == URL)


async def test_a_clock_is_compared_with_the_date_of_an_answer(answers: Callable[[httpx.Response], None]) -> None:
    date = format_datetime(datetime.fromtimestamp(1_000_000_000, UTC), usegmt=True)
    answers(httpx.Response(401, headers={"Date": date}))
    asking = subject()
    asking.clock = lambda: 1_000_000_100.5
    await knock(asking, "Dynamics", URL, "/")
    assert asking.clocks == {"Dynamics": -100.0}
    found = await made("clock", asking)
    assert (found.severity, found.details) == (Severity.ATTENTION, ("this machine is 100 s ahead of Dynamics",))


async def test_without_any_time_told_the_clock_is_not_judged() -> None:
    assert (await made("clock", subject())).severity is Severity.SKIPPED


@pytest.mark.parametrize(
    ("url", "response", "status"),
    [
        ("https://123-abc-456.mktorest.com", httpx.Response(403, text="Forbidden"), Severity.OK),
        ("https://123-abc-456.mktorest.com", httpx.Response(502), Severity.FAILED),
        (
            "https://m.example",
            httpx.Response(200, json={"success": False, "errors": [{"code": "600"}]}),
            Severity.OK,
        ),
        ("https://m.example", httpx.Response(200, json={"success": True}), Severity.FAILED),
        ("https://m.example", httpx.Response(200, text="<html>"), Severity.FAILED),
    ],
)
async def test_what_answers_at_marketo_address(
    url: str, response: httpx.Response, status: Severity, answers: Callable[[httpx.Response], None]
) -> None:
    answers(response)
    asking = subject(settings=SimpleNamespace(marketo=SimpleNamespace(url=url)))
    assert (await made("marketo-url", asking)).severity is status


async def test_without_an_identity_of_azure_that_is_what_is_told() -> None:
    class Nobody:
        async def refuse(self, *_: object) -> "Nobody":
            raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token")

        __aenter__ = create_entity = delete_entity = refuse

        async def __aexit__(self, *_: object) -> None: ...

        def get_queue_sender(self, _: str) -> "Nobody":
            return self

    nobody: Any = Nobody()
    settings = SimpleNamespace(
        queues=SimpleNamespace(dead_letters="dead-letters"), storage=SimpleNamespace(parked_table="parked")
    )
    asking = subject(settings=settings, bus=nobody, parked=Store(Table(lambda: nobody)))
    for name in ("bus", "storage"):
        found = await made(name, asking)
        assert (found.severity, "az login" in found.remedy) == (Severity.FAILED, True)


async def test_a_missing_address_to_tell_of_runs_needs_attention_and_stops_nothing() -> None:
    schedules = dict.fromkeys(FOR_TRIGGERS, "0 * * * * *")
    reference = "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/notify-url)"
    found = await made("settings", subject(settings=None, environment={**schedules, "NOTIFY_URL": reference}))
    assert (found.severity, found.blocks) == (Severity.ATTENTION, False)
    assert "NOTIFY_URL" in found.text
    assert "operate.py secrets" in found.remedy
