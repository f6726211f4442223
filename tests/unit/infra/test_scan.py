"""What the policy scan sees: every module of infra/, as the resource that its parameters amount to."""

import json
from pathlib import Path

import pytest

from tools import bicep, scan


def test_every_module_is_written_out_or_has_nothing_that_a_policy_speaks_of() -> None:
    written = [resource["type"] for resource in scan.written_out()]
    verified = [call.source for call in bicep.calls() if not call.is_local]
    without = [source for source in verified if any(f"/{path}:" in source for path in scan.WITHOUT_POLICY)]
    assert len(written) == len(verified) - len(without) >= 7


def test_what_is_written_out_is_what_the_module_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "FOLDER", tmp_path)
    resources = json.loads((scan.tree() / "template.json").read_text())["resources"]
    (storage,) = (found for found in resources if found["type"] == "Microsoft.Storage/storageAccounts")
    assert storage["properties"]["allowSharedKeyAccess"] is False
    assert storage["properties"]["networkAcls"] == {"defaultAction": "Allow", "bypass": "AzureServices"}


def test_a_finding_without_a_reason_a_reason_without_a_finding_and_an_unread_file_are_told() -> None:
    every = {rule: ["x"] for rule in scan.SKIPPED}
    assert scan.verdict(every, []) == []
    assert scan.verdict({**every, "CKV_1": ["a.bicep s: rule"]}, ["b.bicep"]) == [
        "CKV_1: a.bicep s: rule",
        "b.bicep cannot be read",
    ]
    rule = next(iter(scan.SKIPPED))
    assert scan.verdict({name: where for name, where in every.items() if name != rule}, []) == [
        f"{rule} is skipped, and finds nothing any more"
    ]
