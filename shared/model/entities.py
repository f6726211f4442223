"""The five entities as one declarative table (design: five rows, one engine).

Columns: guide "Sales Insight for non-native Dynamics" (keys and relations), dataverse.md 7 (tables, rule columns),
marketo.md 4 (paths, keys). Adding an entity is adding a row here and its fields in sync.toml.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A Dataverse table. `rule_columns` are read for what follows for relations, beside the mapped ones."""

    name: str
    entity_set: str
    key: str
    rule_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A relation of an entity: which Marketo field holds it and which entity it points to.

    `by_id` links hold Marketo's own record id, the others the parent's external key. Without a parent the field is
    sent as null where `clears` is true; else it is left out, because a person cannot be taken from a company, only
    moved to another one (marketo.md 5.3).
    """

    field: str
    parent: str
    by_id: bool = False
    clears: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """One row of the table: where it comes from, where it goes, what must be there first."""

    name: str
    tables: tuple[Table, ...]
    path: str
    key: str
    links: tuple[Link, ...] = ()
    #: Place in the order of operations of Adobe's CRM white paper: parents have a lower tier than their children.
    tier: int = 0
    #: Fields without which a record is of no use: one that Marketo refuses is never left out (guide, last paragraph).
    essential: tuple[str, ...] = ()
    #: Leads have an interface of their own: lookupField instead of dedupeBy, results without seq.
    is_lead: bool = False

    @property
    def is_parent(self) -> bool:
        """Whether records of other entities may wait for one of this."""
        return bool(self.key)  # only what has a key of its own can be referred to

    @property
    def dedupe_fields(self) -> tuple[str, ...]:
        """What identifies a record within one call; Marketo refuses the same one twice (1036)."""
        return (self.key,) if self.key else ("externalOpportunityId", "leadId", "role")


_OWNER = "_ownerid_value"
#: Of a row that was merged into another: that it was, and into which (dataverse.md 1.6).
_MERGED = ("merged", "_masterid_value")
_OWNED = Link("externalSalesPersonId", "sales_person", clears=True)

SALES_PERSON = Entity(
    "sales_person",
    (
        Table(
            "systemuser",
            "systemusers",
            "systemuserid",
            ("isdisabled", "accessmode", "applicationid", "internalemailaddress"),
        ),
    ),
    path="salespersons",
    key="externalSalesPersonId",
    essential=("email",),
)
COMPANY = Entity(
    "company",
    (Table("account", "accounts", "accountid", (_OWNER, *_MERGED)),),
    path="companies",
    key="externalCompanyId",
    links=(_OWNED,),
    tier=1,
)
PERSON = Entity(
    "person",
    (
        Table(
            "lead",
            "leads",
            "leadid",
            (_OWNER, "_parentaccountid_value", "_parentcontactid_value", "statecode", *_MERGED),
        ),
        Table(
            "contact",
            "contacts",
            "contactid",
            (_OWNER, "_parentcustomerid_value", "_originatingleadid_value", *_MERGED),
        ),
    ),
    path="leads",
    key="externalPersonId",
    links=(_OWNED, Link("externalCompanyId", "company")),
    tier=2,
    is_lead=True,
)
OPPORTUNITY = Entity(
    "opportunity",
    (
        Table(
            "opportunity",
            "opportunities",
            "opportunityid",
            (_OWNER, "_customerid_value", "_parentaccountid_value", "_parentcontactid_value"),
        ),
    ),
    path="opportunities",
    key="externalOpportunityId",
    essential=("name",),
    links=(_OWNED, Link("externalCompanyId", "company")),
    tier=3,
)
OPPORTUNITY_ROLE = Entity(
    "opportunity_role",
    (
        Table(
            "connection",
            "connections",
            "connectionid",
            ("_record1id_value", "_record2id_value", "_record1roleid_value", "_record2roleid_value", "statecode"),
        ),
        Table(
            "customeropportunityrole",
            "customeropportunityroles",
            "customeropportunityroleid",
            ("_customerid_value", "_opportunityid_value", "_opportunityroleid_value", "statecode"),
        ),
    ),
    path="opportunities/roles",
    key="",
    links=(Link("externalOpportunityId", "opportunity"), Link("leadId", "person", by_id=True)),
    tier=4,
)

ENTITIES: dict[str, Entity] = {e.name: e for e in (SALES_PERSON, COMPANY, PERSON, OPPORTUNITY, OPPORTUNITY_ROLE)}

#: The column of every table that says when a row was made.
CREATED_ON = "createdon"
#: The one that says when it was last changed: at first when it was made.
MODIFIED_ON = "modifiedon"

#: Which entity a Dataverse table feeds, and how to read it.
TABLES: dict[str, tuple[Entity, Table]] = {t.name: (e, t) for e in ENTITIES.values() for t in e.tables}
#: The lookups of an opportunity that name its primary contact; the first that leads to a contact counts.
CONTACT_COLUMNS = ("_customerid_value", "_parentcontactid_value")
#: Leads and contacts, whose rows take Sales Insight's fields.
PERSON_TABLES: dict[str, Table] = {table.name: table for table in PERSON.tables}

_OWNED_ROWS = tuple((table, _OWNER) for table in ("account", "lead", "contact", "opportunity"))
#: The rows that refer to a row, by its table: their table and lookup. A connection has a mirrored row, so one side is
#: enough (dataverse.md 7.6).
CHILDREN: dict[str, tuple[tuple[str, str], ...]] = {
    "systemuser": _OWNED_ROWS,
    "team": _OWNED_ROWS,
    "account": (
        ("lead", "_parentaccountid_value"),
        ("contact", "_parentcustomerid_value"),
        ("opportunity", "_customerid_value"),
        ("opportunity", "_parentaccountid_value"),
    ),
    "lead": (("connection", "_record1id_value"),),
    "contact": (("connection", "_record1id_value"), ("customeropportunityrole", "_customerid_value")),
    "opportunity": (("connection", "_record1id_value"), ("customeropportunityrole", "_opportunityid_value")),
    "connectionrole": (("connection", "_record1roleid_value"),),
    "relationshiprole": (("customeropportunityrole", "_opportunityroleid_value"),),
}
#: The opportunities whose primary contact a contact may be, by the lookup that leads to it.
OF_PRIMARY_CONTACT = (("opportunity", "_customerid_value"), ("opportunity", "_parentcontactid_value"))
#: The rows whose company is found through a contact, by the lookup that leads to it (shared/sync/links.py).
BELOW_CONTACT = (("opportunity", "_customerid_value"), ("contact", "_parentcustomerid_value"))
#: Tables that are not synced themselves, but decide what is sent of other rows.
REFERENCE_TABLES = {
    table.name: table
    for table in (
        Table("team", "teams", "teamid", ("_administratorid_value",)),
        Table("connectionrole", "connectionroles", "connectionroleid", ("name",)),
        Table("relationshiprole", "relationshiproles", "relationshiproleid", ("name",)),
    )
}
#: Every table that is read.
ALL_TABLES = REFERENCE_TABLES | {name: table for name, (_, table) in TABLES.items()}
#: The columns of a row that decide what is sent of others, as notifications name them.
DECIDING_COLUMNS: dict[str, frozenset[str]] = {
    "systemuser": frozenset({"internalemailaddress", "isdisabled", "applicationid", "accessmode"}),
    "contact": frozenset({"parentcustomerid"}),
    "opportunity": frozenset({"customerid", "parentcontactid"}),
    "team": frozenset({"administratorid"}),
    "connectionrole": frozenset({"name"}),
    "relationshiprole": frozenset({"name"}),
}
#: The columns of a row that say whose role in which opportunity it is, as notifications name them.
ROLE_KEY_COLUMNS: dict[str, frozenset[str]] = {
    "connection": frozenset({"record1id", "record2id", "record1roleid", "record2roleid", "statecode"}),
    "customeropportunityrole": frozenset({"customerid", "opportunityid", "opportunityroleid", "statecode"}),
}
#: Those of them that may name the opportunity.
OPPORTUNITY_COLUMNS: dict[str, tuple[str, ...]] = {
    "connection": ("record1id", "record2id"),
    "customeropportunityrole": ("opportunityid",),
}


def stands_for_roles(table: str, entity: Entity) -> bool:
    """Whether a record of this table and entity is an opportunity whose roles are to be as in Dynamics.

    It stands for the role of its primary contact, and for all that it has (shared/sync/roles.py).
    """
    return (table, entity.name) == (OPPORTUNITY.tables[0].name, OPPORTUNITY_ROLE.name)
