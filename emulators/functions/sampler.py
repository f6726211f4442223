"""Says whose code the worker's processor time goes to, by sampling its main thread."""

import signal
import sysconfig
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL = 0.002
OWN = "own"
HOST = "host"
#: No frame but the standard library's: the event loop between two callbacks.
STDLIB = "standard library"

_SITE_PACKAGES = "site-packages"


class Sampler:
    """Counts, every 2 ms of processor time, the innermost code that is not the standard library's.

    What the standard library does counts for who called it. A class is `own` (the app), `host` (this package) or the
    name of a third-party package. Processor time of other threads is sampled too, but shows the main thread's frame.
    """

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = str(app_dir.resolve()) + "/"
        self._host_dir = str(Path(__file__).resolve().parents[1]) + "/"
        paths = sysconfig.get_paths()
        self._stdlib = tuple({paths["stdlib"] + "/", paths["platstdlib"] + "/"})
        self._classes: dict[str, str | None] = {}
        self._counts: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to count, from zero. Must be called on the main thread."""
        self._counts.clear()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def stop(self) -> dict[str, int]:
        """Return the samples per class since `start`."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        return dict(self._counts)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None:
            name = frame.f_code.co_filename
            if name not in self._classes:
                self._classes[name] = self.class_of(name)
            found = self._classes[name]
            if found is not None:
                self._counts[found] += 1
                return
            frame = frame.f_back
        self._counts[STDLIB] += 1

    def class_of(self, filename: str) -> str | None:
        """Return the class of a source file, None for the standard library's."""
        _, found, inside = filename.rpartition(f"/{_SITE_PACKAGES}/")
        if found:
            parts = inside.split("/")
            # `azure` is only a name space: azure.functions and azure.servicebus are different packages.
            return ".".join(parts[:2]) if parts[0] == "azure" and len(parts) > 2 else parts[0].removesuffix(".py")
        if filename.startswith(self._host_dir):
            return HOST
        if filename.startswith(self._stdlib):
            return None
        return OWN if filename.startswith(self._app_dir) else None
