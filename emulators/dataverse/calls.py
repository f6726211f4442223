"""One operation on its way through the Web API."""

from dataclasses import dataclass
from functools import cached_property

from emulators.dataverse.environment import Environment
from emulators.dataverse.messages import ApiRequest
from emulators.dataverse.query import Options
from emulators.dataverse.store import Transaction


@dataclass(frozen=True)
class Call:
    """The request, the caller's row id, and the state that the operation works on."""

    environment: Environment
    request: ApiRequest
    user: str
    transaction: Transaction

    @cached_property
    def options(self) -> Options:
        """The query options and preferences. Raises ApiError when they cannot be read."""
        return Options.parse(self.request.query, self.request.prefer, self.environment.switches.language)
