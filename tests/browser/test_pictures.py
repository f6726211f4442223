"""The pictures of docs/console.md: one of each page, small enough for a clone. `--pictures` draws them anew."""

import io
from pathlib import Path

from PIL import Image
from playwright.async_api import FloatRect

from local.harness import Made
from tests.browser.crawl import navigation
from tests.browser.desk import NARROW, WINDOW, Desk, settled

MOST_BYTES = 120_000
#: Pixels that are shown of a long page.
MOST_HIGH = 1_000
#: What else is shown, beside the pages of the navigation.
QUESTION = "/queues/pause?queue=person"


async def test_there_is_a_picture_of_every_page(
    operator: Desk, person: Made, pictures: Path | None, tmp_path: Path
) -> None:
    folder = pictures or tmp_path
    folder.mkdir(exist_ok=True)
    tab = await operator.open("/")

    async def draw(name: str) -> None:
        await settled(tab)
        height: int = await tab.evaluate("() => document.documentElement.scrollHeight")
        part: FloatRect = {"x": 0, "y": 0, "width": WINDOW["width"], "height": min(height, MOST_HIGH)}
        _write(folder / f"console-{name}.png", await tab.screenshot(full_page=True, clip=part, animations="disabled"))

    for path in await navigation(tab):
        await operator.go(tab, f"{path}?q={person.values['emailaddress1']}" if path == "/records" else path)
        await draw(path.strip("/").replace("/", "-") or "overview")
    await operator.go(tab, QUESTION)
    await draw("question")
    await tab.emulate_media(color_scheme="dark")
    await tab.set_viewport_size(NARROW)
    await operator.go(tab, "/")
    await tab.screenshot()  # lets what depends on the width be laid out
    _write(folder / "console-narrow.png", await tab.screenshot(animations="disabled"))
    drawn = sorted(folder.glob("console-*.png"))
    assert len(drawn) >= len(await navigation(tab)) + 2
    assert [path.name for path in drawn if path.stat().st_size > MOST_BYTES] == []


def _write(path: Path, picture: bytes) -> None:
    """With 128 colours: a third of the size, and nobody sees it."""
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
