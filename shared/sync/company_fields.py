"""Which fields of a person are its company's, and persons without a company in Dynamics who may have one in Marketo.

A Marketo person cannot leave a company (marketo.md 5.3). What a lead that has left its account says of its company
would be refused (1021), or would overwrite the account's own values. Who was in no company when Marketo was asked is
remembered as long as no other process has sent persons meanwhile (the lease tells), and until this process sends a link
itself.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import KW_ONLY, dataclass, field

from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.codes import Kind
from ..model.entities import COMPANY
from ..model.errors import MarketoError, MsiSyncError
from ..model.outcome import of_error
from .batch import Batch, Candidate
from .marketo_cache import Known
from .routing import chunked

log = logging.getLogger(__name__)

#: Fields of every instance, in lower case, and whose they are (marketo.md 4.7).
STANDARD_COMPANY_FIELDS = frozenset(
    {
        *("company", "site", "website", "mainphone", "annualrevenue", "numberofemployees", "industry", "siccode"),
        *("billingstreet", "billingcity", "billingstate", "billingcountry", "billingpostalcode", "mktocompanynotes"),
    }
)
STANDARD_PERSON_FIELDS = frozenset(
    {
        *("email", "salutation", "firstname", "middlename", "lastname", "title", "department", "dateofbirth"),
        *("phone", "mobilephone", "fax", "address", "city", "state", "country", "postalcode", "leadsource", "leadrole"),
        *("leadstatus", "rating", "leadscore", "unsubscribed", "unsubscribedreason", "donotcall", "donotcallreason"),
        *("emailinvalid", "marketingsuspended", "blacklisted", "mktopersonnotes"),
    }
)


@dataclass
class Companies:
    """Keeps what persons say of a company away from companies that have records of their own."""

    marketo: MarketoClient
    _: KW_ONLY
    clock: Callable[[], float]
    _tenure: int = field(default=-1, init=False)
    _free: Known = field(init=False)

    async def spare(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Leave the company fields out of persons that Marketo has in a company: one call per 300 with such fields.

        Only Marketo knows: Dynamics does not remember the account that a lead has left. One that has not been changed
        since it was made has left none. Decides those that cannot be asked for.
        """
        if not batch.entity.is_lead:
            return
        self._forget_old(batch, candidates)
        doubtful = [
            candidate
            for candidate in candidates
            if candidate.records[0].key in batch.open
            and candidate.has_company_fields
            and not candidate.is_as_made
            and not _goes_to_a_company(candidate)
        ]
        unknown = [c for c in doubtful if self._free.id_of(batch.entity.name, c.records[0].id) is None]
        for part in chunked(unknown, MAX_FILTER_VALUES):
            try:
                linked = await self._linked(batch, [candidate.records[0].id for candidate in part])
            except MsiSyncError as error:
                batch.decide((record for candidate in part for record in candidate.records), of_error(error))
                continue
            for candidate in part:
                if candidate.records[0].id in linked:
                    candidate.leave_to_company()

    def _forget_old(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Forget who another process may have linked, and who is going to be linked now."""
        if batch.sending.tenure != self._tenure:
            self._tenure, self._free = batch.sending.tenure, Known(clock=self.clock)
        for candidate in candidates:
            if _goes_to_a_company(candidate):
                self._free.forget(batch.entity.name, candidate.records[0].id)

    async def _linked(self, batch: Batch, ids: list[str]) -> set[str]:
        """Those of these persons that have a company in Marketo. What the call has room for is asked again in time."""
        name, key = batch.entity.name, self.marketo.key_of(batch.entity)
        asked = list(dict.fromkeys([*ids, *self._free.expiring(name, MAX_FILTER_VALUES)]))[:MAX_FILTER_VALUES]
        rows = await self.marketo.read(batch.entity, key, asked, (key, COMPANY.key), deadline=batch.deadline)
        linked = {str(row.get(key) or "").lower() for row in rows if row.get(COMPANY.key)}
        for id_ in asked:
            if id_ in linked:
                self._free.forget(name, id_)
            else:
                self._free.add(name, id_, 0)
        return linked


def _goes_to_a_company(candidate: Candidate) -> bool:
    return any(parent and parent.entity == COMPANY.name for parent in candidate.parents.values())


async def fields_of_company(
    names: Collection[str], described: Callable[[], Awaitable[Collection[str]]]
) -> frozenset[str]:
    """Those of these fields of a person that are its company's, in lower case: both objects have them.

    Only fields that are not of every instance need a call (`described` gives the company's). Where it is refused, they
    count as the person's.
    """
    lower = {name.lower() for name in names}
    found = lower & STANDARD_COMPANY_FIELDS
    unknown = lower - STANDARD_COMPANY_FIELDS - STANDARD_PERSON_FIELDS
    if unknown:
        try:
            found |= unknown & {name.lower() for name in await described()}
        except MarketoError as error:
            if error.kind not in {Kind.CONFIGURATION, Kind.GONE, Kind.PERMANENT}:
                raise
            log.warning("companies_not_described %s", error)
    return frozenset(found)
