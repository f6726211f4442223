"""What commands take a lead for: itself, the contact that it has become, or the row that it was merged into."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.cli.show.dynamics import Dynamics
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.model.entities import TABLES
from tests.support.values import guid, to

LEAD, CONTACT, OTHER = guid(1), guid(2), guid(3)
TABLE = {"fields": {"email": "emailaddress1"}}
CONFIG = SyncConfig.model_validate({"lead": TABLE, "contact": TABLE})


class Systems:
    """Dataverse and its metadata, with one lead, and the contacts that come from it."""

    def __init__(self, lead: dict[str, Any], contacts: Sequence[dict[str, Any]]) -> None:
        self.lead, self.contacts = lead, contacts

    async def readable_columns(self, table: str) -> dict[str, Column]:
        names = ("emailaddress1", "new_synctomkto", *TABLES[table][1].rule_columns)
        return {name: Column(name, "String", readable=True) for name in names}

    async def hidden_columns(self, _table: str) -> frozenset[str]:
        return frozenset()

    async def rows(self, entity_set: str, *_: Any, **__: Any) -> dict[str, Any]:
        return {LEAD: {"leadid": LEAD, **self.lead}} if entity_set == "leads" else {}

    async def query(self, _url: str, **_: Any) -> Sequence[dict[str, Any]]:
        return self.contacts


SYNCED, FILTERED = {"contactid": CONTACT, "new_synctomkto": True}, {"contactid": CONTACT, "new_synctomkto": False}
QUALIFIED = {"statecode": 1}
MERGED = {"merged": True, **to("_masterid_value", "lead", OTHER)}


@pytest.mark.parametrize(
    ("lead", "contacts", "qualified", "winner"),
    [
        ({"statecode": 0}, [], False, ""), ({"statecode": 0}, [FILTERED], False, ""),
        ({"statecode": 0}, [SYNCED], True, f"contact {CONTACT}"),
        (QUALIFIED, [], False, ""), (QUALIFIED, [FILTERED], True, f"contact {CONTACT}"),
        (QUALIFIED | to("_parentcontactid_value", "contact", OTHER), [], True, f"contact {OTHER}"),
        (MERGED, [], False, f"lead {OTHER}"),
    ],
)  # fmt: skip
async def test_a_lead_goes_on_as_its_contact_if_it_has_one(
    lead: dict[str, Any], contacts: list[dict[str, Any]], qualified: bool, winner: str
) -> None:
    systems: Any = Systems(lead, contacts)
    (person,) = await Dynamics(systems, systems, CONFIG).find(LEAD)
    assert (person.subject.qualified, person.subject.winner) == (qualified, winner)
