"""The proof: Marketo read back against the expectations, and each absent row found where it is kept."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from local.demo.script import Script
from local.demo.watch import Letter, Waiting
from local.world.compare import Report
from local.world.expectations import KEPT, Absent, Expectations
from local.world.model import MARKETO_OBJECTS
from local.world.relations import Reason

NOTHING_TO_KEEP = "nowhere (nothing to do)"
_NOTES = {
    Reason.WAITS: "table parked, till the parent comes or 24 h pass (then dead-letters, ParentMissing)",
    Reason.REFUSED: "queue dead-letters",
    Reason.UNASKED: "Dynamics; its next change brings it",
}


@dataclass(frozen=True, slots=True)
class AbsenceLine:
    """One line of the table of what is not in Marketo. `found` of `expected` are where they are kept."""

    reason: str
    expected: int
    found: int
    example: str
    kept: str


@dataclass
class Proof:
    """The verdict on a run. `problems` are the differences beside those of the report."""

    report: Report
    absences: list[AbsenceLine] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is right, and everything absent is absent for its expected reason."""
        return self.report.ok and not self.problems

    def differences(self) -> Iterator[str]:
        """A line for each thing that is not as it must be."""
        yield from self.report.differences()
        yield from self.problems


def prove(
    expectations: Expectations,
    script: Script,
    report: Report,
    *,
    letters: Sequence[Letter],
    parked: Sequence[Waiting],
    stored: Mapping[str, int],
    statuses: Mapping[int, int],
) -> Proof:
    """Judge a run. `stored` is how many records Marketo itself counts, `statuses` how the webhook answered."""
    proof = Proof(report)
    refused = _check_refused(expectations, letters, proof.problems)
    waiting = _check_waiting(expectations, parked, proof.problems)
    malformed = _check_malformed(script, letters, proof.problems)
    _check_totals(report, stored, proof.problems)
    if statuses != {202: len(script.webhooks), 400: 1, 401: 1}:
        proof.problems.append(f"the webhook answered {dict(statuses)}")
    found = {Reason.REFUSED: refused, Reason.WAITS: waiting}
    for reason, count in expectations.reasons().most_common():
        example = _shown(expectations.absent_for(reason)[-1])
        kept = _NOTES.get(reason, NOTHING_TO_KEEP)
        proof.absences.append(AbsenceLine(str(reason), count, found.get(reason, count), example, kept))
    proof.absences += malformed
    return proof


def _shown(absent: Absent) -> str:
    """A row, with the code of its refusal or the beginnings of its parents' ids."""
    parents = ", ".join(f"{entity} {key[:8]}…" for entity, key in sorted(absent.parents))
    detail = parents or absent.detail
    return " ".join(absent.source) + (f" ({detail})" if detail else "")


def _check_refused(expectations: Expectations, letters: Sequence[Letter], problems: list[str]) -> int:
    """Each refused row has a dead letter with Marketo's code (one for each try), and no other row has one."""
    expected = {absent.source: absent.detail for absent in expectations.absent_for(Reason.REFUSED)}
    codes: dict[Any, set[str]] = {}
    for letter in letters:
        if letter.source is None:
            continue
        codes.setdefault(letter.source, set()).add(letter.code)
        if letter.source not in expected:
            problems.append(f"dead letter {letter.code} of {' '.join(letter.source)}: {letter.message}")
    for source, code in expected.items():
        if codes.get(source) != {code}:
            problems.append(f"{' '.join(source)} must have a dead letter {code}, has {codes.get(source) or 'none'}")
    return sum(codes.get(source) == {code} for source, code in expected.items())


def _check_waiting(expectations: Expectations, parked: Sequence[Waiting], problems: list[str]) -> int:
    """Each waiting row, and each whose link comes later, is parked under a parent of its own, and no other row is."""
    waits = {absent.source: absent.parents for absent in expectations.absent_for(Reason.WAITS)}
    expected = {**waits, **expectations.linked_later}
    right = set()
    for waiting in parked:
        if waiting.parent in expected.get(waiting.source, frozenset()):
            right.add(waiting.source)
        else:
            problems.append(f"{' '.join(waiting.source)} is parked under {' '.join(waiting.parent)}")
    problems += [f"{' '.join(source)} must be parked, and is not" for source in expected if source not in right]
    return len(right & waits.keys())


def _check_malformed(script: Script, letters: Sequence[Letter], problems: list[str]) -> list[AbsenceLine]:
    """Each malformed notification has become one dead letter with its code."""
    found = Counter(letter.code for letter in letters if letter.source is None)
    if found != script.refusals:
        problems.append(f"malformed notifications: dead letters {dict(found)}, expected {dict(script.refusals)}")
    texts = {letter.code: shorten(letter.message, 90, placeholder=" …") for letter in letters if letter.source is None}
    return [
        AbsenceLine(f"notification: {code}", count, found[code], texts.get(code, ""), KEPT[Reason.REFUSED])
        for code, count in sorted(script.refusals.items())
    ]


def _check_totals(report: Report, stored: Mapping[str, int], problems: list[str]) -> None:
    """What was read back is all there is: a record under a key that nobody thought of would show here."""
    for entity, found in report.entities.items():
        if stored[entity] != found.found:
            problems.append(
                f"Marketo holds {stored[entity]} {MARKETO_OBJECTS[entity]}, only {found.found} have a known key"
            )
