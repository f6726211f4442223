"""What proton does not tell of the frames that a client sends: the message format of each transfer.

Nothing but its message format (0x80013700) tells a batch from a message, and proton skips that field when it reads a
transfer (AMQP 1.0, part 2, 2.7.5). So the frames are read a second time, as far as that takes.
"""

import struct
from collections import defaultdict, deque

from emulators.servicebus import amqp

#: The message format of a batch: each data section holds a message of its own.
BATCH = 0x80013700

_HEADER = struct.Struct(">IBBH")
_AMQP_FRAME = 0
_ATTACH, _TRANSFER = 0x12, 0x14
# Positions of fields in the two performatives.
_NAME, _ROLE = 0, 2
_FORMAT, _MORE, _ABORTED = 3, 5, 9


class TransferFormats:
    """Follows what a client sends, in pieces of any size, and notes the message format of each delivery.

    Deliveries of one link follow each other and are not interleaved (AMQP 1.0, part 2, 2.6.14), so the formats of a
    link are taken in the order in which its deliveries are complete.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: Names of the links that the client sends on, by channel and handle.
        self._names: dict[tuple[int, int], str] = {}
        self._formats: defaultdict[str, deque[int]] = defaultdict(deque)
        #: Links whose last delivery continues in the next transfer.
        self._unfinished: set[str] = set()

    def feed(self, data: bytes) -> None:
        """Read on. Bytes that are not AMQP are left to proton, which ends the connection because of them."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            size, offset, kind, channel = _HEADER.unpack_from(self._buffer)
            if self._buffer.startswith(b"AMQP"):  # a protocol header, which precedes the frames
                size, kind = _HEADER.size, None
            size = max(size, _HEADER.size)
            if len(self._buffer) < size:
                return
            if kind == _AMQP_FRAME and size > offset * 4:
                self._read(channel, bytes(self._buffer[offset * 4 : size]))
            del self._buffer[:size]

    def take(self, link: str) -> int:
        """Return the message format of the link's next delivery, now that it is complete or aborted."""
        formats = self._formats.get(link)
        return formats.popleft() if formats else 0

    def _read(self, channel: int, frame: bytes) -> None:
        try:
            code, start = amqp.decode(frame, 1)
            fields = [*amqp.decode(frame, start)[0], *[None] * _ABORTED] if code in (_ATTACH, _TRANSFER) else []
            if code == _ATTACH:
                self._attach((channel, fields[1]), name=fields[_NAME], receives=bool(fields[_ROLE]))
            elif code == _TRANSFER:
                more = bool(fields[_MORE] and not fields[_ABORTED])
                self._transfer((channel, fields[0]), message_format=fields[_FORMAT] or 0, more=more)
        except (IndexError, TypeError, ValueError, struct.error):
            return

    def _attach(self, end: tuple[int, int], *, name: str, receives: bool) -> None:
        self._names.pop(end, None)
        if not receives:
            self._names[end] = name
            self._formats.pop(name, None)
            self._unfinished.discard(name)

    def _transfer(self, end: tuple[int, int], *, message_format: int, more: bool) -> None:
        name = self._names.get(end)
        if name is None:
            return
        if name not in self._unfinished:
            self._formats[name].append(message_format)
        (self._unfinished.add if more else self._unfinished.discard)(name)
