"""Why the engine links a record as it does, in words. Pure: over the same rules that the engine follows."""

from __future__ import annotations

from ...config.conditions import Row
from ...model.outcome import Parent
from ...sync.links import COMPANY_COLUMNS, NOBODY, Rules, User, lookup


def owner_words(rules: Rules, row: Row, team_name: str = "") -> str:
    """How the sales person follows from the row's owner, or why there is none."""
    owner = lookup(row, "_ownerid_value")
    if owner is None:
        return "the row has no owner"
    chosen = rules.sales_person(row)
    if owner[0] == "team":
        team = f"{team_name} ({owner[1]})" if team_name else owner[1]
        return f"owned by team {team}{_team_words(rules, owner[1], chosen)}"
    if chosen and chosen.id == owner[1]:
        return "the row's owner"
    because = f"the row's owner, user {owner[1]}, {_unusable(rules.users.get(owner[1]))}"
    return f"{because}; the fixed user of [owner] stands for it" if chosen else because


def _team_words(rules: Rules, team: str, chosen: Parent | None) -> str:
    admin = rules.administrators.get(team)
    match rules.policy.team:
        case "fixed":
            return "; the fixed user of [owner] stands for it"
        case "none":
            return ', and [owner] team = "none" gives a team nobody'
        case _ if chosen:
            return "; its administrator stands for it"
        case _ if admin is None:
            return ", which cannot be read: it is not there, or the sync user's role hides it"
        case _ if admin == NOBODY:
            return ", which has no administrator"
        case _:
            return f", whose administrator, user {admin}, {_unusable(rules.users.get(admin))}"


def _unusable(user: User | None) -> str:
    if user is None:
        return "cannot be read: it is not in Dynamics, or the sync user's role hides it"
    if not user.has_mail:
        return "has no e-mail address or is an application user"
    return "is disabled" if user.disabled else "never signs in"


def company_words(rules: Rules, table: str, row: Row) -> str:
    """How the company follows from the row, or why there is none."""
    above = [reference for column in COMPANY_COLUMNS[table] if (reference := lookup(row, column))]
    if not above:
        return "the row has no account"
    if any(kind == "account" for kind, _ in above):
        return "the row's account"
    contact = above[0][1]
    found = rules.company(table, row)
    return f"the account above contact {contact}" if found else f"contact {contact} above it has no account"


def possible_parents(rules: Rules, table: str, row: Row) -> list[Parent]:
    """Every parent that the record may be parked under: those of now, and those that another policy would give."""
    owner = lookup(row, "_ownerid_value")
    company = rules.company(table, row) if table in COMPANY_COLUMNS else None
    users = [parent.id] if (parent := rules.sales_person(row)) else []
    if owner and owner[0] == "systemuser":
        users.append(owner[1])
    elif owner and (admin := rules.administrators.get(owner[1])):
        users.append(admin)
    if rules.policy.fixed:
        users.append(rules.policy.fixed)
    parents = [Parent("sales_person", "systemuser", id_) for id_ in dict.fromkeys(users)]
    return [*parents, company] if company else parents
