"""Whatever stands in sync.toml, it loads or is refused with a list of problems; nothing else comes out."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import sync_toml
from shared.config.sync_toml import FieldRule, OwnerPolicy, SyncConfig, TableConfig
from shared.model.entities import TABLES
from shared.model.errors import ConfigurationError

WORDS = [
    *SyncConfig.model_fields, *TABLES, *OwnerPolicy.model_fields, *TableConfig.model_fields, *FieldRule.model_fields,
    "column", "person", "externalPersonId", "Email", "email", "priority", "First Name", "", "new_x", "_ownerid_value",
    "ownerid", "clear", "fixed", "label", "is", "present", "9b7e41d2-904d-ee11-be6f-000d3a4f1b2c", "{}", "%s", "é",
]  # fmt: skip
words = st.sampled_from(WORDS)
values = st.recursive(
    st.one_of(words, st.booleans(), st.integers(-2, 2000), st.sampled_from([0.5, float("inf")])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return "inf" if value == float("inf") else json.dumps(value)


def refusal(path: Path) -> list[str]:
    try:
        sync_toml.load(path)
    except ConfigurationError as error:
        return error.message.splitlines()
    return []


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties") / "sync.toml"


@given(given_file=st.dictionaries(words, values, max_size=5))
def test_any_toml_loads_or_is_refused_line_by_line(path: Path, given_file: dict[str, Any]) -> None:
    path.write_text("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in given_file.items()))
    for line in refusal(path):
        assert line.startswith(f"{path}: ")
        assert len(line) > len(f"{path}: ") + 10


@given(content=st.one_of(st.binary(max_size=60), st.text("[]{}=\"'#.,\n\r a1é", max_size=60).map(str.encode)))
def test_any_bytes_load_or_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert all(line.startswith(f"{path}: ") for line in refusal(path)[:1])
