"""Writing many rows: each has an outcome of its own."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dataverse.batch import Answer, Part
from shared.model.codes import Kind
from shared.model.errors import DataverseError
from shared.write_back.rows import MANY, Rows, Update
from tests.support.values import guid

outcomes = st.sampled_from([(204, ""), (404, "0x80040217"), (400, "0x80040265"), (403, "0x80048306"), (500, "0x1")])


class Mixed:
    """A Dataverse that refuses UpdateMultiple and answers each part of a batch as prepared."""

    def __init__(self, answers: dict[str, tuple[int, str]]) -> None:
        self.answers = answers

    async def update_many(self, *_: Any, **__: Any) -> None:
        raise DataverseError("0x80040265", "one of them", kind=Kind.PERMANENT)

    async def batch(self, parts: Sequence[Part], **_: Any) -> list[Answer]:
        found = []
        for part in parts:
            status, code = self.answers[part.url.partition("(")[2].partition(")")[0]]
            found.append(Answer(status, {}, json.dumps({"error": {"code": code, "message": code}}).encode()))
        return found


@given(st.lists(outcomes, min_size=1, max_size=120))
def test_every_row_of_a_mixed_answer_has_its_own_outcome(given_answers: list[tuple[int, str]]) -> None:
    answers = {guid(number): answer for number, answer in enumerate(given_answers)}
    dataverse: Any = Mixed(answers)

    rows = Rows(dataverse)
    updates = [Update("contact", id_, {"a": 1}) for id_ in answers]
    written = asyncio.run(rows.write(updates, 100.0))
    assert {u.id for u in written.done} == {id_ for id_, (status, _) in answers.items() if status == 204}
    assert {u.id for u in written.gone} == {id_ for id_, (status, _) in answers.items() if status == 404}
    assert {u.id: error.code for u, error in written.refused} == {
        id_: code if code != "0x1" else "0x00000001"
        for id_, (status, code) in answers.items()
        if status not in (204, 404)
    }


async def test_nothing_is_refused_for_the_sake_of_a_token() -> None:
    dataverse: Any = Mixed({guid(1): (401, "")})

    rows = Rows(dataverse)
    written = await rows.write([Update("contact", guid(1), {"a": 1})], 100.0)
    assert isinstance(written.error, DataverseError)
    assert (written.done, written.refused) == ([], [])


@pytest.mark.parametrize(("code", "is_general"), [("0x80040220", True), ("0x80044330", False), ("", False)])
async def test_only_a_code_that_says_so_is_of_the_whole_table(code: str, is_general: bool) -> None:
    dataverse: Any = Mixed({guid(number): (400, code) for number in (1, 2)})

    written = await Rows(dataverse).write([Update("contact", guid(number), {"a": 1}) for number in (1, 2)], 100.0)
    assert (written.error is not None, len(written.refused)) == ((True, 0) if is_general else (False, 2))


async def test_what_one_call_has_written_counts_though_another_finds_nobody() -> None:
    class Half:
        async def update_many(self, _table: str, _set: str, targets: Sequence[Mapping[str, Any]], **_: Any) -> None:
            if len(targets) < MANY:
                raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)

    dataverse: Any = Half()
    updates = [Update("contact", guid(number), {"a": 1}) for number in range(MANY + 1)]
    written = await Rows(dataverse).write(updates, 100.0)
    assert len(written.done) == MANY
    assert (written.refused, str(written.error)) == ([], "HTTP 503: away")
