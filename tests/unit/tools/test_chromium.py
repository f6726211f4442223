"""Which browser the tests of the console run in."""

import shutil

import pytest

from tools.chromium import find_chromium


@pytest.mark.parametrize(
    ("variable", "present", "found"),
    [
        ("", "chromium chromium-headless-shell", "chromium-headless-shell"),
        ("", "chromium-browser", "chromium-browser"),
        ("", "google-chrome", "google-chrome"),
        ("/opt/chrome", "/opt/chrome", "/opt/chrome"),
        ("/opt/chrome", "chromium", None),
        ("", "firefox", None),
    ],
)
def test_the_browser_is_the_one_that_is_named_or_any_chromium(
    monkeypatch: pytest.MonkeyPatch, variable: str, present: str, found: str | None
) -> None:
    monkeypatch.setenv("CHROMIUM", variable)
    monkeypatch.setattr(shutil, "which", {name: name for name in present.split()}.get)
    assert find_chromium() == found
