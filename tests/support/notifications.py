"""Notifications as Dataverse sends them: the samples of tests/unit/data/notifications, and what their rows are."""

import json
from typing import Any

from shared.dataverse.notifications import Notification, parse
from tests.support.values import ROOT

DATA = ROOT / "tests" / "unit" / "data" / "notifications"

ACCOUNT = "7a14b3c2-1a52-ef11-a316-000d3a5b7c8d"
CONTACT = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
LEAD = "4c8e7d15-2052-ef11-a316-000d3a5b7c8d"
USER = "9b7e41d2-904d-ee11-be6f-000d3a4f1b2c"
NOBODY = "00000000-0000-0000-0000-000000000000"

Body = dict[str, Any]


def sample(name: str) -> bytes:
    """Return the body of a kind of notification."""
    return (DATA / f"{name}.json").read_bytes()


def loaded(name: str) -> Body:
    """Return the same body as JSON."""
    body: Body = json.loads(sample(name))
    return body


def parsed(body: Body) -> Notification:
    """Return what the app makes of a body."""
    return parse(json.dumps(body).encode())


def parameter(body: Body, name: str, section: str = "InputParameters") -> Any:
    """Return the value of a parameter."""
    return next(pair["value"] for pair in body[section] if pair["key"] == name)
