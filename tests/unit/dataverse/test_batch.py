"""`$batch` bodies: what is sent is what Microsoft documents, and every answer is found in whatever is sent back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.dataverse.batch import parse
from emulators.dataverse.messages import ApiRequest
from shared.dataverse.batch import CONTENT_TYPE, Part, decode, encode

statuses = st.sampled_from([200, 204, 400, 403, 404, 412, 429, 500, 503])
bodies = st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), max_size=3)


def answer(parts: list[tuple[int, dict[str, Any] | None]], end: str) -> bytes:
    lines: list[str] = []
    for number, (status, body) in enumerate(parts):
        lines += ["--batchresponse_1", "Content-Type: application/http", "Content-Transfer-Encoding: binary", ""]
        lines += [f"HTTP/1.1 {status} Whatever", f"Retry-After: {number}", "OData-Version: 4.0", ""]
        lines += [json.dumps(body) if body is not None else "", ""]
    return end.join([*lines, "--batchresponse_1--", ""]).encode()


@given(st.lists(st.tuples(statuses, bodies), max_size=20), st.sampled_from(["\r\n", "\n"]))
def test_each_part_has_its_status_headers_and_body(parts: list[tuple[int, dict[str, Any] | None]], end: str) -> None:
    found = decode("multipart/mixed; boundary=batchresponse_1", answer(parts, end))
    assert [one.status for one in found] == [status for status, _ in parts]
    assert [one.headers["retry-after"] for one in found] == [str(n) for n in range(len(parts))]
    assert [json.loads(one.content) if one.content else None for one in found] == [body for _, body in parts]


@given(st.lists(st.builds(Part, st.sampled_from(["GET", "PATCH"]), st.just("/api/data/v9.2/leads(1)?tag=t"), bodies)))
def test_a_server_finds_the_requests_that_were_put_in(parts: list[Part]) -> None:
    found = parse(ApiRequest("POST", "/api/data/v9.2/$batch", {"content-type": CONTENT_TYPE}, encode(parts)))
    requests = [item for item in found if isinstance(item, ApiRequest)]
    assert [(one.method, one.target) for one in requests] == [(part.method, part.url) for part in parts]
    assert [json.loads(one.body) if one.body else None for one in requests] == [
        dict(part.body) if part.body is not None else None for part in parts
    ]


def test_a_write_never_creates_a_row() -> None:
    text = encode([Part("PATCH", "/x", {"a": 1}), Part("GET", "/y")]).decode()
    assert text.count("If-Match: *") == 1
    assert "\n" not in text.replace("\r\n", "")


@given(st.binary(max_size=200))
def test_what_is_no_answer_of_a_batch_is_said(body: bytes) -> None:
    try:
        decode("multipart/mixed; boundary=b", body)
    except ValueError:
        return
    assert b"--b--" in body


@pytest.mark.parametrize("kind", ["application/json", "multipart/mixed"])
def test_without_a_boundary_nothing_is_guessed(kind: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        decode(kind, b"")
