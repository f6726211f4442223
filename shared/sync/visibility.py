"""Whether the sync user sees every row of some tables, so that a row that a query does not give is not there.

A query leaves out rows that a security role hides, and a lookup that column-level security hides is null: both without
a word (dataverse.md 5.3). Before anything is deleted for want of a row, this is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from ..dataverse.client import API, DataverseClient
from ..model.codes import Kind
from ..model.errors import DataverseError
from .schema import Schema

log = logging.getLogger(__name__)

#: How long an answer counts.
KEEP_SECONDS = 60.0
#: Depths of a privilege that leave rows out.
NARROW = frozenset({"basic", "local", "deep"})


@dataclass
class Visibility:
    """What the sync user sees of some tables. `needed`: the columns of each that matter."""

    dataverse: DataverseClient
    schema: Schema
    needed: Mapping[str, Sequence[str]]
    _: KW_ONLY
    clock: Callable[[], float]
    _whole_at: float = field(default=float("-inf"), init=False)

    async def is_whole(self) -> bool:
        """Whether every row can be seen with these columns; kept for a minute. Raises as DataverseClient does."""
        if self.clock() < self._whole_at + KEEP_SECONDS:
            return True
        if trouble := await self._hidden() or await self._narrow():
            log.warning("nothing_deleted: %s, so nobody can tell what is no more; see msisync doctor", trouble)
            return False
        self._whole_at = self.clock()
        return True

    async def _hidden(self) -> str:
        for table, columns in self.needed.items():
            if hidden := frozenset(columns).intersection(await self.schema.metadata.hidden_columns(table)):
                return f"column-level security hides {', '.join(sorted(hidden))} of {table}"
        return ""

    async def _narrow(self) -> str:
        """What the sync user's security roles let it read in part. A privilege may be called otherwise than its table:
        that there is one, the query has shown.
        """
        try:
            user = await self.dataverse.user_id()
            url = f"{API}/systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()"
            held = (await self.dataverse.get(url)).get("RolePrivileges") or []
        except DataverseError as error:
            if error.kind not in {Kind.CONFIGURATION, Kind.GONE, Kind.PERMANENT}:
                raise
            return f"the sync user's privileges cannot be read ({error.code})"
        depths = {str(p.get("PrivilegeName") or "").lower(): str(p.get("Depth") or "").lower() for p in held}
        narrow = [table for table in self.needed if depths.get(f"prvread{table}") in NARROW]
        return f"the sync user may not read every row of {', '.join(narrow)}" if narrow else ""
