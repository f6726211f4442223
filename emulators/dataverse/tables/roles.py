"""Who plays which role in an opportunity: connections, and the older customer-opportunity roles."""

from typing import Final

from emulators.dataverse.columns import Column, Table
from emulators.dataverse.tables.build import (
    STATES_ACTIVE,
    choice,
    customer,
    derived,
    flag,
    lookup,
    memo,
    moment,
    owner,
    states,
    table,
    text,
)

CONNECTABLE: Final = ("account", "contact", "lead", "opportunity", "systemuser", "team")
_TYPE_CODES = (
    "1 Account|Firma; 2 Contact|Kontakt; 3 Opportunity|Verkaufschance; 4 Lead|Lead; 8 User|Benutzer; 9 Team|Team"
)


def _side(which: int) -> tuple[Column, ...]:
    name = f"record{which}"
    end = "From" if which == 1 else "To"
    return (
        lookup(f"{name}id", f"Connected {end}", *CONNECTABLE, required=True, cascade_delete=CONNECTABLE),
        *derived(choice(f"{name}objecttypecode", f"Type ({end})", _TYPE_CODES)),
        lookup(f"{name}roleid", f"Role ({end})", "connectionrole"),
    )


ROLE_TABLES: Final[tuple[Table, ...]] = (
    table(
        "connection",
        "connections",
        "Connection",
        3234,
        derived(text("name", 500, "Name")),
        memo("description", 2000, "Description"),
        _side(1),
        _side(2),
        derived(lookup("relatedconnectionid", "Reciprocal Connection", "connection"), flag("ismaster", "Is Master")),
        moment("effectivestart", "Starting"),
        moment("effectiveend", "Ending"),
        states(*STATES_ACTIVE),
        owner(),
    ),
    table(
        "connectionrole",
        "connectionroles",
        "Connection Role",
        3231,
        text("name", 100, "Name", required=True),
        memo("description", 2000, "Description"),
        choice(
            "category",
            "Connection Role Category",
            "1 Business|Geschäftlich; 2 Family|Familie; 3 Social|Gesellschaftlich; 4 Sales|Vertrieb; 5 Other|Sonstige; "
            "1000 Stakeholder|Projektbeteiligter; 1001 Sales Team|Vertriebsteam; 1002 Service|Service",
        ),
        states(*STATES_ACTIVE),
        schema_name="ConnectionRole",
    ),
    table(
        "customeropportunityrole",
        "customeropportunityroles",
        "Opportunity Relationship",
        4503,
        derived(text("opportunityroleidname", 100, "Role")),
        memo("description", 2000, "Description"),
        customer("customerid", "Customer", required=True, cascade_delete=("account", "contact")),
        lookup("opportunityid", "Opportunity", "opportunity", required=True, cascade_delete=("opportunity",)),
        lookup("opportunityroleid", "Role", "relationshiprole"),
        states(*STATES_ACTIVE),
        owner(),
        primary_name="opportunityroleidname",
        schema_name="CustomerOpportunityRole",
    ),
    table(
        "relationshiprole",
        "relationshiproles",
        "Relationship Role",
        4500,
        text("name", 100, "Role Name", required=True),
        memo("description", 2000, "Description"),
        states(*STATES_ACTIVE),
        schema_name="RelationshipRole",
    ),
)
