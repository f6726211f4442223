import pytest

from emulators.functions.routes import Keys, Routes
from emulators.functions.settings import HostError
from emulators.functions.triggers import HttpTrigger


def routes(route: str, *methods: str, prefix: str = "api") -> Routes:
    trigger = HttpTrigger(function="f", route=route, methods=frozenset(methods), level="function")
    return Routes([trigger], prefix)


@pytest.mark.parametrize(
    ("route", "path", "parameters"),
    [
        ("changes", "/api/changes", {}), ("changes", "/API/Changes/", {}),
        ("orders/{id}", "/api/orders/7", {"id": "7"}), ("orders/{id?}", "/api/orders", {}),
        ("files/{*rest}", "/api/files/a/b", {"rest": "a/b"}),
    ],
)  # fmt: skip
def test_a_path_finds_its_function(route: str, path: str, parameters: dict[str, str]) -> None:
    found = routes(route).find("GET", path)
    assert found is not None
    assert found[1] == parameters


def test_another_path_or_method_is_not_found() -> None:
    assert routes("changes", "POST").find("GET", "/api/changes") is None
    assert routes("changes", "POST").find("POST", "/changes") is None
    assert routes("changes", "POST").find("POST", "/api/changes/1") is None
    assert routes("changes", "POST", prefix="").find("POST", "/changes") is not None


@pytest.mark.parametrize(("names", "first"), [(("z_all", "a_one"), "a_one"), (("A_all", "b_one"), "A_all")])
def test_of_several_functions_that_match_the_first_by_name_is_called(names: tuple[str, str], first: str) -> None:
    """Whatever their routes, and in whatever order the app declares them."""
    everything, one = (
        HttpTrigger(function=name, route=route, methods=frozenset(), level="anonymous")
        for name, route in zip(names, ("{*path}", "one"), strict=True)
    )
    for declared in ([everything, one], [one, everything]):
        found = Routes(declared, "").find("GET", "/one")
        assert found
        assert found[0].function == first


def test_a_route_that_takes_everything_takes_the_beginning_as_well() -> None:
    for path, rest in (("/", {"path": ""}), ("/a", {"path": "a"}), ("/a/b", {"path": "a/b"})):
        found = routes("{*path}", prefix="").find("GET", path)
        assert found
        assert found[1] == rest


def test_a_route_constraint_is_refused_not_ignored() -> None:
    with pytest.raises(HostError, match=r"'f'.*\{id:int\}"):
        routes("orders/{id:int}")


@pytest.mark.parametrize(
    ("level", "shown", "opens"),
    [
        ("anonymous", None, True), ("function", None, False), ("function", "wrong", False), ("function", "key", True),
        ("function", "master", True), ("admin", "key", False), ("admin", "master", True),
    ],
)  # fmt: skip
def test_keys(level: str, shown: str | None, opens: bool) -> None:
    assert Keys("key", "master").opens(level, shown) is opens


def test_an_unset_key_opens_nothing() -> None:
    assert not Keys(None, None).opens("function", "")
    assert not Keys(None, None).opens("admin", None)
