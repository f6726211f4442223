"""Who owns what and who belongs where, by the policies of the shipped sync.toml."""

from dataclasses import dataclass
from enum import StrEnum

from local.world.model import Reference, Row, World, reference

DEFAULT_ROLE = "Stakeholder"
CONTACT_ROLE = "Primary Contact"
ROLE_LENGTH = 50
# Dataverse: 0 read-write, 1 administrative, 2 read; not 3 support, 4 non-interactive, 5 delegated administrator.
_INTERACTIVE = {0, 1, 2}


class Reason(StrEnum):
    """Why a row is not in Marketo as a record of its own."""

    GONE = "deleted in Dynamics"
    APPLICATION_USER = "application user"
    NO_EMAIL = "user without e-mail"
    NOT_A_STAKEHOLDER = "joins no opportunity with a lead or contact"
    INACTIVE = "inactive connection"
    SAME_ROLE = "same role as another row (mirror or repetition)"
    REFUSED = "refused by Marketo"
    WAITS = "waits for parent"
    UNASKED = "never announced, and nobody's parent"


@dataclass(frozen=True, slots=True)
class Stake:
    """What a connection says: this person plays this role in this opportunity."""

    opportunity: str
    person: Reference
    role: str


class Relations:
    """Answers about the rows of one world."""

    def __init__(self, world: World) -> None:
        self._rows = world.rows
        self._role_names = {row_id: str(row["name"]) for row_id, row in world.rows["connectionrole"].items()}

    def sales_person(self, row: Row) -> str | None:
        """The user behind the row's owner: itself, or the administrator of the team; None if that one is unusable.

        Unusable are disabled users, users without e-mail and application users; of a team also users that nobody
        signs in as.
        """
        owner = reference(row, "ownerid")
        if owner is None:
            return None
        table, owner_id = owner
        if table == "systemuser":
            return owner_id if self._is_usable(owner_id) else None
        administrator = reference(self._rows["team"][owner_id], "administratorid")
        if administrator is None or not self._is_usable(administrator[1]):
            return None
        user = self._rows["systemuser"][administrator[1]]
        return administrator[1] if user["accessmode"] in _INTERACTIVE else None

    def _is_usable(self, user_id: str) -> bool:
        user = self._rows["systemuser"].get(user_id)
        return user is not None and not user["isdisabled"] and skip_user(user) is None

    def account(self, table: str, row: Row) -> str | None:
        """The account that a lead, contact or opportunity belongs to."""
        if table == "lead":
            return _account_in(reference(row, "parentaccountid"))
        if table == "contact":
            return self._account_above(reference(row, "parentcustomerid"))
        customer = reference(row, "customerid")
        return _account_in(customer) or _account_in(reference(row, "parentaccountid")) or self._account_above(customer)

    def _account_above(self, customer: Reference | None) -> str | None:
        """Follow a customer lookup up through contacts; they may go round in a circle."""
        seen: set[Reference] = set()
        while customer is not None and customer[0] == "contact" and customer not in seen:
            seen.add(customer)
            parent = self._rows["contact"].get(customer[1])
            customer = reference(parent, "parentcustomerid") if parent else None
        return _account_in(customer)

    def primary_contact(self, opportunity: str, row: Row) -> Stake | None:
        """The role of the contact that an opportunity has without a connection."""
        found = [reference(row, column) for column in ("customerid", "parentcontactid")]
        contact = next((each for each in found if each and each[0] == "contact"), None)
        return Stake(opportunity, contact, CONTACT_ROLE) if contact else None

    def stake(self, row: Row) -> Stake | Reason:
        """What a connection row says, whichever of its two ends the opportunity is at, or why it says nothing."""
        ends = {end: reference(row, f"{end}id") for end in ("record1", "record2")}
        deals = [found[1] for found in ends.values() if found and found[0] == "opportunity"]
        people = {end: found for end, found in ends.items() if found and found[0] in {"lead", "contact"}}
        if not deals or not people:
            return Reason.NOT_A_STAKEHOLDER
        if row["statecode"] != 0:
            return Reason.INACTIVE
        (end, person), *_ = people.items()
        played = reference(row, f"{end}roleid")
        role = self._role_names[played[1]] if played else DEFAULT_ROLE
        return Stake(deals[0], person, role[:ROLE_LENGTH])


def skip_user(row: Row) -> Reason | None:
    """Why a user is not a sales person; disabled users stay one."""
    if row.get("applicationid"):
        return Reason.APPLICATION_USER
    return None if row.get("internalemailaddress") else Reason.NO_EMAIL


def _account_in(found: Reference | None) -> str | None:
    return found[1] if found and found[0] == "account" else None
