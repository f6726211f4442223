"""What dev.py proposes can be pasted where it was started: in the checkout, or elsewhere."""

import shlex
from pathlib import Path

import pytest

from local import now_try
from local.now_try import ROOT
from local.rows import body_of


@pytest.mark.parametrize(("folder", "prefix"), [(ROOT, ""), (ROOT.parent, f"{ROOT.name}/"), (Path("/"), None)])
def test_paths_are_as_one_types_them_there(folder: Path, prefix: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(folder))
    typed = str(ROOT.relative_to("/")) + "/" if prefix is None else prefix
    lines = [shlex.split(line) for line in now_try.after_start(ROOT / ".local")][1:]
    assert lines[0][:4] == ["python3", f"{typed}dev.py", "stack", "write"]
    for line in lines[1:]:
        assert f"{typed}.local/local.settings.json" in line
    assert all((folder / word).exists() for line in lines for word in line if word.endswith("dev.py"))


def test_columns_are_text_json_or_a_row() -> None:
    row = "/accounts(2e6d9f40-1c52-ef11-a316-000d3a5b7c8d)"
    words = ["telephone1=123", "creditlimit:=1000", "donotemail:=true", f"parentcustomerid_account={row}", "x=a=b"]
    assert body_of(words) == {
        "telephone1": "123", "creditlimit": 1000, "donotemail": True, "parentcustomerid_account@odata.bind": row,
        "x": "a=b",
    }  # fmt: skip
