"""Errors travel between processes, such as those of multiprocessing and pytest-xdist, as they are."""

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, get_type_hints

import pytest

import shared
from shared.model import codes
from shared.model.errors import MsiSyncError

VALUES: dict[Any, Any] = {
    str: "text",
    float: 60.0,
    float | None: 7.5,
    int | None: 503,
    bool: True,
    codes.Kind: codes.Kind.PERMANENT,
}


def classes() -> list[type[MsiSyncError]]:
    """Every class of the tree, wherever it is."""
    for module in walk_packages(shared.__path__, "shared."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return sorted({MsiSyncError, *below(MsiSyncError)}, key=lambda kind: kind.__qualname__)


def below(kind: type[MsiSyncError]) -> Iterator[type[MsiSyncError]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


def made(kind: type[MsiSyncError]) -> MsiSyncError:
    """An error with another value than the usual one in every argument."""
    hints = get_type_hints(kind.__init__, {"Kind": codes.Kind})
    given = inspect.signature(kind).parameters.values()
    by_place = [VALUES[hints[each.name]] for each in given if each.kind is each.POSITIONAL_OR_KEYWORD]
    by_name = {each.name: VALUES[hints[each.name]] for each in given if each.kind is each.KEYWORD_ONLY}
    return kind(*by_place, **by_name)


def to_another_process(error: MsiSyncError) -> Any:
    return pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)


@pytest.mark.parametrize("through", [to_another_process, copy.copy])
@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_in_another_process(
    kind: type[MsiSyncError], through: Callable[[MsiSyncError], MsiSyncError]
) -> None:
    error = made(kind)
    error.add_note("while it was tested")
    other = through(error)
    assert type(other) is kind
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
