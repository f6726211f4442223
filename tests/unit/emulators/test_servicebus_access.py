"""Who may do what: shared access signatures; and what a queue file may say."""

import json
from pathlib import Path

import pytest
from azure.servicebus._pyamqp.utils import generate_sas_token

from emulators.servicebus.deadlines import Deadlines
from emulators.servicebus.errors import Unauthorized
from emulators.servicebus.sas import POLICIES, ROOT_POLICY, Claim, Policy, check_token, policy_of
from emulators.servicebus.settings import QueueStatus, load_queues, queue_of

NOW = 1_000_000.0
KEY = "b3JkZXJzLXNlbmQta2V5"


def token(policy: str, *, audience: str = "sb://127.0.0.1/persons", key: str | None = None, lives: int = 60) -> str:
    key = key or POLICIES[policy].key
    return str(generate_sas_token(audience, policy, key, int(NOW) + lives))  # type: ignore[no-untyped-call]  # SDK's


def test_the_root_policy_may_do_everything_on_what_its_token_was_made_for() -> None:
    grant = check_token(token(ROOT_POLICY), lambda: NOW)
    for claim in Claim:
        assert grant.allows(claim, "persons", NOW)
        assert grant.allows(claim, "persons/$deadletterqueue", NOW)
        assert not grant.allows(claim, "persons-other", NOW)


def test_a_token_for_the_namespace_covers_every_queue() -> None:
    grant = check_token(token(ROOT_POLICY, audience="https://127.0.0.1:5672"), lambda: NOW)
    assert grant.allows(Claim.MANAGE, "persons", NOW)


def test_a_policy_of_one_queue_gives_its_claims_there_and_nothing_elsewhere() -> None:
    policies = dict([policy_of(f"OrdersSend:{KEY}:Send:Orders")])
    grant = check_token(token("OrdersSend", audience="sb://127.0.0.1/orders", key=KEY), lambda: NOW, policies)
    assert grant.allows(Claim.SEND, "orders", NOW)
    assert not grant.allows(Claim.LISTEN, "orders", NOW)
    with pytest.raises(Unauthorized):
        check_token(token("OrdersSend", key=KEY), lambda: NOW, policies)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        (f"P:{KEY}:Send", Claim.SEND),
        (f"P:{KEY}:Send,Listen", Claim.SEND | Claim.LISTEN),
        (f"P:{KEY}:Manage", Claim.SEND | Claim.LISTEN | Claim.MANAGE),
    ],
)
def test_a_policy_is_named_with_its_key_and_claims(text: str, claims: Claim) -> None:
    assert policy_of(text) == ("P", Policy(KEY, claims))


@pytest.mark.parametrize("text", ["", "P", "P:key", "P:key:", "P:key:Sing", "P:key:send", ":key:Send", "P:k:Send:q:r"])
def test_a_policy_that_is_named_wrong_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAME:KEY:CLAIM"):
        policy_of(text)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (token("Nobody", key="some-key"), "InvalidSignature"),
        (token(ROOT_POLICY, key="wrong-key"), "InvalidSignature"),
        (token(ROOT_POLICY, lives=0), "ExpiredToken"),
        (token(ROOT_POLICY).replace("persons", "companies"), "InvalidSignature"),
        ("SharedAccessSignature sr=x", "MalformedToken"),
        ("Bearer abc", "MalformedToken"),
        ("", "MalformedToken"),
    ],
)
def test_a_wrong_token_is_refused_and_the_answer_says_why(bad: str, why: str) -> None:
    with pytest.raises(Unauthorized, match=why):
        check_token(bad, lambda: NOW)


def test_a_grant_ends_with_its_token() -> None:
    assert not check_token(token(ROOT_POLICY, lives=60), lambda: NOW).allows(Claim.SEND, "persons", NOW + 60)


def test_a_queue_file_has_every_setting_of_a_queue(tmp_path: Path) -> None:
    file = tmp_path / "queues.json"
    file.write_text(json.dumps([{"name": "q", "sessions": True, "lock_seconds": 1.5, "status": "SendDisabled"}]))
    (queue,) = load_queues(file)
    assert (queue.sessions, queue.lock_seconds, queue.status) == (True, 1.5, QueueStatus.SEND_DISABLED)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "q", "lock": 5}], "unknown fields"),
        ([{"sessions": True}], "known are"),
        ([{"name": "q", "lock_seconds": 301}], "at most 300"),
        ([{"name": "q", "max_delivery_count": 0}, {"name": "p"}], "1 to 2000"),
        ([{"name": "q"}, {"name": "Q"}], "same name"),
    ],
)
def test_a_wrong_queue_file_is_refused_with_the_reason(tmp_path: Path, entries: object, message: str) -> None:
    file = tmp_path / "queues.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message):
        load_queues(file)


def test_a_queue_on_the_command_line_may_have_sessions() -> None:
    assert [(queue.name, queue.sessions) for queue in map(queue_of, ("orders", "stock:sessions"))] == [
        ("orders", False),
        ("stock", True),
    ]
    for wrong in ("orders:session", ":sessions", ""):
        with pytest.raises(ValueError, match="queue"):
            queue_of(wrong)


def test_changed_deadlines_do_not_pile_up() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for number in range(10_000):
        deadlines.set(number % 10, float(number))
    assert len(deadlines) == 10
    assert len(deadlines._heap) < 200
