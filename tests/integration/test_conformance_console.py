"""The function that serves the console, indexed and invoked by Microsoft's azure-functions-runtime.

A file of its own: the runtime indexes an app once for a process, and CONSOLE says whether this function is one of it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import azure.functions as func
import pytest

from emulators.functions import conformance
from emulators.functions.conformance import IndexedFunction
from emulators.functions.web import http_value
from shared.cli.console import app, hosted
from shared.cli.console.entra import EntraAccess
from shared.cli.console.latest import Latest
from tests.support.console import World, text_of
from tests.support.entra import HOST, PLATFORM, signed_in

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13),
    reason="NOT CHECKED: THE CONSOLE'S CONFORMANCE WITH MICROSOFT'S azure-functions-runtime, WHICH NEEDS PYTHON 3.13",
)


@pytest.fixture(scope="module")
def function() -> Iterator[IndexedFunction]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CONSOLE", "entra")
        found = {function.name: function for function in conformance.index(Path(__file__).parents[2])}
    yield found["serve_console"]
    conformance.close()


@pytest.fixture(autouse=True)
def adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the app's own settings and clients."""
    world = World()
    site = app.Site(world.context, app.PAGES, Latest(world.look))
    served = func.AsgiMiddleware(app.served(site, EntraAccess.of(PLATFORM, "s3cret")))  # type: ignore[no-untyped-call]
    monkeypatch.setattr(hosted, "adapter", lambda: served)


def test_the_platform_indexes_it(function: IndexedFunction) -> None:
    (told,) = (each for each in map(json.loads, function.raw_bindings) if each["type"] == "httpTrigger")
    assert (told["route"], told["authLevel"].upper()) == ("{*path}", "ANONYMOUS")
    assert {method.upper() for method in told["methods"]} == {"GET", "HEAD", "POST"}


async def test_it_answers_with_a_page(function: IndexedFunction) -> None:
    request = http_value("GET", f"https://{HOST}/", signed_in("ann@contoso.example", "operator"), b"")
    answer = (await conformance.invoke(function, {"req": request})).value
    assert answer["status_code"].value == "200"
    assert "All is well" in text_of(answer["body"].value.decode())
    headers = {name: header.value for name, header in answer["headers"].items()}
    assert headers["cache-control"] == "no-store"


async def test_it_lets_nobody_else_in(function: IndexedFunction) -> None:
    request = http_value("GET", f"https://{HOST}/", {"host": HOST}, b"")
    assert (await conformance.invoke(function, {"req": request})).value["status_code"].value == "401"
