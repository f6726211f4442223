"""The order in which files are begun when several run at once: the longest first, so that none is left over."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONGEST = (
    *("test_stack", "test_functions_host_servicebus_failures", "test_functions_host_servicebus", "test_core_store"),
    *("test_functions_host_end", "test_servicebus_sdk", "test_register_command", "test_sign_in_dataverse"),
    *("test_register_rows", "test_core_bus", "test_servicebus_sessions", "test_show_peek", "test_fields_command_sides"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the others stay in their order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)) if HERE in item.path.parents else len(LONGEST))
