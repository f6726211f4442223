"""The rules that turn a row's lookups into Marketo relations: owner, company, role (dataverse.md 7.2 to 7.6). Pure.

`Rules` holds the rows that the rules need besides the record's own; shared/sync/lookups.py reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ..config.conditions import Row
from ..config.sync_toml import OwnerPolicy
from ..model.entities import CONTACT_COLUMNS, OPPORTUNITY_COLUMNS, PERSON_TABLES, TABLES
from ..model.outcome import Parent, Skipped
from ..model.text import is_blank

#: How far up a chain of contacts the account is looked for; a chain may be a circle.
MAX_CONTACT_STEPS = 3
#: Length of Marketo's role field (marketo.md 4.7).
ROLE_LENGTH = 50

LOOKUP_TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"
#: The lookups that name a row's account, or a contact in between, by its table; the first that does counts.
COMPANY_COLUMNS = {
    "lead": ("_parentaccountid_value",),
    "contact": ("_parentcustomerid_value",),
    "opportunity": ("_customerid_value", "_parentaccountid_value"),
}
#: The lookups that name a role, by the table of the rows that have them.
ROLE_COLUMNS = {
    "connection": ("_record1roleid_value", "_record2roleid_value"),
    "customeropportunityrole": ("_opportunityroleid_value",),
}
#: The column of a user that decides whether he is a sales person.
MAIL = "internalemailaddress"
#: The state of a lead that has become a contact (lifecycle.md 2).
QUALIFIED_STATE = 1
#: The lookup of a contact that names the lead that it was qualified from.
ORIGIN = "_originatingleadid_value"
#: Stands for the administrator of a team that has none.
NOBODY = ""
#: The name of the role of a connection without one.
NO_ROLE = ""

Reference = tuple[str, str]  # (table, id)


@dataclass(frozen=True, slots=True)
class User:
    """What the owner rules ask of a user."""

    has_mail: bool
    disabled: bool = False
    interactive: bool = True

    @property
    def usable(self) -> bool:
        """Whether the user may be the sales person of a record."""
        return self.has_mail and not self.disabled


@dataclass(frozen=True, slots=True)
class Rules:
    """The policies, and the reference rows for the rows at hand, ids in lower case.

    None: the row cannot be seen. That is no row which is not there: nothing follows from it but that nobody knows.
    """

    policy: OwnerPolicy
    default_role: str
    users: Mapping[str, User | None] = field(default_factory=dict)
    administrators: Mapping[str, str | None] = field(default_factory=dict)
    roles: Mapping[str, str | None] = field(default_factory=dict)
    contact_parents: Mapping[str, Reference | None] = field(default_factory=dict)

    def parents(
        self, table: str, row: Row, hidden: Collection[str] = frozenset()
    ) -> dict[str, Parent | None] | Skipped:
        """The parent behind each link field of the record's entity, or why the row is nothing to sync.

        None: there is no parent. A field that is missing keeps what Marketo has, because nobody knows. `hidden`: the
        columns that our user may not read.
        """
        entity, _ = TABLES[table]
        match entity.name:
            case "sales_person":
                return skip_user(row, hidden) or {}
            case "company":
                return self._owner(row)
            case "opportunity_role":
                return role_ends(table, row)
            case _:
                return {**self._owner(row), "externalCompanyId": self.company(table, row)}

    def _owner(self, row: Row) -> dict[str, Parent | None]:
        chosen = self.sales_person(row)
        return {} if chosen is None and self.hides_owner(row) else {"externalSalesPersonId": chosen}

    def hides_owner(self, row: Row) -> bool:
        """Whether it cannot be seen who stands for the row's owner."""
        owner = lookup(row, "_ownerid_value")
        if owner is None:
            return False
        table, id_ = owner
        if table == "systemuser":
            return self.users.get(id_) is None
        if self.policy.team != "administrator":
            return False
        admin = self.administrators.get(id_)
        return admin is None or (admin != NOBODY and self.users.get(admin) is None)

    def sales_person(self, row: Row) -> Parent | None:
        """The user who stands for the row's owner, or None (policies of [owner] in sync.toml)."""
        owner = lookup(row, "_ownerid_value")
        if owner is None:
            return None
        table, id_ = owner
        chosen = self._of_team(id_) if table == "team" else self._of_user(id_)
        return Parent("sales_person", "systemuser", chosen) if chosen else None

    def _of_team(self, team: str) -> str | None:
        if self.policy.team == "fixed":
            return self.policy.fixed
        admin = self.administrators.get(team) if self.policy.team == "administrator" else None
        user = self.users.get(admin) if admin else None
        return admin if user and user.usable and user.interactive else None

    def _of_user(self, id_: str) -> str | None:
        user = self.users.get(id_)
        if user and user.usable:
            return id_
        if self.policy.unusable_user == "fixed":
            return self.policy.fixed
        return id_ if self.policy.unusable_user == "keep" and user and user.has_mail else None

    def company(self, table: str, row: Row) -> Parent | None:
        """The account that a person or an opportunity belongs to, or None."""
        references = [ref for column in COMPANY_COLUMNS[table] if (ref := lookup(row, column))]
        accounts = [id_ for kind, id_ in references if kind == "account"]
        steps = contact_steps(table)
        accounts += [id_ for kind, ref in references if kind == "contact" and (id_ := self._account_of(ref, steps))]
        return Parent("company", "account", accounts[0]) if accounts else None

    def _account_of(self, contact: str, steps: int) -> str | None:
        for _ in range(steps):
            parent = self.contact_parents.get(contact)
            if parent is None:
                return None
            kind, contact = parent
            if kind == "account":
                return contact
        return None

    def role(self, table: str, row: Row) -> str | None:
        """The name of the role that the person plays, cut to Marketo's 50 characters; None: it cannot be seen.

        It is part of the key in Marketo: a wrong one would make a record that stays.
        """
        if table == "connection":
            ends = role_ends(table, row)
            person = ends.get("leadId") if isinstance(ends, dict) else None
            side = "record1" if person and lookup(row, "_record1id_value") == (person.table, person.id) else "record2"
            reference = lookup(row, f"_{side}roleid_value")
        else:
            reference = lookup(row, "_opportunityroleid_value")
        name = self.roles.get(reference[1]) if reference else NO_ROLE
        return None if name is None else (name or self.default_role)[:ROLE_LENGTH]


