import asyncio
import sysconfig
from pathlib import Path

import azure.servicebus
import httpx

from emulators.functions import host
from emulators.functions.sampler import HOST, OWN, Sampler


def test_code_is_told_apart(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    assert sampler.class_of(str(tmp_path / "shared" / "sync.py")) == OWN
    assert sampler.class_of(str(httpx.__file__)) == "httpx"
    assert sampler.class_of(str(azure.servicebus.__file__)) == "azure.servicebus"
    assert sampler.class_of(str(host.__file__)) == HOST
    assert sampler.class_of(str(asyncio.__file__)) is None
    assert sampler.class_of(sysconfig.get_paths()["stdlib"] + "/json/decoder.py") is None
    assert sampler.class_of("<frozen importlib._bootstrap>") is None


def test_packages_installed_inside_the_app_are_not_the_app_s(tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "lib" / "python3.13" / "site-packages"
    assert Sampler(tmp_path).class_of(str(installed / "httpx" / "_client.py")) == "httpx"
    assert Sampler(tmp_path).class_of(str(installed / "typing_extensions.py")) == "typing_extensions"
