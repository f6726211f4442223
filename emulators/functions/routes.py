"""Routes and keys of HTTP triggers."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from emulators.functions.settings import HostError
from emulators.functions.triggers import HttpTrigger

_PARAMETER = re.compile(r"\{(?P<star>\*?)(?P<name>\w+)(?P<optional>\??)\}")


@dataclass(frozen=True)
class Keys:
    """The keys that callers must show: the app's function key, and the master key, which opens everything."""

    function: str | None
    master: str | None

    def opens(self, level: str, shown: str | None) -> bool:
        """Tell whether the key that a caller showed suffices for an authLevel (anonymous, function, admin)."""
        if level == "anonymous":
            return True
        accepted = [self.master] if level == "admin" else [self.master, self.function]
        # Every comparison is made: the time taken says nothing about which one failed.
        matches = [hmac.compare_digest(shown.encode(), key.encode()) for key in accepted if key and shown]
        return any(matches)


class Routes:
    """Finds the function for a request: of several that match, the first by name, as the real host does.

    https://github.com/Azure/azure-functions-host/issues/9876
    """

    def __init__(self, triggers: Sequence[HttpTrigger], prefix: str) -> None:
        in_order = sorted(triggers, key=lambda trigger: trigger.function.lower())
        self._routes = [(_pattern(trigger, prefix), trigger) for trigger in in_order]

    def find(self, method: str, path: str) -> tuple[HttpTrigger, dict[str, str]] | None:
        """Return the trigger and the route's parameters. None, which is a 404, also for a method that is not served."""
        for pattern, trigger in self._routes:
            match = pattern.fullmatch(path.strip("/"))
            if match and (not trigger.methods or method in trigger.methods):
                return trigger, {name: value for name, value in match.groupdict().items() if value is not None}
        return None


def _pattern(trigger: HttpTrigger, prefix: str) -> re.Pattern[str]:
    pattern = ""
    for part in f"{prefix}/{trigger.route}".strip("/").split("/"):
        separator = "/" if pattern else ""
        parameter = _PARAMETER.fullmatch(part)
        if parameter is None:
            if "{" in part:
                msg = f"function '{trigger.function}': the local host does not know the route template '{part}'"
                raise HostError(msg)
            pattern += separator + re.escape(part)
        elif parameter["star"]:
            pattern += f"(?:{separator}(?P<{parameter['name']}>.*))?"
        elif parameter["optional"]:
            pattern += f"(?:{separator}(?P<{parameter['name']}>[^/]+))?"
        else:
            pattern += f"{separator}(?P<{parameter['name']}>[^/]+)"
    return re.compile(pattern, re.IGNORECASE)
