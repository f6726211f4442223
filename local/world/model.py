"""What a world is: rows of Dataverse tables in Web API form, and how many of them."""

from dataclasses import dataclass, field
from typing import Any

LOOKUP_TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"

Row = dict[str, Any]
Reference = tuple[str, str]  # table, id

#: Tables that are synced, parents first, with their key and the entity that they become.
SYNCED_TABLES: dict[str, tuple[str, str]] = {
    "systemuser": ("systemuserid", "sales_person"),
    "account": ("accountid", "company"),
    "lead": ("leadid", "person"),
    "contact": ("contactid", "person"),
    "opportunity": ("opportunityid", "opportunity"),
    "connection": ("connectionid", "opportunity_role"),
}
#: Tables that only the rules read.
OTHER_TABLES: dict[str, str] = {"team": "teamid", "connectionrole": "connectionroleid"}
ENTITIES = ("sales_person", "company", "person", "opportunity", "opportunity_role")
#: The objects of Marketo's REST API that hold the entities.
MARKETO_OBJECTS = dict(zip(ENTITIES, ("salespersons", "companies", "leads", "opportunities", "roles"), strict=True))
KEYS: dict[str, str] = {**{table: key for table, (key, _) in SYNCED_TABLES.items()}, **OTHER_TABLES}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows; a connection is two rows, each the mirror of the other."""

    users: int
    accounts: int
    persons: int
    opportunities: int
    connections: int


FULL = Size(users=40, accounts=300, persons=2000, opportunities=400, connections=600)
#: Small, but with every special case in it.
SMALL = Size(users=12, accounts=20, persons=120, opportunities=30, connections=60)


@dataclass
class World:
    """One organisation. `rows` holds each table's rows by id, the mirrored rows of connections included.

    `troubled_account` is an account that only its own few children refer to: what happens when Marketo refuses it
    stays among them.
    """

    seed: int
    size: Size
    rows: dict[str, dict[str, Row]] = field(default_factory=lambda: {table: {} for table in KEYS})
    troubled_account: str = ""

    def seed_body(self) -> dict[str, list[Row]]:
        """The rows as the Dataverse simulator's `/seed` takes them, parents before children.

        Of each connection only the row that was made first: like Dataverse, the simulator makes the mirror itself.
        """
        order = ("systemuser", "team", "connectionrole", "account", "contact", "lead", "opportunity")
        body = {table: list(self.rows[table].values()) for table in order}
        body["connection"] = [row for row in self.rows["connection"].values() if row["ismaster"]]
        return body

    def synced(self) -> list[Reference]:
        """Every row of a synced table, parents first."""
        return [(table, row_id) for table in SYNCED_TABLES for row_id in self.rows[table]]


def lookup(column: str, table: str | None, row_id: str | None) -> Row:
    """A lookup column in Web API form: the id, and beside it the table that it leads to."""
    key = f"_{column}_value"
    return {key: row_id, key + LOOKUP_TABLE: table if row_id else None}


def reference(row: Row, column: str) -> Reference | None:
    """Where a lookup column of a row leads to."""
    key = f"_{column}_value"
    row_id = row.get(key)
    return (row[key + LOOKUP_TABLE], row_id) if row_id else None
