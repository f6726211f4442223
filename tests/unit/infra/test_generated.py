"""Generated files are current; the lock files hold all that the .in files ask for and what comes with it, hashed."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.values import ROOT
from tools import generate, lock

LOCKS = {name: (ROOT / name).read_text() for name in lock.LOCKS}
#: Licences that ask nothing of those who run the app, in SPDX's words.
PERMISSIVE = {"MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "PSF-2.0", "MPL-2.0"}


def wanted(name: str) -> Iterator[tuple[str, str]]:
    """Each line of an .in file that names a package, and the comment behind it."""
    for line in (ROOT / name).read_text().splitlines():
        if line and line[0] not in "#-":
            requirement, _, comment = line.partition("#")
            yield requirement.strip(), comment.strip()


@pytest.mark.parametrize("name", generate.FILES)
def test_a_generated_file_is_current(name: str) -> None:
    if name.endswith("licences.md") and sys.version_info[:2] != (3, 13):
        pytest.skip("what is deployed is installed as a whole on Python 3.13 only")
    assert (ROOT / name).read_text() == generate.FILES[name](), "run python3 dev.py generate"


@pytest.mark.parametrize("name", ["requirements.in", "requirements-cli.in"])
def test_every_dependency_has_its_reason(name: str) -> None:
    assert all(comment for _, comment in wanted(name))


@pytest.mark.parametrize("target", lock.LOCKS)
def test_a_lock_has_every_pin_that_was_asked_for(target: str) -> None:
    locked = set(generate.pinned(LOCKS[target]))
    asked = [Requirement(text) for name in lock.LOCKS[target] if name.endswith(".in") for text, _ in wanted(name)]
    assert asked
    for requirement in asked:
        (pin,) = requirement.specifier
        assert (canonicalize_name(requirement.name), pin.version) in locked, "run python3 dev.py lock"


@pytest.mark.parametrize("target", lock.LOCKS)
def test_every_locked_package_has_hashes_and_no_address(target: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", LOCKS[target])[1:]
    assert len(entries) == len(list(generate.pinned(LOCKS[target])))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCKS[target]


@pytest.mark.parametrize("target", ["requirements.txt", "requirements-dev.txt"])
def test_a_lock_holds_all_that_its_packages_need_here(target: str) -> None:
    """Against what is installed, so that a lock that was edited by hand, or is of another day, is found out."""
    locked = dict.fromkeys(name for name, _ in generate.pinned(LOCKS[target]))
    for name in locked:
        try:
            installed, needs = version(name), [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue  # of another platform or Python
        assert (name, installed) in set(generate.pinned(LOCKS[target]))
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in locked, f"{name} needs {need}"


def test_what_is_deployed_is_what_is_tested() -> None:
    deployed, tested = (set(generate.pinned(LOCKS[name])) for name in ("requirements.txt", "requirements-dev.txt"))
    assert deployed < tested


def test_every_deployed_licence_is_permissive() -> None:
    rows = re.findall(r"^\| (\S+) \| [^|]+ \| ([^|]*) \|$", (ROOT / "docs/licences.md").read_text(), re.MULTILINE)[1:]
    assert {name for name, _ in rows} == {name for name, _ in generate.pinned(LOCKS["requirements.txt"])}
    for name, licence in rows:
        assert set(re.split(r" (?:AND|OR) ", licence)) <= PERMISSIVE, name


def test_the_emulator_gets_what_it_accepts() -> None:
    """The limits of its Config-schema.json: one namespace of this name, lives and locks within these."""
    config = generate.emulator()["UserConfig"]
    assert config["Logging"]["Type"] in {"File", "Console"}
    (namespace,) = config["Namespaces"]
    assert namespace["Name"] == "sbemulatorns"
    assert (len(namespace["Queues"]), namespace["Topics"]) == (7, [])
    for queue in namespace["Queues"]:
        properties = queue["Properties"]
        assert properties["DefaultMessageTimeToLive"] == "PT1H"
        assert properties["LockDuration"] == "PT5M"
        assert 1 <= properties["MaxDeliveryCount"] <= 10
        assert {name for name in properties if not isinstance(properties[name], bool)} == {
            "DefaultMessageTimeToLive", "LockDuration", "MaxDeliveryCount",
        }  # fmt: skip