def hidden_links(table: str, row: Row, hidden: Collection[str]) -> list[str]:
    """The link fields of a row of which a lookup is hidden from our user, and therefore null, whatever it is."""
    columns = {"externalSalesPersonId": ("_ownerid_value",), "externalCompanyId": COMPANY_COLUMNS.get(table, ())}
    return [field for field, names in columns.items() if any(n in hidden and row.get(n) is None for n in names)]


def effects(policy: OwnerPolicy, user: User) -> tuple[str, bool]:
    """What follows from a user: who stands for the rows that it owns, and whether it stands for a team's."""
    of_user = Rules(policy, "", users={"the user": user}).sales_person(
        {"_ownerid_value": "the user", "_ownerid_value" + LOOKUP_TABLE: "systemuser"}
    )
    of_team = policy.team == "administrator" and user.usable and user.interactive
    return of_user.id if of_user else "", of_team


def lookup(row: Row, column: str) -> Reference | None:
    """(table, id) that a lookup column such as `_ownerid_value` points to, or None when it is empty."""
    value = row.get(column)
    return (str(row.get(column + LOOKUP_TABLE, "")), str(value).lower()) if value else None


def origin_of(row: Row) -> str:
    """The lead that a contact comes from; empty where there is none."""
    origin = lookup(row, ORIGIN)
    return origin[1] if origin else ""


def is_qualified(table: str, row: Row) -> bool:
    """Whether the row is a lead that has become a contact."""
    return table == "lead" and row.get("statecode") == QUALIFIED_STATE


def winner_of(table: str, row: Row) -> Parent | None:
    """The row that goes on in place of this one: after a merge, or the contact that a qualified lead names."""
    merged, qualified = row.get("merged") is True, is_qualified(table, row)
    found = lookup(row, "_masterid_value" if merged else "_parentcontactid_value" if qualified else "")
    return Parent(TABLES[table][0].name, found[0] or table, found[1]) if found else None


def contact_steps(table: str) -> int:
    """How many contacts may stand between a row and its account: an opportunity has its customer's account."""
    return MAX_CONTACT_STEPS + (table == "opportunity")


def skip_user(row: Row, hidden: Collection[str] = frozenset()) -> Skipped | None:
    """Application users and users without e-mail are no sales persons; disabled ones stay what they were.

    Nobody knows of an address that is hidden whether there is one.
    """
    if row.get("applicationid"):
        return Skipped("ApplicationUser")
    return Skipped("UserWithoutMail") if is_blank(row.get(MAIL)) and not hides_mail(row, hidden) else None


def hides_mail(row: Row, hidden: Collection[str]) -> bool:
    """Whether a user's address cannot be seen."""
    return MAIL in hidden and row.get(MAIL) is None


def opportunities_of(table: str, row: Row) -> list[str]:
    """The opportunities that a connection or a legacy role is a part of, active or not; most often one."""
    columns = (f"_{name}_value" for name in OPPORTUNITY_COLUMNS[table])
    return [ref[1] for column in columns if (ref := lookup(row, column)) and ref[0] == "opportunity"]


def primary_contact(row: Row) -> str | None:
    """The contact that an opportunity has without a connection: its customer, or the one beside it."""
    references = [lookup(row, column) for column in CONTACT_COLUMNS]
    return next((ref[1] for ref in references if ref and ref[0] == "contact"), None)


def role_ends(table: str, row: Row) -> dict[str, Parent | None] | Skipped:
    """The opportunity and the person that a connection or a legacy role joins.

    A connection is two mirrored rows: both give the same ends, whichever comes first (dataverse.md 7.6).
    """
    if row.get("statecode") == 1:
        return Skipped("Inactive")
    if table == "connection":
        ends = [lookup(row, "_record1id_value"), lookup(row, "_record2id_value")]
    else:
        ends = [lookup(row, "_opportunityid_value"), lookup(row, "_customerid_value")]
    opportunity = next((end for end in ends if end and end[0] == "opportunity"), None)
    person = next((end for end in ends if end and end[0] in PERSON_TABLES), None)
    if opportunity is None or person is None:
        return Skipped("NotAStakeholder")
    return {
        "externalOpportunityId": Parent("opportunity", "opportunity", opportunity[1]),
        "leadId": Parent("person", person[0], person[1]),
    }
