"""The AMQP 1.0 type system (OASIS AMQP 1.0, part 1), as far as Service Bus messages use it.

python-qpid-proton speaks the connection, session and link layers. Message payloads are read and written here, because
proton's `Message` neither splits Service Bus's batches nor keeps the sections it does not understand byte for byte.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

# Width in bytes of the fixed-width formats and of the size field of the variable ones, by the code's high nibble.
_FIXED = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_SIZED = {0xA: 1, 0xB: 4, 0xC: 1, 0xD: 4, 0xE: 1, 0xF: 4}


class DecodeError(ValueError):
    """Bytes that are not a valid AMQP encoding (`amqp:decode-error`)."""


class Symbol(str):
    """An AMQP symbol: a string of ASCII characters with a type of its own on the wire."""

    __slots__ = ()


class Long(int):
    """A signed 64 bit integer. A plain int is encoded as a signed 32 bit integer."""


class Timestamp(int):
    """Milliseconds since 1970-01-01T00:00:00Z."""


@dataclass(frozen=True, slots=True)
class Array:
    """An AMQP array: elements of one type, encoded with one constructor. Only what management answers need."""

    items: list[Any]


def _described(buffer: bytes, start: int, _code: int) -> tuple[Any, int]:
    _, position = decode(buffer, start)
    return decode(buffer, position)


def _compound(buffer: bytes, start: int, code: int) -> tuple[Any, int]:
    wide = code & 0x10
    size, count = struct.unpack_from(">II" if wide else ">BB", buffer, start)
    position = start + (8 if wide else 2)
    end = start + (4 if wide else 1) + size
    if code >= 0xE0:
        return _array_items(buffer, position, count), end
    values = []
    for _ in range(count):
        value, position = decode(buffer, position)
        values.append(value)
    if code in {0xC1, 0xD1}:
        return dict(zip(values[::2], values[1::2], strict=True)), end
    return values, end


def _array_items(buffer: bytes, position: int, count: int) -> list[Any]:
    code = buffer[position]
    position += 1
    decoder = _DECODERS.get(code)
    if decoder is None:
        msg = f"array of unsupported type 0x{code:02x}"
        raise DecodeError(msg)
    values = []
    for _ in range(count):
        value, position = decoder(buffer, position, code)
        values.append(value)
    return values


def _fixed(fmt: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[[bytes, int, int], Any]:
    layout = struct.Struct(fmt)

    def read(buffer: bytes, start: int, _code: int) -> tuple[Any, int]:
        return convert(layout.unpack_from(buffer, start)[0]), start + layout.size

    return read


def _variable(width: int, convert: Callable[[bytes], Any]) -> Callable[[bytes, int, int], Any]:
    def read(buffer: bytes, start: int, _code: int) -> tuple[Any, int]:
        begin = start + width
        end = begin + int.from_bytes(buffer[start:begin], "big")
        if end > len(buffer):
            msg = "truncated value"
            raise DecodeError(msg)
        return convert(buffer[begin:end]), end

    return read


def _constant(value: object) -> Callable[[bytes, int, int], Any]:
    return lambda _buffer, start, _code: (value, start)


def _text(raw: bytes) -> str:
    return raw.decode()


def _symbol(raw: bytes) -> Symbol:
    return Symbol(raw.decode("ascii"))


_DECODERS: dict[int, Callable[[bytes, int, int], Any]] = {
    0x00: _described,
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(0),
    0x44: _constant(0),
    0x45: _constant([]),
    0x50: _fixed(">B"),
    0x51: _fixed(">b"),
    0x52: _fixed(">B"),
    0x53: _fixed(">B"),
    0x54: _fixed(">b"),
    0x55: _fixed(">b"),
    0x56: _fixed(">?"),
    0x60: _fixed(">H"),
    0x61: _fixed(">h"),
    0x70: _fixed(">I"),
    0x71: _fixed(">i"),
    0x72: _fixed(">f"),
    0x73: _fixed(">4s", lambda raw: raw.decode("utf-32-be")),
    0x80: _fixed(">Q"),
    0x81: _fixed(">q", Long),
    0x82: _fixed(">d"),
    0x83: _fixed(">q", Timestamp),
    0x98: _fixed(">16s", lambda raw: UUID(bytes=raw)),
    0xA0: _variable(1, bytes),
    0xA1: _variable(1, _text),
    0xA3: _variable(1, _symbol),
    0xB0: _variable(4, bytes),
    0xB1: _variable(4, _text),
    0xB3: _variable(4, _symbol),
    **dict.fromkeys((0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xF0), _compound),
}


def decode(buffer: bytes, start: int = 0) -> tuple[Any, int]:
    """Return the value that begins at `start` and the position after it. A described value loses its descriptor.

    Raises DecodeError, or one of IndexError, ValueError and struct.error, for bytes that are not an AMQP value.
    """
    code = buffer[start]
    decoder = _DECODERS.get(code)
    if decoder is None:
        msg = f"unknown format code 0x{code:02x}"
        raise DecodeError(msg)
    value: tuple[Any, int] = decoder(buffer, start + 1, code)
    return value


def skip(buffer: bytes, start: int) -> int:
    """Return the position after the value that begins at `start`, without decoding it."""
    code = buffer[start]
    start += 1
    if code == 0x00:
        return skip(buffer, skip(buffer, start))
    nibble = code >> 4
    width = _FIXED.get(nibble)
    if width is None:
        size = _SIZED.get(nibble)
        if size is None:
            msg = f"unknown format code 0x{code:02x}"
            raise DecodeError(msg)
        width = size + int.from_bytes(buffer[start : start + size], "big")
    if start + width > len(buffer):
        msg = "truncated value"
        raise DecodeError(msg)
    return start + width


def split_map(buffer: bytes, start: int) -> list[tuple[Any, bytes]]:
    """Return the map at `start` as (key, key and value as encoded), so that values can be passed on unread."""
    code = buffer[start]
    if code == 0x40:
        return []
    if code not in {0xC1, 0xD1}:
        msg = f"a map was expected, not format code 0x{code:02x}"
        raise DecodeError(msg)
    wide = code == 0xD1
    count = struct.unpack_from(">II" if wide else ">BB", buffer, start + 1)[1]
    position = start + (9 if wide else 3)
    pairs = []
    for _ in range(count // 2):
        key, value_start = decode(buffer, position)
        end = skip(buffer, value_start)
        pairs.append((key, buffer[position:end]))
        position = end
    return pairs


def join_map(pairs: list[bytes]) -> bytes:
    """Return a map of key-value pairs that are encoded already."""
    return _sized(b"\xc1", b"\xd1", b"".join(pairs), 2 * len(pairs))


def _sized(short: bytes, long: bytes, content: bytes, count: int) -> bytes:
    if len(content) < 255 and count < 256:
        return short + bytes((len(content) + 1, count)) + content
    return long + struct.pack(">II", len(content) + 4, count) + content


def _raw(short: bytes, long: bytes, raw: bytes) -> bytes:
    if len(raw) < 256:
        return short + bytes((len(raw),)) + raw
    return long + struct.pack(">I", len(raw)) + raw


def _encode_array(array: Array) -> bytes:
    # Elements share one constructor; the wide ones, so that elements of any length fit.
    layouts: dict[type, tuple[bytes, Callable[[Any], bytes]]] = {
        Long: (b"\x81", lambda item: struct.pack(">q", item)),
        Timestamp: (b"\x83", lambda item: struct.pack(">q", item)),
        UUID: (b"\x98", lambda item: bytes(item.bytes)),
        str: (b"\xb1", lambda item: struct.pack(">I", len(item.encode())) + item.encode()),
    }
    constructor, pack = layouts[type(array.items[0]) if array.items else str]
    content = b"".join(pack(item) for item in array.items)
    return b"\xf0" + struct.pack(">II", len(content) + 5, len(array.items)) + constructor + content


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    int: lambda value: b"\x71" + struct.pack(">i", value),
    Long: lambda value: b"\x81" + struct.pack(">q", value),
    Timestamp: lambda value: b"\x83" + struct.pack(">q", value),
    str: lambda value: _raw(b"\xa1", b"\xb1", value.encode()),
    Symbol: lambda value: _raw(b"\xa3", b"\xb3", value.encode("ascii")),
    bytes: lambda value: _raw(b"\xa0", b"\xb0", value),
    UUID: lambda value: b"\x98" + bytes(value.bytes),
    list: lambda value: _sized(b"\xc0", b"\xd0", b"".join(map(encode, value)), len(value)),
    dict: lambda value: join_map([encode(key) + encode(item) for key, item in value.items()]),
    Array: _encode_array,
}


def encode(value: object) -> bytes:
    """Return the encoding of `value`. Raises KeyError for a Python type that has no AMQP counterpart here."""
    return _ENCODERS[type(value)](value)
