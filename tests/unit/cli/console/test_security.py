"""Who the console lets in, what it lets them do, and what each of its answers tells a browser."""

import re
from typing import Any

import pytest

from shared.cli.console.local import LocalAccess
from shared.cli.console.security import MOST_BYTES, Operator
from tests.support.console import HOST, SAME_SITE, SECRETS, World, hidden_fields

PAUSE = "/queues/pause"


@pytest.fixture
async def world() -> World:
    made = World()
    await made.sign_in()
    return made


async def test_the_address_lets_the_first_browser_in_and_leaves_no_token_behind() -> None:
    world = World()
    answer = await world.browser.get(world.access.address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "expires" not in cookie
    assert "max-age" not in cookie
    assert "Overview" in await world.get("/")


async def test_the_address_works_once() -> None:
    world = World()
    address = world.access.address
    await world.browser.get(address)
    again = await world.another_browser().get(address)
    assert again.status_code == 403
    assert "used up" in again.text
    assert "set-cookie" not in again.headers
    assert "All is well" in await world.get("/"), "the first one stays in"


@pytest.mark.parametrize("path", ["/", PAUSE, "/jobs/1", "/open", "/open?token=", "/open?token=guessed", "/nothing"])
async def test_without_the_cookie_nothing_is_shown(path: str) -> None:
    answer = await World().browser.get(path)
    assert answer.status_code in (401, 403)
    assert "msisync console" in answer.text or "used up" in answer.text
    assert "contoso" not in answer.text


async def test_a_made_up_cookie_is_none() -> None:
    world = World()
    for value in ("", "x", "\u00e9"):
        answer = await world.another_browser().get("/", headers={b"cookie": f"msisync_8400={value}".encode()})
        assert answer.status_code == 401, "neither before nor after somebody has signed in"
        await world.browser.get(world.access.address)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:8401", "127.0.0.1:8400.evil.example", ""])
async def test_another_host_is_refused_before_anything_else(world: World, host: str) -> None:
    for path in ("/", world.access.address.partition("8400")[2], "/static/console.css"):
        answer = await world.browser.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert "contoso" not in answer.text


async def test_localhost_is_the_same_machine(world: World) -> None:
    assert (await world.browser.get("/static/console.css", headers={"host": "localhost:8400"})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8401"},
        {"origin": HOST, "sec-fetch-site": "cross-site"},
        {"origin": HOST, "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_what_another_site_sends_is_not_done(world: World, headers: dict[str, str]) -> None:
    fields = hidden_fields(await world.get(f"{PAUSE}?queue=person"))
    answer = await world.browser.post(PAUSE, data=fields, headers=headers)
    assert answer.status_code == 403
    assert "Nothing was done" in answer.text
    assert world.table.rows == {}


@pytest.mark.parametrize("headers", [SAME_SITE, {"origin": HOST}, {"sec-fetch-site": "same-origin"}])
async def test_what_a_page_of_the_console_sends_is_done(world: World, headers: dict[str, str]) -> None:
    fields = hidden_fields(await world.get(f"{PAUSE}?queue=person"))
    assert (await world.browser.post(PAUSE, data=fields, headers=headers)).status_code == 303
    await world.app_ends()


@pytest.mark.parametrize("token", ["", "guessed", "\u00e9"])
async def test_a_form_without_its_token_is_not_done(world: World, token: str) -> None:
    fields = hidden_fields(await world.get(f"{PAUSE}?queue=person")) | {"csrf": token}
    assert "Nothing was done" in (await world.post(PAUSE, fields, 403)).text
    assert world.table.rows == {}


async def test_a_form_that_is_too_long_is_not_read(world: World) -> None:
    await world.post(PAUSE, {"queue": "x" * MOST_BYTES}, 413)


async def test_who_may_look_only_is_shown_no_buttons_and_can_do_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Operator("rita", may_act=False, csrf="token")
    monkeypatch.setattr(LocalAccess, "admit", lambda *_: reader)
    assert "pause…" not in await world.get("/")
    assert "<form method" not in await world.get(f"{PAUSE}?queue=person")
    answer = await world.post(PAUSE, {"csrf": "token", "queue": "person", "agreed": "Pause persons"}, 403)
    assert "lets you look" in answer.text
    assert world.table.rows == {}


@pytest.mark.parametrize("path", ["/", "/static/console.css", "/static/htmx.min.js", "/nothing", "/open?token=x"])
async def test_every_answer_says_what_a_browser_may_do_with_it(world: World, path: str) -> None:
    headers = (await world.browser.get(path)).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control-")], "no other site may read it"


@pytest.mark.parametrize(
    ("name", "type_"),
    [("console.css", "text/css"), ("htmx.min.js", "text/javascript"), ("icon.svg", "image/svg+xml")],
)
async def test_files_have_their_types_which_browsers_do_not_guess(world: World, name: str, type_: str) -> None:
    answer = await world.browser.get(f"/static/{name}")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, type_)
    known = {"if-none-match": answer.headers["etag"]}
    again = await world.browser.get(f"/static/{name}", headers=known)
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "no-store")


@pytest.mark.parametrize("path", ["", "nothing.css", "..%2Fapp.py", "..%2F..%2F..%2F..%2Fpyproject.toml", "%00"])
async def test_nothing_else_is_a_file(world: World, path: str) -> None:
    answer = await world.browser.get(f"/static/{path}")
    assert answer.status_code == 404
    assert "No such page" in answer.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_other_methods_are_refused(world: World, method: str) -> None:
    assert (await world.browser.request(method, "/")).status_code == 405


async def test_a_page_has_no_script_and_no_style_of_its_own(world: World) -> None:
    for path in ("/", f"{PAUSE}?queue=person", "/nothing"):
        page = (await world.browser.get(path)).text
        assert re.findall(r"<script(?! src=\"/static/[\w.]+\" defer></script>)", page) == []
        assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page) == []
        assert set(re.findall(r"(?:src|href|action)=\"(?!/)([^\"]*)", page)) <= {"#main"}, "nothing from elsewhere"


async def test_no_page_and_no_repr_holds_a_secret(world: World) -> None:
    token = World().access.address
    assert token.rpartition("=")[2] not in repr(World().access)
    for path in ("/", f"{PAUSE}?queue=person", "/nothing"):
        text = (await world.browser.get(path)).text
        assert not [secret for secret in SECRETS if secret in text]
        assert not [cookie for cookie in world.browser.cookies.values() if cookie in text]
    operator = Operator("ann", may_act=True, csrf="of-all-forms")
    assert "of-all-forms" not in repr(operator)
    assert world.access._csrf not in repr(world.access)


async def test_a_head_request_does_not_use_the_address_up() -> None:
    world = World()
    assert (await world.another_browser().head(world.access.address)).status_code == 401
    await world.sign_in()


async def test_a_browser_that_leaves_while_it_sends_is_no_defect(world: World) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    request = world.browser.build_request("POST", PAUSE, headers=SAME_SITE)
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {"type": "http", "method": "POST", "path": PAUSE, "query_string": b"", "headers": headers}
    await world.app(scope, receive, send)
    assert sent == []
