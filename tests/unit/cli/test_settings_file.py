"""local.settings.json as the Functions tools read it, and references to a Key Vault that nobody resolved."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cli.settings_file import read_settings_file
from shared.config import settings
from shared.model.errors import ConfigurationError
from tests.support.settings import ENVIRONMENT
from tests.unit.config.test_settings_sign_in import refused

ODD = """// of the team
{
  /* two
     lines */
  "isEncrypted": false, 'Host': {"CORS": "*",},
  "values": {
    "URL": "https://x.example/a", // after a value
    "TEXT": "no // comment, /* nor this */ ,}",
    'SINGLE': 'it\\'s "so"',
    "NUMBER": 5, "NOTHING": null,
    "// OFF": "x",
  },
}
"""
EXPECTED = {
    "URL": "https://x.example/a", "TEXT": "no // comment, /* nor this */ ,}", "SINGLE": 'it\'s "so"', "NUMBER": "5",
}  # fmt: skip


def read(path: Path, content: bytes) -> dict[str, str]:
    path.write_bytes(content)
    return read_settings_file(path, required=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_the_functions_tools_take_is_taken(tmp_path: Path, encoding: str, ends: str) -> None:
    assert read(tmp_path / "s.json", ODD.replace("\n", ends).encode(encoding)) == EXPECTED


@given(st.dictionaries(st.text(min_size=1).filter(lambda n: not n.startswith("//")), st.text()))
def test_plain_json_is_read_as_it_is(tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.json"
    content = json.dumps({"IsEncrypted": False, "Values": values}).encode()
    assert read(path, content) == values
    text = json.dumps({"Values": values}, ensure_ascii=False).replace("}}", ",}/*}*/,}//{").encode("utf-16", "replace")
    if not any("}}" in each or each.encode(errors="replace").decode() != each for each in [*values, *values.values()]):
        assert read(path, text if values else content) == values


@pytest.mark.parametrize("encrypted", [True, "true", "True"])
def test_an_encrypted_file_is_named_with_the_remedy(tmp_path: Path, encrypted: object) -> None:
    content = json.dumps({"IsEncrypted": encrypted, "Values": {"MARKETO_CLIENT_SECRET": "CfDJ8s3cret"}}).encode()
    with pytest.raises(ConfigurationError, match="func settings decrypt") as refusal:
        read(tmp_path / "s.json", content)
    assert refusal.value.code == "EncryptedSettings"
    assert "CfDJ8" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"Values": {\n  "A": "x" "B": "s3cret"}}', "is no JSON: Expecting ',' delimiter at line 2, column 12"),
        (b'// a\n/* b\n*/ {"Values": {"A" "s3cret"}}', "at line 3, column 20"),
        (b'{"Values": {"A": {"B": "s3cret"}}}', "A must be text, not an object or a list"),
        ('{"Values": {"A": "s3cretä"}}'.encode("latin-1"), "its encoding is not Unicode"),
        (b"[" * 100_000, "RecursionError"),
        (b"", "is no JSON"),
        (b"null", 'JSON with "Values"'),
        (b"{}", 'an object named "Values" is expected'),
        (b'{"Values": ["s3cret"]}', 'an object named "Values" is expected'),
    ],
)
def test_a_file_that_cannot_be_used_is_told_without_what_is_in_it(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read(tmp_path / "s.json", content)
    assert told in refusal.value.message
    assert "s3cret" not in refusal.value.message


REFERENCE = "@Microsoft.KeyVault(SecretUri=https://kv-x.vault.azure.net/secrets/s3cret-name)"


def told_of(name: str) -> list[str]:
    return [f"app settings: {name}: is a Key Vault reference that Azure did not resolve"]


@pytest.mark.parametrize(
    "name",
    [
        *("DATAVERSE_URL", "DATAVERSE_CLIENT_SECRET", "DATAVERSE_CLIENT_CERTIFICATE", "DATAVERSE_PASSWORD"),
        *("DATAVERSE_CLIENT_CERTIFICATE_PASSWORD", "MARKETO_URL", "MARKETO_CLIENT_ID", "MARKETO_CLIENT_SECRET"),
        *("ServiceBusConnection", "AzureWebJobsStorage", "CHANGES_SEND_CONNECTION", "PERSON_QUEUE", "WEBHOOK_KEY"),
        "MAX_ATTEMPTS",
    ],
)
def test_a_reference_that_azure_did_not_resolve_is_told_once_and_never_used(name: str) -> None:
    assert refused(**{name: REFERENCE}) == told_of(name)


@pytest.mark.parametrize(
    "value",
    [
        " @microsoft.keyvault(VaultName=v;SecretName=s3cret)",
        "@Microsoft.AppConfiguration(E=x)",
        f'"{REFERENCE}"',
        f"\u200b{REFERENCE}",
        "@Microsoft.KeyVault SecretUri=https://v.vault.azure.net/secrets/s3cret/",
    ],
)
def test_references_are_known_in_every_spelling(value: str) -> None:
    for name in ("DATAVERSE_PASSWORD", "MARKETO_URL"):
        assert refused(**{name: value}) == told_of(name)


def test_all_of_them_are_told_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        settings.load(
            ENVIRONMENT | {"MARKETO_CLIENT_SECRET": REFERENCE, "DATAVERSE_PASSWORD": REFERENCE, "MAX_ATTEMPTS": "x"}
        )
    *lines, remedy = refusal.value.message.splitlines()
    assert len(lines) == 3
    assert "python3 infra/operate.py secrets" in remedy
    assert "docs/troubleshooting.md#key-vault" in remedy


def test_what_is_none_of_ours_is_left_alone() -> None:
    assert settings.load(ENVIRONMENT | {"SOMEBODY_ELSES": REFERENCE, "X": "a @Microsoft.KeyVault(x)"})


def test_every_setting_is_looked_at() -> None:
    from shared.config import normalisers  # noqa: PLC0415

    names = [str(f.alias) for group in settings._GROUPS.values() for f in group.model_fields.values()]
    assert normalisers.unresolved(dict.fromkeys(names, REFERENCE)) == names
