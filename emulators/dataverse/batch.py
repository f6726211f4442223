"""`$batch`: taking multipart bodies apart and putting the answers together."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from emulators.dataverse import errors
from emulators.dataverse.messages import ApiRequest, ApiResponse

LIMIT: Final = 1000
_BOUNDARY: Final = re.compile(r'^multipart/mixed\s*;\s*boundary="?(?P<boundary>[^";\s]+)"?', re.IGNORECASE)
_REFERENCE_PATH: Final = re.compile(r"(?<=/)\$(\d+)(?=$|[/?])")
_REFERENCE_VALUE: Final = re.compile(r'"\$(\d+)"')
_ENTITY_ID: Final = re.compile(r"/api/data/v9\.\d/(.+)$")
_REASONS: Final = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 412: "Precondition Failed"}

Item = ApiRequest | list[ApiRequest]  # a request, or the requests of a change set
RunOne = Callable[[ApiRequest], Awaitable[ApiResponse]]
RunTogether = Callable[[list[ApiRequest]], Awaitable[list[ApiResponse]]]


def parse(request: ApiRequest) -> list[Item]:
    """The operations of a batch. Raises ApiError when the body breaks the rules."""
    items: list[Item] = []
    for headers, content in _parts(request.headers.get("content-type", ""), request.body):
        content_type = headers.get("content-type", "")
        if _BOUNDARY.match(content_type):
            items.append([_operation(inner, body) for inner, body in _parts(content_type, content)])
        else:
            items.append(_operation(headers, content))
    size = sum(len(item) if isinstance(item, list) else 1 for item in items)
    if size > LIMIT:
        message = f"The batch contains {size} operations; the maximum is {LIMIT}."
        raise errors.ApiError(400, "0x80060888", message)
    for item in items:
        if isinstance(item, list) and any(part.method == "GET" for part in item):
            raise _malformed("A change set cannot contain GET requests.")
    return items


def _malformed(message: str) -> errors.ApiError:
    return errors.ApiError(400, "0x80060888", f"The batch request is malformed. {message}")


def _parts(content_type: str, body: bytes) -> list[tuple[Mapping[str, str], bytes]]:
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise _malformed("The content type has no boundary.")
    delimiter = b"--" + match["boundary"].encode()
    sections = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise _malformed("The body is not closed by its boundary, or its lines do not end in CRLF.")
    found = []
    for section in sections[1:-1]:
        head, blank, content = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not blank:
            raise _malformed("A part has no empty line after its headers.")
        found.append((_headers(head), content))
    return found


def _headers(head: bytes) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in head.decode(errors="replace").split("\r\n") if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _operation(part: Mapping[str, str], content: bytes) -> ApiRequest:
    if part.get("content-type", "").lower() != "application/http":
        raise _malformed("A part's content type is not application/http.")
    if part.get("content-transfer-encoding", "").lower() != "binary":
        raise _malformed("A part's transfer encoding is not binary.")
    head, _, body = content.partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    words = line.decode(errors="replace").split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        raise _malformed(f"'{line[:100]!r}' is not a request line.")
    headers = {**_headers(rest), "content-id": part.get("content-id", "")}
    return ApiRequest(words[0], _target(words[1]), headers, body.removesuffix(b"\r\n"))


def _target(address: str) -> str:
    if address.startswith(("http://", "https://")):
        split = urlsplit(address)
        return split.path + (f"?{split.query}" if split.query else "")
    return address if address.startswith("/") else f"/api/data/v9.2/{address}"


async def run(items: Sequence[Item], request: ApiRequest, run_one: RunOne, run_together: RunTogether) -> ApiResponse:
    """Run the operations in order; stop at the first failure unless the caller wants the rest too."""
    go_on = "odata.continue-on-error" in request.prefer
    boundary = f"batchresponse_{uuid4()}"
    written: list[bytes] = []
    failed = False
    for item in items:
        if isinstance(item, list):
            responses = await run_together(item)
            item_failed = any(response.status >= 400 for response in responses)
            written.append(_single(responses[0], "") if item_failed else _change_set(item, responses))
        else:
            response = await run_one(item)
            item_failed = response.status >= 400
            written.append(_single(response, item.headers["content-id"]))
        failed = failed or item_failed
        if item_failed and not go_on:
            break
    body = _joined(boundary, written)
    headers = {"Content-Type": f"multipart/mixed; boundary={boundary}", "OData-Version": "4.0"}
    return ApiResponse(400 if failed and not go_on else 200, headers, body)


def with_references(part: ApiRequest, addresses: Mapping[str, str]) -> ApiRequest:
    """The part with `$1` replaced by the address of the row that the part with Content-ID 1 has written."""

    def address(match: re.Match[str]) -> str:
        return match[0].replace(f"${match[1]}", addresses.get(match[1], f"${match[1]}"))

    target = _REFERENCE_PATH.sub(address, part.target)
    body = _REFERENCE_VALUE.sub(address, part.body.decode()).encode()
    return ApiRequest(part.method, target, part.headers, body)


def address_of(response: ApiResponse) -> str:
    """The path of the row that a response says it has written, or an empty text."""
    match = _ENTITY_ID.search(response.headers.get("OData-EntityId", ""))
    return match[1] if match else ""


def _single(response: ApiResponse, content_id: str) -> bytes:
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id:
        lines.append(f"Content-ID: {content_id}")
    headers = {"REQ_ID": str(uuid4()), **response.headers}
    reason = _REASONS.get(response.status, "Error")
    lines += [
        "",
        f"HTTP/1.1 {response.status} {reason}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + response.body


def _change_set(parts: Sequence[ApiRequest], responses: Sequence[ApiResponse]) -> bytes:
    boundary = f"changesetresponse_{uuid4()}"
    written = [_single(response, part.headers["content-id"]) for part, response in zip(parts, responses, strict=True)]
    return f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode() + _joined(boundary, written)


def _joined(boundary: str, parts: Sequence[bytes]) -> bytes:
    delimiter = f"--{boundary}".encode()
    return b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"
