"""What tests of the Marketo simulator ask it, and how they read what it answers."""

from typing import Any

from emulators.marketo.harness import Marketo


async def records(marketo: Marketo, name: str = "leads") -> list[dict[str, Any]]:
    """Return the records of an object, as they are stored."""
    found: list[dict[str, Any]] = (await marketo.control.get(f"/records/{name}")).json()
    return found


async def seed(marketo: Marketo, name: str, *new: dict[str, Any]) -> list[Any]:
    """Put records into the store, and return their ids."""
    answer = await marketo.control.post("/seed", json={name: list(new)})
    return list(answer.raise_for_status().json()[name])


def code(answer: dict[str, Any]) -> str:
    """Return the response-level code; empty where a call went well."""
    return "" if answer["success"] else str(answer["errors"][0]["code"])


def outcomes(answer: dict[str, Any]) -> list[str]:
    """Return the status of each record or the code for which it was skipped; or the response-level code alone."""
    return [_outcome(entry) for entry in answer["result"]] if answer["success"] else [code(answer)]


def _outcome(entry: dict[str, Any]) -> str:
    has_id = "id" in entry or "marketoGUID" in entry
    is_skipped = entry["status"] == "skipped"
    assert ("reasons" in entry) is is_skipped is not has_id
    return str(entry["reasons"][0]["code"] if is_skipped else entry["status"])
