"""Why a person is linked as it is, in words, and what it may be parked under: beside the engine's own rules."""

from typing import Any

import pytest

from shared.cli.show.relations import company_words, owner_words, possible_parents
from shared.config.sync_toml import OwnerPolicy
from shared.sync.links import LOOKUP_TABLE, NOBODY, Rules, User

USER, ADMIN, FIXED, TEAM, ACCOUNT, ABOVE = (f"{number}e6d9f40-1c52-ef11-a316-000d3a5b7c8d" for number in range(6))
GOOD = User(has_mail=True)


def points(column: str, table: str, id_: str) -> dict[str, Any]:
    return {column: id_, column + LOOKUP_TABLE: table}


def owned(table: str, id_: str) -> dict[str, Any]:
    return points("_ownerid_value", table, id_)


def rules(policy: OwnerPolicy | None = None, **known: Any) -> Rules:
    return Rules(policy or OwnerPolicy(), "Stakeholder", **known)


OWNERS: dict[str, tuple[Rules, dict[str, Any], str | None, str]] = {
    "none": (rules(), {}, None, "no owner"),
    "a user": (rules(users={USER: GOOD}), owned("systemuser", USER), USER, "the row's owner"),
    "a user who is gone": (rules(users={USER: None}), owned("systemuser", USER), None, "cannot be read"),
    "a disabled user": (
        rules(users={USER: User(has_mail=True, disabled=True)}), owned("systemuser", USER), None, "is disabled",
    ),
    "a user without mail": (
        rules(users={USER: User(has_mail=False)}), owned("systemuser", USER), None, "has no e-mail address",
    ),
    "a disabled user, and a fixed one": (
        rules(OwnerPolicy(unusable_user="fixed", fixed=FIXED), users={USER: User(has_mail=True, disabled=True)}),
        owned("systemuser", USER), FIXED, "is disabled; the fixed user",
    ),
    "a team": (
        rules(administrators={TEAM: ADMIN}, users={ADMIN: GOOD}), owned("team", TEAM), ADMIN, "its administrator",
    ),
    "a team of a disabled user": (
        rules(administrators={TEAM: ADMIN}, users={ADMIN: User(has_mail=True, disabled=True)}),
        owned("team", TEAM), None, "is disabled",
    ),
    "a team of a user who never signs in": (
        rules(administrators={TEAM: ADMIN}, users={ADMIN: User(has_mail=True, interactive=False)}),
        owned("team", TEAM), None, "never signs in",
    ),
    "a team without administrator": (
        rules(administrators={TEAM: NOBODY}), owned("team", TEAM), None, "no administrator",
    ),
    "a team that cannot be seen": (
        rules(administrators={TEAM: None}), owned("team", TEAM), None, "cannot be read",
    ),
    "a team, and a fixed user": (
        rules(OwnerPolicy(team="fixed", fixed=FIXED)), owned("team", TEAM), FIXED, "the fixed user",
    ),
    "a team that stands for nobody": (
        rules(OwnerPolicy(team="none")), owned("team", TEAM), None, 'team = "none"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OWNERS)
def test_the_words_for_an_owner_fit_whom_the_engine_takes(name: str) -> None:
    given, row, taken, words = OWNERS[name]
    chosen = given.sales_person(row)
    assert (chosen.id if chosen else None) == taken
    said = owner_words(given, row, "North")
    assert words in said
    assert ("North" in said) == name.startswith("a team")


def test_the_words_for_a_company() -> None:
    chain = rules(contact_parents={ABOVE: ("account", ACCOUNT)})
    parent = "_parentcustomerid_value"
    assert company_words(rules(), "contact", {}) == "the row has no account"
    assert company_words(rules(), "contact", points(parent, "account", ACCOUNT)) == "the row's account"
    assert company_words(rules(), "lead", points("_parentaccountid_value", "account", ACCOUNT)) == "the row's account"
    assert ABOVE in company_words(chain, "contact", points(parent, "contact", ABOVE))
    assert "has no account" in company_words(rules(), "contact", points(parent, "contact", ABOVE))
    of_contact = points("_customerid_value", "contact", ABOVE)
    assert ABOVE in company_words(chain, "opportunity", of_contact)
    beside = of_contact | points("_parentaccountid_value", "account", ACCOUNT)
    assert company_words(rules(), "opportunity", beside) == "the row's account"


def test_a_person_may_be_parked_under_whom_another_policy_would_give() -> None:
    row = owned("systemuser", USER) | points("_parentcustomerid_value", "account", ACCOUNT)
    given = rules(OwnerPolicy(unusable_user="fixed", fixed=FIXED), users={USER: User(has_mail=True, disabled=True)})
    found = possible_parents(given, "contact", row)
    assert [(parent.entity, parent.id) for parent in found] == [
        ("sales_person", FIXED), ("sales_person", USER), ("company", ACCOUNT),
    ]  # fmt: skip
    team = rules(administrators={TEAM: ADMIN}, users={ADMIN: GOOD})
    assert [parent.id for parent in possible_parents(team, "contact", owned("team", TEAM))] == [ADMIN]
