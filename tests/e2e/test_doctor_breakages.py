"""`msisync doctor`: one thing broken at a time turns exactly the check that tells of it; others are at most skipped."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from emulators.dataverse.constants import USERNAME
from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS
from emulators.marketo.switches import Switches
from local.harness.operating import Operator, operated_system
from shared.cli.doctor.command import CHECKS
from shared.cli.doctor.runner import Subject, examine
from shared.cli.finding import Finding, Severity
from tests.support.values import ROOT

#: They depend on the broker, or on what the app has noted, and have test files of their own.
NOT_OF_VENDORS = {"bus", "queues", "changes-key", "given-up", "app", "deletions", "hidden-rows"}
QUICK = {"write_latency_ms": 0, "write_latency_ms_per_record": 0, "read_latency_ms": 0}
Hand = Callable[[Operator, AsyncExitStack], Awaitable[None]]


@pytest.fixture(scope="module")
async def operator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operator]:
    async with operated_system(tmp_path_factory.mktemp("doctor")) as running:
        await running.system.marketo("/switches", QUICK)
        yield running


async def examined(operator: Operator, settings: Mapping[str, str]) -> dict[str, Finding]:
    # With a budget of its own: fifty in a row would wait for Marketo's rate.
    async with operator.context(STATE_TABLE=f"t{uuid4().hex}", **settings) as context:
        subject = Subject(context)
        try:
            return await examine([c for c in CHECKS if c.id not in NOT_OF_VENDORS], subject, done=lambda *_: None)
        finally:
            await subject.close()


@dataclass(frozen=True)
class Broken:
    """One broken thing: which check must tell of it, with which words, and what is done to whom."""

    check: str
    status: Severity
    words: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    dataverse: Mapping[str, Any] = field(default_factory=dict)
    marketo: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    toml: tuple[str, str] = ("", "")
    hand: Hand | None = None

    @asynccontextmanager
    async def done_to(self, operator: Operator, directory: Path) -> AsyncIterator[Mapping[str, str]]:
        """Break it, give the settings to examine it with, and fix it."""
        system = operator.system
        async with AsyncExitStack() as fixing:
            if self.dataverse:
                usual = await system.dataverse("/switches")
                before = {name: usual[name] for name in self.dataverse}
                fixing.push_async_callback(system.dataverse, "/switches", before)
                await system.dataverse("/switches", self.dataverse)
            if self.marketo:
                fixing.push_async_callback(system.marketo, "/switches", {**Switches().as_json(), **QUICK})
                await system.marketo("/switches", self.marketo)
            if self.limits:
                fixing.push_async_callback(system.marketo, "/limits", {"used_today": 0})
                await system.marketo("/limits", self.limits)
            if self.hand:
                await self.hand(operator, fixing)
            yield {**self.settings, **self._sync_toml(directory)}

    def _sync_toml(self, directory: Path) -> dict[str, str]:
        before, after = self.toml
        if not before:
            return {}
        text = (ROOT / "sync.toml").read_text()
        assert before in text
        changed = directory / "sync.toml"
        changed.write_text(text.replace(before, after, 1))
        return {"SYNC_CONFIG": str(changed)}


# -- what hands do ------------------------------------------------------------------------------------------------


def user(**changes: Any) -> Hand:
    """Change the sync user in Dynamics."""

    async def hand(operator: Operator, fixing: AsyncExitStack) -> None:
        rows = await operator.system.dataverse("/rows/systemuser")
        (found,) = [row for row in rows if row["domainname"] == USERNAME]
        usual = {name: found[name] for name in ("systemuserid", "domainname", "internalemailaddress", "isdisabled")}
        fixing.push_async_callback(operator.system.dataverse, "/seed", {"systemuser": [usual]})
        await operator.system.dataverse("/seed", {"systemuser": [{**usual, **changes}]})

    return hand


def endpoint(**changes: Any) -> Hand:
    """Change the registered endpoint; `msisync register --apply` fixes it, as the remedy says."""

    async def hand(operator: Operator, fixing: AsyncExitStack) -> None:
        fixing.push_async_callback(operator.register)
        await operator.write("PATCH", f"serviceendpoints({await operator.endpoint()})", changes)

    return hand


def step(name: str, **changes: Any) -> Hand:
    """Change a registered step, or delete it."""

    async def hand(operator: Operator, fixing: AsyncExitStack) -> None:
        fixing.push_async_callback(operator.register)
        path = f"sdkmessageprocessingsteps({(await operator.step(name))['sdkmessageprocessingstepid']})"
        await (operator.write("PATCH", path, changes) if changes else operator.write("DELETE", path))

    return hand


async def no_image(operator: Operator, fixing: AsyncExitStack) -> None:
    """As an earlier version registered it: without a pre-image for updates."""
    fixing.push_async_callback(operator.register)
    owner = (await operator.step("connection Update"))["sdkmessageprocessingstepid"]
    images = await operator.system.dataverse("/rows/sdkmessageprocessingstepimage")
    (image,) = [row for row in images if row["_sdkmessageprocessingstepid_value"] == owner]
    path = f"sdkmessageprocessingstepimages({image['sdkmessageprocessingstepimageid']})"
    await operator.write("DELETE", path)


async def unregistered(operator: Operator, fixing: AsyncExitStack) -> None:
    fixing.push_async_callback(operator.register)
    await operator.unregister()


async def posted_twice(operator: Operator, fixing: AsyncExitStack) -> None:
    """Somebody has registered the same step by hand as well."""
    fixing.push_async_callback(operator.register)
    known = await operator.step("contact Create")
    body = {
        **{name: known[name] for name in ("stage", "mode", "rank", "asyncautodelete", "supporteddeployment")},
        "name": "by hand",
        "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({await operator.endpoint()})",
        "sdkmessageid@odata.bind": f"/sdkmessages({known['_sdkmessageid_value']})",
        "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({known['_sdkmessagefilterid_value']})",
    }
    await operator.write("POST", "sdkmessageprocessingsteps", body)


async def job_of_ours(operator: Operator, fixing: AsyncExitStack, **values: Any) -> None:
    job = {
        "asyncoperationid": str(uuid4()),
        "name": "msisync: lead Update",
        "message": "The remote server returned an error: (401) SharedAccessKey=abcdefgh",
        **values,
        "_owningextensionid_value": (await operator.step("lead Update"))["sdkmessageprocessingstepid"],
    }
    await operator.system.dataverse("/seed", {"asyncoperation": [job]})
    fixing.push_async_callback(operator.write, "DELETE", f"asyncoperations({job['asyncoperationid']})")


async def failed_job(operator: Operator, fixing: AsyncExitStack) -> None:
    await job_of_ours(operator, fixing, statecode=3, statuscode=31)


async def waiting_job(operator: Operator, fixing: AsyncExitStack) -> None:
    """Dynamics has another key than the queue: the posts fail one after the other, each after many tries."""
    await job_of_ours(operator, fixing, statecode=1, statuscode=10, retrycount=1)


async def other_mail(operator: Operator, fixing: AsyncExitStack) -> None:
    url = f"{operator.system.stack.control()['marketo']}/records/{SALES_PERSONS}"
    person = (await operator.system.marketo(f"/records/{SALES_PERSONS}"))[0]

    async def set_mail(mail: str) -> None:
        change = [{"externalSalesPersonId": person["externalSalesPersonId"], "email": mail}]
        (await operator.system.http.patch(url, json=change)).raise_for_status()

    fixing.push_async_callback(set_mail, person["email"])
    await set_mail("old.name@contoso.example")


async def no_storage(operator: Operator, fixing: AsyncExitStack) -> None:
    fixing.push_async_callback(operator.system.stack.start_part, "azurite")
    await operator.system.stack.stop_part("azurite")


FAILED, ATTENTION = Severity.FAILED, Severity.ATTENTION
NOBODY = "https://nobody.crm4.dynamics.com"
OBJECTS = {
    "sales-person": SALES_PERSONS, "company": COMPANIES, "person": LEADS, "opportunity": OPPORTUNITIES,
    "opportunity-role": ROLES,
}  # fmt: skip

BREAKAGES = {
    "a setting is missing": Broken("settings", FAILED, ("MARKETO_CLIENT_ID",), {"MARKETO_CLIENT_ID": ""}),
    "a schedule in words": Broken(
        "settings", FAILED, ("WRITE_BACK_SCHEDULE", "0 */10 * * * *"), {"WRITE_BACK_SCHEDULE": "every ten minutes"}
    ),
    "one queue for two": Broken("settings", FAILED, ("PERSON_QUEUE and COMPANY_QUEUE",), {"PERSON_QUEUE": "companies"}),
    "no schedule": Broken("settings", FAILED, ("RELEASE_SCHEDULE",), {"RELEASE_SCHEDULE": ""}),
    "sync.toml": Broken("sync-toml", FAILED, ("contact", "fields"), toml=("[contact.fields]", "[contact.feilds]")),
    "nobody at the address": Broken(
        "dynamics-url", FAILED, ("does not answer", "DATAVERSE_URL"), {"DATAVERSE_URL": NOBODY}
    ),
    "no Dataverse there": Broken(
        "dynamics-url",
        FAILED,
        ("no Dataverse environment",),
        {
            "DATAVERSE_URL": "https://123-abc-456.mktorest.com",
            "DATAVERSE_AUTHORITY": "https://login.microsoftonline.com/x",
        },
    ),
    "password": Broken("dynamics-sign-in", FAILED, ("AADSTS50126", "DATAVERSE_PASSWORD"), {"DATAVERSE_PASSWORD": "no"}),
    "MFA": Broken("dynamics-sign-in", FAILED, ("AADSTS50076", "MFA"), dataverse={"sign_in_errors": {USERNAME: 50076}}),
    "client secret": Broken(
        "dynamics-sign-in", FAILED, ("AADSTS7000215", "not its id"), {"DATAVERSE_CLIENT_SECRET": "an-id"}
    ),
    "no member": Broken("dynamics-user", FAILED, ("no user of this environment",), hand=user(domainname="a@b.example")),
    "disabled user": Broken("dynamics-user", FAILED, ("disabled", "enable it"), hand=user(isdisabled=True)),
    "another organisation": Broken(
        "dynamics-organization", FAILED, ("DATAVERSE_ORGANIZATION_ID",), {"DATAVERSE_ORGANIZATION_ID": str(uuid4())}
    ),
    "table unreadable": Broken(
        "dynamics-read", FAILED, ("account", "Read"), dataverse={"no_read_privilege": ["account"]}
    ),
    "roles unreadable": Broken(
        "dynamics-read", FAILED, ("connectionrole",), dataverse={"no_read_privilege": ["connectionrole"]}
    ),
    "users unreadable": Broken(
        "dynamics-read", FAILED, ("systemuser",), dataverse={"no_read_privilege": ["systemuser"]}
    ),
    "not writable": Broken(
        "dynamics-write", FAILED, ("prvWriteContact", "Write"), dataverse={"no_write_privilege": ["contact"]}
    ),
    "change tracking off": Broken(
        "change-tracking", ATTENTION, ("off for lead", "Track changes"), dataverse={"no_change_tracking": ["lead"]}
    ),
    "column gone": Broken(
        "mapped-columns",
        ATTENTION,
        ("telephone1", "contact"),
        dataverse={"removed_columns": {"contact": ["telephone1"]}},
    ),
    "column unreadable": Broken(
        "mapped-columns", ATTENTION, ("jobtitle",), dataverse={"unreadable_columns": {"lead": ["jobtitle"]}}
    ),
    "column hidden": Broken(
        "mapped-columns",
        ATTENTION,
        ("jobtitle", "column-level security"),
        dataverse={"secured_columns": {"lead": {"jobtitle": "hidden"}}},
    ),
    "filter column hidden": Broken(
        "mapping", FAILED, ("new_synctomkto",), dataverse={"secured_columns": {"lead": {"new_synctomkto": "hidden"}}}
    ),
    "Insight column gone": Broken(
        "insight-columns", ATTENTION, ("lead, priority",), dataverse={"removed_columns": {"lead": ["new_priority"]}}
    ),
    "not registered": Broken("endpoint", FAILED, ("msisync register --apply",), hand=unregistered),
    "XML": Broken("endpoint", FAILED, ("JSON", "msisync register"), hand=endpoint(messageformat=3)),
    "no key": Broken("endpoint", FAILED, ("saskey is not set",), hand=endpoint(authtype=3, sastoken="x", saskey=None)),
    "step gone": Broken("steps", FAILED, ("opportunity Delete: missing",), hand=step("opportunity Delete")),
    "step disabled": Broken(
        "steps", FAILED, ("account Create: it is disabled",), hand=step("account Create", statecode=1, statuscode=2)
    ),
    "step's columns": Broken(
        "steps", FAILED, ("lead Update", "emailaddress1"), hand=step("lead Update", filteringattributes="firstname")
    ),
    "image gone": Broken("steps", ATTENTION, ("image of step connection Update", "register --apply"), hand=no_image),
    "posted twice": Broken("posted-once", ATTENTION, ("registered twice",), hand=posted_twice),
    "failed job": Broken("system-jobs", ATTENTION, ("1 failed", "401", "SharedAccessKey=…"), hand=failed_job),
    "waiting job": Broken(
        "system-jobs", ATTENTION, ("1 could not post", "401", "SharedAccessKey=…", "--new-key"), hand=waiting_job
    ),
    "no Marketo there": Broken(
        "marketo-url", FAILED, ("no Marketo instance",), {"MARKETO_URL": "https://contoso.crm4.dynamics.com"}
    ),
    "Marketo's secret": Broken("marketo-sign-in", FAILED, ("MARKETO_CLIENT_SECRET",), {"MARKETO_CLIENT_SECRET": "no"}),
    "nearly no calls left": Broken("marketo-quota", ATTENTION, ("of 50,000",), limits={"used_today": 45_000}),
    "more calls than allowed": Broken(
        "marketo-quota", FAILED, ("0 left",), {"MARKETO_DAILY_CALLS": "100"}, limits={"used_today": 150}
    ),
    "no calls left": Broken("marketo-quota", FAILED, ("607", "midnight"), limits={"used_today": 50_000}),
    "native sync": Broken("native-sync", FAILED, ("1018", "Marketo Support"), marketo={"native_crm_sync": True}),
    **{
        f"{name} denied": Broken(
            f"marketo-read-{name}", FAILED, ("603", "Read-Write"), marketo={"denied_objects": [path]}
        )
        for name, path in OBJECTS.items()
    },
    **{
        f"{name} read-only": Broken(
            f"marketo-write-{name}", FAILED, ("603", "Read-Write"), marketo={"read_only_objects": [path]}
        )
        for name, path in OBJECTS.items()
    },
    "activities": Broken(
        "marketo-activities", ATTENTION, ("Read-Only Activity",), marketo={"denied_objects": ["activities"]}
    ),
    "MSI off": Broken("person-key", FAILED, ("externalPersonId", "MSI Non-Native"), marketo={"msi_non_native": False}),
    "own key": Broken(
        "company-key", FAILED, ("noSuchField",), toml=('company = "externalCompanyId"', 'company = "noSuchField"')
    ),
    "field gone": Broken("mapped-fields", ATTENTION, ("title",), marketo={"removed_fields": {"leads": ["title"]}}),
    "Insight field gone": Broken(
        "insight-fields", ATTENTION, ("priority",), marketo={"removed_fields": {"leads": ["priority"]}}
    ),
    "wrong type": Broken(
        "mapping", FAILED, ("leadScore",), toml=("[contact.fields]", '[contact.fields]\nleadScore = "firstname"')
    ),
    "another e-mail": Broken("sales-person-mail", ATTENTION, ("old.name@contoso.example",), hand=other_mail),
    "clock a little": Broken("clock", ATTENTION, ("Marketo", "time server"), marketo={"clock_offset": -120}),
    "clock": Broken("clock", FAILED, ("refused",), marketo={"clock_offset": 4000}),
    "storage": Broken("storage", FAILED, ("does not answer", "AzureWebJobsStorage"), hand=no_storage),
}


def told(finding: Finding) -> str:
    return "\n".join([finding.text, *finding.details, finding.remedy])


@pytest.mark.parametrize("broken", BREAKAGES.values(), ids=BREAKAGES)
async def test_one_broken_thing_turns_exactly_one_check(operator: Operator, broken: Broken, tmp_path: Path) -> None:
    async with broken.done_to(operator, tmp_path) as settings:
        found = await examined(operator, settings)
    finding = found.pop(broken.check)
    assert finding.severity == broken.status, told(finding)
    assert [word for word in broken.words if word not in told(finding)] == [], told(finding)
    assert finding.remedy
    others = {name: each for name, each in found.items() if each.severity is not Severity.OK}
    wrong = {
        n: (f.severity, told(f)) for n, f in others.items() if (f.severity, f.because) != ("skipped", broken.check)
    }
    assert not wrong
    assert operator.secrets_in("\n".join(map(told, [finding, *others.values()]))) == []


def test_every_check_of_the_vendors_has_been_seen_broken() -> None:
    assert {broken.check for broken in BREAKAGES.values()} == {check.id for check in CHECKS} - NOT_OF_VENDORS


async def test_a_webhook_in_place_of_the_queue_is_as_good(operator: Operator) -> None:
    await operator.unregister()
    try:
        await operator.register("--webhook")
        found = await examined(operator, {})
        assert "receive_webhook" in found["endpoint"].text
        assert {name: told(each) for name, each in found.items() if each.severity is not Severity.OK} == {}
        path = f"sdkmessageprocessingsteps({(await operator.step('contact Update'))['sdkmessageprocessingstepid']})"
        await operator.write("DELETE", path)
        broken = await examined(operator, {})
        assert "msisync register --webhook --apply" in broken["steps"].remedy
    finally:
        await operator.unregister()
        await operator.register()


async def test_after_all_that_everything_is_well_again(operator: Operator) -> None:
    found = await examined(operator, {})
    assert {name: told(each) for name, each in found.items() if each.severity is not Severity.OK} == {}
