"""The message formats of what a client sends, read from its frames."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from emulators.servicebus import amqp
from emulators.servicebus.frames import BATCH, TransferFormats

START = b"AMQP\x03\x01\x00\x00" + b"\x00\x00\x00\x08\x02\x01\x00\x00" + b"AMQP\x00\x01\x00\x00"
HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"


def frame(channel: int, code: int, *fields: object, payload: bytes = b"") -> bytes:
    body = b"\x00\x53" + bytes((code,)) + amqp.encode(list(fields)) + payload
    return struct.pack(">IBBH", len(body) + 8, 2, 0, channel) + body


def attach(channel: int, handle: int, name: str, *, receives: bool = False) -> bytes:
    return frame(channel, 0x12, name, handle, receives)


def transfer(channel: int, handle: int, message_format: int | None, *, more: bool = False) -> bytes:
    fields = (handle, 0, b"tag", None if message_format is None else amqp.Long(message_format), True, more)
    return frame(channel, 0x14, *fields, payload=b"\x00\x53\x75\xa0\x04AMQP")


def aborted(channel: int, handle: int) -> bytes:
    return frame(channel, 0x14, handle, 0, b"tag", 0, True, True, None, None, None, True)


def of(*frames: bytes) -> TransferFormats:
    formats = TransferFormats()
    formats.feed(START + b"".join(frames))
    return formats


def test_each_link_has_the_formats_of_its_own_deliveries_in_order() -> None:
    formats = of(
        *(attach(0, 0, "a"), attach(0, 1, "b"), attach(1, 0, "c"), attach(1, 1, "receiver", receives=True)),
        *(transfer(0, 0, BATCH), transfer(1, 0, 0), transfer(0, 1, BATCH), transfer(0, 0, None), transfer(0, 0, BATCH)),
    )
    assert [formats.take("a") for _ in range(3)] == [BATCH, 0, BATCH]
    assert formats.take("b") == BATCH
    assert formats.take("c") == 0


def test_a_delivery_of_many_transfers_has_the_format_of_its_first() -> None:
    parts = [transfer(0, 0, BATCH, more=True), transfer(0, 0, None, more=True), transfer(0, 0, None)]
    formats = of(attach(0, 0, "a"), *parts, transfer(0, 0, 0))
    assert [formats.take("a") for _ in range(2)] == [BATCH, 0]


def test_an_aborted_delivery_does_not_run_into_the_next() -> None:
    formats = of(attach(0, 0, "a"), transfer(0, 0, 0, more=True), aborted(0, 0), transfer(0, 0, BATCH))
    assert [formats.take("a") for _ in range(2)] == [0, BATCH]


def test_a_link_that_is_attached_again_begins_anew() -> None:
    formats = of(attach(0, 0, "a"), transfer(0, 0, 0, more=True), attach(0, 3, "a"), transfer(0, 3, BATCH))
    assert formats.take("a") == BATCH


@given(st.lists(st.integers(1, 60), max_size=30))
def test_the_pieces_in_which_the_bytes_come_do_not_matter(cuts: list[int]) -> None:
    sent = START + attach(0, 0, "a") + transfer(0, 0, BATCH) + HEARTBEAT + transfer(0, 0, 0) + transfer(0, 0, BATCH)
    formats = TransferFormats()
    for size in cuts:
        formats.feed(sent[:size])
        sent = sent[size:]
    formats.feed(sent)
    assert [formats.take("a") for _ in range(3)] == [BATCH, 0, BATCH]


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(noise: bytes) -> None:
    TransferFormats().feed(noise)
    of(attach(0, 0, "a"), struct.pack(">IBBH", len(noise) + 8, 2, 0, 0) + noise, noise)
