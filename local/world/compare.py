"""Marketo's records against the expected ones: what is right, wrong, missing, unexpected or there twice."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.world.expectations import Expectations, Expected, Key

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A record whose fields differ: field -> (expected, found)."""

    key: Key
    differences: dict[str, tuple[Any, Any]]


@dataclass
class EntityReport:
    """The comparison of one entity. `found` counts Marketo's records, duplicates and unexpected ones included."""

    entity: str
    expected: int = 0
    found: int = 0
    right: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    missing: list[Key] = field(default_factory=list)
    unexpected: list[Key] = field(default_factory=list)
    duplicates: list[Key] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether Marketo holds exactly what it must."""
        return not (self.wrong or self.missing or self.unexpected or self.duplicates)

    def differences(self) -> Iterator[str]:
        """A line for each thing that is not as it must be."""
        for key in self.missing:
            yield f"{self.entity} {_shown(key)} is missing"
        for wrong in self.wrong:
            for name, (expected, found) in wrong.differences.items():
                yield f"{self.entity} {_shown(wrong.key)}: {name} is {found!r}, expected {_allowed(expected)}"
        for key in self.unexpected:
            yield f"{self.entity} {_shown(key)} must not be there"
        for key in self.duplicates:
            yield f"{self.entity} {_shown(key)} is there more than once"


@dataclass
class Report:
    """The comparison of everything, by entity."""

    entities: dict[str, EntityReport] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every entity is as it must be."""
        return all(entity.ok for entity in self.entities.values())

    def differences(self) -> Iterator[str]:
        """A line for each thing that is not as it must be."""
        for entity in self.entities.values():
            yield from entity.differences()


def compare(expectations: Expectations, records: Mapping[str, Iterable[tuple[Key, Fields]]]) -> Report:
    """Compare Marketo's records, by entity and with their keys, with the expected ones.

    A field that is missing and one that is null are the same.
    """
    return Report(
        {
            entity: _compare_entity(entity, expected, records.get(entity, ()))
            for entity, expected in expectations.records.items()
        }
    )


def _compare_entity(
    entity: str, expected: Mapping[Key, Expected], records: Iterable[tuple[Key, Fields]]
) -> EntityReport:
    report = EntityReport(entity, expected=len(expected))
    seen: set[Key] = set()
    for key, fields in records:
        report.found += 1
        if key in seen:
            report.duplicates.append(key)
        elif key not in expected:
            report.unexpected.append(key)
        else:
            differences = _differences(expected[key].fields, fields)
            if differences:
                report.wrong.append(Wrong(key, differences))
            else:
                report.right += 1
        seen.add(key)
    report.missing = [key for key in expected if key not in seen]
    return report


def _differences(expected: Fields, found: Fields) -> dict[str, tuple[Any, Any]]:
    return {name: (value, found.get(name)) for name, value in expected.items() if not _is_right(value, found.get(name))}


def _is_right(expected: Any, found: Any) -> bool:
    if isinstance(expected, frozenset):
        return found in expected
    # True equals 1 in Python, not in Marketo.
    return bool(expected == found) and isinstance(expected, bool) == isinstance(found, bool)


def _shown(key: Key) -> str:
    return key if isinstance(key, str) else " + ".join(key)


def _allowed(expected: Any) -> str:
    return " or ".join(map(repr, sorted(expected))) if isinstance(expected, frozenset) else repr(expected)
