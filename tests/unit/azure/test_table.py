"""How the SDK of Table Storage is to make its requests."""

import os

import pytest

from shared.azure.table import http_settings


@pytest.mark.parametrize(
    ("variables", "looks_for_proxies"),
    [
        ({}, False),
        ({"NO_PROXY": "127.0.0.1"}, False),
        ({"HTTPS_PROXY": "http://proxy.contoso.example:8080"}, True),
        ({"http_proxy": "http://proxy.contoso.example:8080"}, True),
    ],
)
def test_it_looks_for_a_proxy_at_each_request_only_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], looks_for_proxies: bool
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert http_settings().get("use_env_settings", True) is looks_for_proxies
