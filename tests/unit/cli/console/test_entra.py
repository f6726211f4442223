"""The console in the Function App: whom it believes, what their roles allow, and what no instance need remember."""

import json
from base64 import b64encode
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cli.console import app
from shared.cli.console.entra import OPERATOR, READER, EntraAccess, principal_of
from shared.cli.console.latest import Latest
from tests.support.console import World, hidden_fields, text_of
from tests.support.entra import HOST, OID, PLATFORM, from_a_page, header_of, signed_in

SECRET = "s3cret-of-marketo"
ANN, RITA = signed_in("ann@contoso.example", OPERATOR), signed_in("rita@contoso.example", READER)
PAUSE = "/queues/pause"


class Instance:
    """One instance of the app, as the platform set it up, with the storage that all instances share."""

    def __init__(self, world: World, **changes: str) -> None:
        self.access = EntraAccess.of({**PLATFORM, **changes}, SECRET)
        self.site = app.Site(world.context, app.PAGES, Latest(world.look))
        served = app.served(self.site, self.access)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url=f"https://{HOST}")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def instance(world: World) -> Instance:
    return Instance(world)


async def test_a_reader_sees_everything_and_an_operator_acts(instance: Instance) -> None:
    seen = await instance.http.get("/", headers=RITA)
    assert "All is well" in seen.text
    assert "pause…" not in seen.text
    assert "rita@contoso.example, may look only" in text_of(seen.text)
    seen = await instance.http.get("/", headers=ANN)
    assert "pause…" in seen.text
    assert "ann@contoso.example" in seen.text


async def test_a_reader_can_do_nothing(instance: Instance, world: World) -> None:
    fields = hidden_fields((await instance.http.get(f"{PAUSE}?queue=person", headers=ANN)).text)
    answer = await instance.http.post(PAUSE, data=fields, headers={**RITA, **from_a_page()})
    assert answer.status_code == 403
    assert "lets you look" in answer.text
    assert world.table.rows == {}


@pytest.mark.parametrize("path", ["/", PAUSE, "/jobs/1", "/nothing"])
async def test_without_a_role_nothing_is_shown_but_why(instance: Instance, path: str) -> None:
    answer = await instance.http.get(path, headers=signed_in("eve@contoso.example", "owner", "Operators"))
    assert answer.status_code == 403
    assert "You are signed in as eve@contoso.example, and have no role" in text_of(answer.text)
    assert "contoso.crm" not in answer.text


@pytest.mark.parametrize("value", ["", "False", "0"])
async def test_while_the_platform_does_not_sign_in_nobody_is_believed(world: World, value: str) -> None:
    """The header could be anybody's then."""
    off = Instance(world, WEBSITE_AUTH_ENABLED=value)
    for path in ("/", PAUSE, "/jobs/1"):
        answer = await off.http.get(path, headers=ANN)
        assert answer.status_code == 503
        assert "Sign-in is off" in answer.text
        assert "contoso.crm" not in answer.text


async def test_an_instance_that_does_not_know_its_name_serves_nothing(world: World) -> None:
    nameless = Instance(world, WEBSITE_HOSTNAME="")
    for host in (HOST, ""):
        assert (await nameless.http.get("/", headers={**ANN, "host": host})).status_code == 421


async def test_the_address_of_the_webhook_is_not_the_console_s(instance: Instance) -> None:
    answer = await instance.http.get("/api/receive_webhook", headers=ANN)
    assert answer.status_code == 404
    assert "contoso.crm" not in answer.text


@pytest.mark.parametrize(
    "header",
    [
        "",
        "not base64",
        b64encode(b"not JSON").decode(),
        b64encode(b"[]").decode(),
        b64encode(json.dumps({"auth_typ": "aad"}).encode()).decode(),
        header_of("ann@contoso.example", OPERATOR, auth_typ="github"),
        header_of("ann@contoso.example", claims=[{"typ": "roles", "val": OPERATOR}]),
        header_of("ann@contoso.example", claims=[{"typ": OID, "val": ""}, {"typ": "roles", "val": OPERATOR}]),
        header_of("ann@contoso.example", claims="operator"),
    ],
)
async def test_a_header_that_the_platform_does_not_write_is_nobody(instance: Instance, header: str) -> None:
    answer = await instance.http.get("/", headers={"host": HOST, "x-ms-client-principal": header})
    assert answer.status_code == 401
    assert "contoso.crm" not in answer.text


@given(st.text())
def test_no_header_is_a_defect(header: str) -> None:
    assert principal_of(header) is None


@pytest.mark.parametrize("typ", ["roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"])
@pytest.mark.parametrize("oid", ["oid", OID])
def test_claims_have_long_names_and_short_ones(typ: str, oid: str) -> None:
    claims = [{"typ": oid, "val": "1"}, {"typ": typ, "val": "operator"}, {"typ": typ, "val": "reader"}]
    principal = principal_of(header_of("ann", claims=claims))
    assert principal
    assert (principal.id, principal.name, principal.roles) == ("1", "1", frozenset({"operator", "reader"}))


async def test_a_form_of_one_instance_is_taken_by_another_and_its_result_is_seen_there(
    world: World, instance: Instance
) -> None:
    other = Instance(world)
    fields = hidden_fields((await instance.http.get(f"{PAUSE}?queue=person", headers=ANN)).text)
    begun = await other.http.post(PAUSE, data=fields, headers={**ANN, **from_a_page()})
    assert begun.status_code == 303
    await world.app_ends()
    seen = text_of((await instance.http.get(begun.headers["location"], headers=ANN)).text)
    assert "Pause persons begun by ann@contoso.example" in seen


async def test_a_form_of_somebody_else_is_not_taken(world: World, instance: Instance) -> None:
    fields = hidden_fields((await instance.http.get(f"{PAUSE}?queue=person", headers=ANN)).text)
    ben = {**signed_in("ben@contoso.example", OPERATOR), **from_a_page()}
    answer = await instance.http.post(PAUSE, data=fields, headers=ben)
    assert "Nothing was done" in answer.text
    assert world.table.rows == {}


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": f"http://{HOST}"}, {"sec-fetch-site": "same-site"}, {}]
)
async def test_what_another_site_sends_is_not_done(world: World, instance: Instance, headers: dict[str, str]) -> None:
    fields = hidden_fields((await instance.http.get(f"{PAUSE}?queue=person", headers=ANN)).text)
    assert (await instance.http.post(PAUSE, data=fields, headers={**ANN, **headers})).status_code == 403
    assert world.table.rows == {}


def test_the_key_of_the_forms_is_in_no_repr_and_is_not_the_secret() -> None:
    access: Any = EntraAccess.of(PLATFORM, SECRET)
    assert SECRET.encode() not in access.key
    assert str(access.key) not in repr(access)
    assert EntraAccess.of(PLATFORM, SECRET) == access
    assert EntraAccess.of(PLATFORM, "another").key != access.key
