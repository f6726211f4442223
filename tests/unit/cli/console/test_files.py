"""The files of the console: deployed and installed with it, readable in both colour schemes, and as vendored."""

import hashlib
import re
from fnmatch import fnmatch
from pathlib import PurePosixPath

import pytest

from shared.cli.console.templating import FOLDER
from tests.support.values import ROOT
from tools.generate import VENDORED

FILES = [path for path in FOLDER.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"}]
CSS = (FOLDER / "static/console.css").read_text(encoding="utf-8")
#: Ink and ground that stand on each other, and the contrast that WCAG 2.2 AA asks for (1.4.3, 1.4.11).
PAIRS = [
    *((ink, ground, 4.5) for ink in ("ink", "dim", "accent") for ground in ("bg", "card")),
    *((ink, f"{ink}-bg", 4.5) for ink in ("good", "warn", "bad")),
    ("on-accent", "accent", 4.5),
    ("card", "bad", 4.5),
    *((shape, ground, 3.0) for shape in ("edge", "accent") for ground in ("bg", "card")),
]


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_colours_can_be_told_apart(scheme: str, ink: str, ground: str, least: float) -> None:
    light, dark = (colours(block) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL))
    assert light.keys() == dark.keys()
    chosen = light if scheme == "light" else dark
    assert contrast(chosen[ink], chosen[ground]) >= least


def test_what_is_vendored_is_as_its_publisher_has_it() -> None:
    for file in VENDORED:
        content = (ROOT / file.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256, file.path
        assert f'version:"{file.version}"'.encode() in content


def test_the_files_are_deployed() -> None:
    ignored = [line.rstrip("/") for line in (ROOT / ".funcignore").read_text().split()]
    for file in FILES:
        parts = PurePosixPath(file.relative_to(ROOT).as_posix()).parts
        assert [pattern for pattern in ignored for part in parts if fnmatch(part, pattern)] == []


def test_htmx_may_evaluate_nothing_and_ask_nobody_else() -> None:
    page = (FOLDER / "templates/base.html").read_text(encoding="utf-8")
    for setting in ('"allowEval": false', '"selfRequestsOnly": true', '"includeIndicatorStyles": false'):
        assert setting in page
