"""One operation on its way through the Web API."""

from dataclasses import dataclass
from functools import cached_property

from emulators.dataverse import constants
from emulators.dataverse.columns import Table
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

    def context(self, table: Table, suffix: str = "") -> str:
        """What an answer over a table is about."""
        select = self.options.options.get("$select")
        return f"{constants.API_URL}$metadata#{table.set_name}{f'({select})' if select else ''}{suffix}"

    def link(self, table: Table, more: str, *, without: tuple[str, ...]) -> str:
        """The address of this query with one more option, and without options of these names."""
        dropped = tuple(f"{mark}{name}=" for name in without for mark in ("$", "%24"))
        kept = [part for part in self.request.query.split("&") if part and not part.startswith(dropped)]
        return f"{constants.API_URL}{table.set_name}?{'&'.join([*kept, more])}"
