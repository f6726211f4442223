"""What plans of the write-back are made of: metadata, Marketo's fields, and the state that keeps them."""

from datetime import UTC, datetime
from typing import Any

from local.virtual import MemoryState, MemoryTable
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.errors import MarketoError
from shared.write_back.plan import Plans

NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
USER, STRANGER = "c1a85f07-a34d-ee11-be6f-000d3a4f1b2c", "d2b85f07-a34d-ee11-be6f-000d3a4f1b2c"
CONFIG = SyncConfig.model_validate({"contact": {"fields": {}}, "account": {"fields": {}}})
FIELDS = {
    "msiLastInterestingMomentType": MarketoField("string"), "msiLastInterestingMomentDate": MarketoField("datetime"),
    "priority": MarketoField("integer"), "relativeScore": MarketoField("integer"),
}  # fmt: skip
COLUMNS = {
    "msi_type": Column("msi_type", "String", True, True, "", "Last Interesting Moment Type", 20),
    "msi_date": Column("msi_date", "DateTime", True, True, "", "Last Interesting Moment Date"),
    "msi_engagement": Column("msi_engagement", "Picklist", True, True, "", "Engagement"),
    "msi_stars": Column("msi_stars", "Integer", True, True, "", "Relative Scoring Value"),
    "new_synctomkto": Column("new_synctomkto", "Boolean", True, True),
}


class Systems:
    """Metadata, Marketo and the state that plans are made of."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = NOON
        self.table = MemoryTable(seconds=0)
        self.refusal = ""

    def clock(self) -> float:
        return (self.now - NOON).total_seconds()

    async def columns(self, table: str, _language: int) -> dict[str, Column]:
        self.asked.append(f"columns of {table}")
        return COLUMNS

    async def labels(self, _table: str, columns: frozenset[str], _language: int) -> dict[str, dict[int, str]]:
        assert columns == {"msi_engagement"}
        return {"msi_engagement": {100: "High ", 200: "Low"}}

    async def days(self, _table: str) -> dict[str, str]:
        return {"msi_date": "Date"}

    async def describe(self, _entity: object) -> dict[str, MarketoField]:
        self.asked.append("describe")
        return FIELDS

    async def get(self, path: str, *, refusals: frozenset[str]) -> dict[str, Any]:
        self.asked.append(path)
        if self.refusal:
            assert self.refusal in refusals  # no circuit is opened for it
            raise MarketoError(self.refusal, "Access denied", kind=Kind.CONFIGURATION)
        names = {12: "New Lead", 61: "Interesting Moment", 62: "Change Score", 64: "Merge Leads"}
        return {"result": [{"id": id_, "name": name} for id_, name in names.items()]}

    def plans(self, config: SyncConfig = CONFIG, **more: Any) -> Plans:
        itself: Any = self
        return Plans(config, itself, itself, MemoryState(self.table), now=lambda: self.now, **more)
