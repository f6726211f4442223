"""Whatever the bytes are, the parser gives a Notification or a NotificationError, and both can be relied on."""

import json
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.dataverse.notifications import Notification, parse
from shared.model.errors import NotificationError
from tests.support.notifications import DATA

SAMPLES = sorted(DATA.glob("*.json"))
BODIES = [path.read_text("utf-8") for path in SAMPLES]
CODES = {"WrongFormat", "NotJson", "NotAnObject", "NoRoutingTriple", "BadGuid", "NoRow"}
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Stands in the samples or in what the mutations put there; no refusal may quote it.
PERSONAL = ("connor", "nordlys", "example.com", "jon vik", "+46", "private")
MUTATIONS = 5
QUIET = settings(
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# Markers in the tree, replaced in the text by what json.dumps cannot write.
DEEP, LONG = "@deep@", "@long@"
JUNK: list[Any] = [
    *(None, True, 0, -1, 1e308, float("nan"), float("inf"), 2**70, DEEP, LONG),
    *("", " ", "none", "\ud800", "\x00", "private", "PRIVATE" * 100, "/Date(99999999999999999)/"),
    *([], {}, [[]], [None], [{}], {"key": "Target"}, [{"key": "Target", "value": None}], {"__value": []}),
    *({"Entities": None}, {"Entities": [None, 3]}, {"Id": "private", "LogicalName": "private"}),
    *("00000000-0000-0000-0000-000000000000", "{2E6D9F40-1C52-EF11-A316-000D3A5B7C8D}", {"LogicalName": "contact"}),
    *("Update", "Delete", "Merge", "Associate", "CreateMultiple", "WinOpportunity", "private_Custom"),
]


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree, outermost first: small draws hit what matters."""
    found: list[tuple[Any, Any]] = []
    level = [tree]
    while level:
        here = [(c, key) for c in level for key in (c if isinstance(c, dict) else range(len(c)))]
        found += here
        level = [c[key] for c, key in here if isinstance(c[key], dict | list)]
    return found


def mutate(tree: Any, where: int, how: str, junk: Any) -> None:
    """Change one place of the tree in place."""
    everywhere = places(tree)
    if not everywhere:
        return
    container, key = everywhere[where % len(everywhere)]
    value = container[key]
    if how == "drop":
        del container[key]
    elif how == "replace":
        container[key] = junk
    elif how == "retype":
        container[key] = json.dumps(value) if isinstance(value, dict | list) else [value]
    elif how == "nest":
        container[key] = {"key": "Target", "value": value}
    elif how == "graft":
        other, at = everywhere[(where * 31 + 7) % len(everywhere)]
        container[key] = json.loads(json.dumps(other[at]))
    elif isinstance(value, list):
        value.append(junk)
    elif isinstance(value, dict):
        value[str(junk)] = junk


def written(tree: Any) -> bytes:
    text = json.dumps(tree)
    return text.replace(f'"{DEEP}"', "[" * 20_000 + "]" * 20_000).replace(f'"{LONG}"', "9" * 5_000).encode()


def damaged(body: bytes, how: str, where: int) -> bytes:
    at = where % len(body)
    return {
        "whole": lambda: body,
        "cut": lambda: body[:at],
        "invalid": lambda: body[:at] + b"\xff\xfe" + body[at:],
        "flipped": lambda: body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :],
        "bom": lambda: b"\xef\xbb\xbf" + body,
        "utf-16": lambda: body.decode().encode("utf-16"),
        "listed": lambda: b"[" + body + b"]",
    }[how]()


def check(body: bytes, properties: dict[str, object] | None = None) -> Notification | NotificationError:
    """Parse, and check what every caller relies on."""
    found: Notification | NotificationError
    try:
        found = parse(body, properties=properties)
    except NotificationError as error:
        found = error
    if isinstance(found, NotificationError):
        assert found.code in CODES
        assert len(str(found)) < 400
        assert not [secret for secret in PERSONAL if secret in str(found).lower()]
        return found
    assert found.changes
    assert len(set(found.changes)) == len(found.changes)
    for change in found.changes:
        assert re.fullmatch(r"[a-z_][a-z0-9_]*", change.table)
        assert change.table != "none"
        assert GUID.fullmatch(change.id)
        assert change.operation == ("delete" if found.message.lower() in {"delete", "deletemultiple"} else "upsert")
    for fact in (found.organization_id, found.user_id, found.initiating_user_id, found.correlation_id or None):
        assert fact is None or GUID.fullmatch(fact)
    for text in (found.message, found.organization_name or "", found.tag or ""):
        text.encode()
    return found


MUTATION = st.tuples(
    st.integers(0, 400),
    st.sampled_from(["drop", "replace", "retype", "nest", "graft", "extend"]),
    st.sampled_from(JUNK),
)


# Each example is checked after every one of its mutations: 5 x 2,000 = 10,000 mutated notifications.
@settings(QUIET, max_examples=2_000)
@given(st.sampled_from(BODIES), st.lists(MUTATION, min_size=MUTATIONS, max_size=MUTATIONS))
def test_a_mutated_notification_is_understood_or_refused(body: str, mutations: list[tuple[int, str, Any]]) -> None:
    tree = json.loads(body)
    for where, how, junk in mutations:
        mutate(tree, where, how, json.loads(json.dumps(junk)))
        check(written(tree))


@settings(QUIET, max_examples=400)
@given(
    st.sampled_from(BODIES),
    st.sampled_from(["whole", "cut", "invalid", "flipped", "bom", "utf-16", "listed"]),
    st.integers(0, 20_000),
    st.dictionaries(
        st.sampled_from(["MessageMaxSizeExceeded", "x-ms-dynamics-msg-size-exceeded", "Other", ""]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    ),
)
def test_damaged_bytes_do_no_harm(body: str, how: str, where: int, properties: dict[str, object]) -> None:
    found = check(damaged(body.encode(), how, where), properties)
    if how in {"whole", "bom", "utf-16"}:
        assert isinstance(found, Notification)
    if how in {"cut", "listed"}:
        assert isinstance(found, NotificationError)


@settings(QUIET, max_examples=500)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_understood(body: bytes) -> None:
    check(body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(JUNK),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["Id", "LogicalName", "Entities", "Attributes", "key", "value", "__value"]), inner
        )
        | st.lists(
            st.fixed_dictionaries({"key": st.sampled_from(["Target", "Targets", "tag"]), "value": inner}), max_size=3
        )
    ),
    max_leaves=8,
)
CONTEXTS = st.fixed_dictionaries(
    {
        "MessageName": st.sampled_from(
            ["Create", "Update", "Delete", "Merge", "QualifyLead", "Associate", "CreateMultiple", "UpdateMultiple"]
        ),
        "PrimaryEntityName": st.sampled_from(["contact", "none", None]),
        "PrimaryEntityId": st.sampled_from(["2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", None]),
    },
    optional=dict.fromkeys(
        ["InputParameters", "OutputParameters", "SharedVariables", "ParentContext", "OrganizationId", "Depth"], VALUES
    ),
)


@settings(QUIET, max_examples=150)
@given(CONTEXTS)
def test_any_values_in_place_of_the_parameters_are_understood_or_refused(context: dict[str, Any]) -> None:
    check(written(context))
