"""The browser that the tests of the console run in, and what to do where there is none."""

import os
import shutil

from tools.interpreters import remedy


def find_chromium() -> "str | None":
    """Return the path of what the variable CHROMIUM names, else of the first of these on PATH; None without any.

    The headless shell, which has no windows, takes less than half of the processor time.
    """
    names = os.environ.get("CHROMIUM") or "chromium-headless-shell chromium chromium-browser google-chrome"
    return next((path for name in names.split() if (path := shutil.which(name))), None)


def no_chromium() -> str:
    """Return what is missing, with the remedy."""
    return f"Chromium is missing ({remedy('chromium')}; or name its path in the variable CHROMIUM)"
