"""Header blocks that are received: what hpack alone makes of them, field by field, whatever is remembered."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from penstock._http import h2_huffman
from penstock._http.h2_decoder import FieldDecoder
from penstock._http.h2_frames import Code, ConnectionFault, StreamFault

LIMIT = 4000

names = st.sampled_from(
    [b":status", b"x-a", b"x-request-id", b"date", b"content-type", b"set-cookie", b"via", b"X", b"", b"n" * 70]
)
values = st.one_of(
    st.sampled_from([b"", b"200", b"text/html", b"Sat, 21 Nov 2026 01:00:00 GMT", b"v" * 126, b"v" * 127, b"w" * 1500]),
    st.binary(max_size=40),
)


def number(value: int, bits: int, first: int) -> bytes:
    """RFC 7541 §5.1, with the bits before the number."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    value -= most
    out = [first | most]
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def text(value: bytes, *, huffman: bool) -> bytes:
    """RFC 7541 §5.2."""
    if huffman:
        value = Encoder().huffman_coder.encode(value)
    return number(len(value), 7, 0x80 if huffman else 0) + value


@st.composite
def representations(draw: st.DrawFn) -> bytes:
    """Any way in which a server may speak of a field, also of one that is in no table."""
    first, bits = draw(st.sampled_from([(0x80, 7), (0x40, 6), (0x20, 5), (0x10, 4), (0x00, 4), (0x00, 4), (0x00, 4)]))
    if first == 0x80:
        return number(draw(st.integers(0, 70) | st.integers(0, 1 << 40)), bits, first)
    if first == 0x20:
        return number(draw(st.sampled_from([0, 30, 31, 100, 4096, 5000])), bits, first)
    index = draw(st.sampled_from([0, 0, 8, 14, 15, 16, 28, 33, 60, 61, 62, 63, 70, 1000]))
    name = b"" if index else text(draw(names), huffman=draw(st.booleans()))
    return number(index, bits, first) + name + text(draw(values), huffman=draw(st.booleans()))


written = st.lists(representations(), max_size=8).map(b"".join)
lists = st.lists(st.tuples(names, values, st.booleans()), max_size=8)
sizes = st.sampled_from([0, 50, 300, 4096])


class Both:
    """The decoder and hpack's own, which hear the same."""

    def __init__(self) -> None:
        self.ours, self.hpack = FieldDecoder(LIMIT), Decoder(LIMIT)
        self.is_over = False

    def hear(self, block: bytes) -> None:
        """They must agree: on the fields and the table, or that the connection is to end and why."""
        code = None
        try:
            fields = list(self.hpack.decode(block, raw=True))
        except OversizedHeaderListError:
            code = Code.ENHANCE_YOUR_CALM
        except HPACKError:
            code = Code.COMPRESSION_ERROR
        if code is not None:
            with pytest.raises(ConnectionFault) as caught:
                self.ours.decode(block)
            assert caught.value.code == code
            self.is_over = True
            return
        found = self.ours.decode(block)
        assert found.fields == fields
        assert found.size == sum(len(name) + len(value) for name, value in fields)
        ours, theirs = self.ours.header_table, self.hpack.header_table
        assert ours.dynamic_entries == theirs.dynamic_entries
        assert ours.maxsize == theirs.maxsize


@given(blocks=st.lists(st.one_of(written, st.binary(max_size=30)), max_size=6), again=st.data())
def test_any_bytes_mean_what_hpack_says(blocks: list[bytes], again: st.DataObject) -> None:
    """Blocks that were heard come again, whole, in parts, and with a byte changed."""
    both = Both()
    heard: list[bytes] = []
    while blocks and not both.is_over:
        block = blocks.pop()
        both.hear(block)
        heard.append(block)
        if not both.is_over:
            both.hear(block)
        if block and not both.is_over and again.draw(st.booleans()):
            at = again.draw(st.integers(0, len(block) - 1))
            changed = bytearray(block)
            changed[at] = again.draw(st.integers(0, 255))
            both.hear(again.draw(st.sampled_from([bytes(changed), block[:at], block[at:], block + heard[0]])))


@given(steps=st.lists(st.tuples(lists, st.booleans(), st.none() | sizes), max_size=20))
def test_what_another_encodes_is_decoded(
    steps: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]],
) -> None:
    both, encoder = Both(), Encoder()
    for fields, huffman, size in steps:
        if size is not None:
            encoder.header_table_size = size
        both.hear(encoder.encode(fields, huffman))
        if both.is_over:
            break


def literal(name: bytes, value: bytes, first: bytes = b"\0") -> bytes:
    return first + text(name, huffman=False) + text(value, huffman=False)


def test_what_is_malformed_is_told_each_time_and_what_is_not_is_not() -> None:
    decoder = FieldDecoder(LIMIT)
    for _ in range(3):
        fault = decoder.decode(literal(b"x-a", b"1") + literal(b"x-a", b"\n") + literal(b"connection", b"close")).fault
        assert isinstance(fault, StreamFault)
        assert "x-a" in fault.message
        assert decoder.decode(literal(b"x-a", b"1")).fault is None


def test_a_pseudo_field_is_in_order_at_the_front_only() -> None:
    decoder = FieldDecoder(LIMIT)
    status = literal(b":status", b"200")
    for _ in range(3):
        assert decoder.decode(status).fault is None
        assert decoder.decode(literal(b"x-a", b"1") + status).fault is not None


def test_a_field_that_differs_each_time_does_not_push_out_the_others() -> None:
    decoder = FieldDecoder(LIMIT)
    first = decoder.decode(literal(b"server", b"nginx")).fields[0]
    for number_of in range(1000):
        decoder.decode(literal(b"x-request-id", b"%d" % number_of))
        decoder.decode(literal(b"x-number", b"%d" % number_of, b"\x40"))

    assert decoder.decode(literal(b"server", b"nginx")).fields[0] is first


def test_what_is_remembered_is_little_and_no_secret() -> None:
    decoder = FieldDecoder(1 << 20)
    for number_of in range(1000):
        decoder.decode(literal(b"x-%d" % number_of, b"1") + literal(b"x", b"%d" % number_of))
        decoder.decode(literal(b"n" * 65, b"%d" % number_of))
    for name in (b"set-cookie", b"x-api-key"):
        for _ in range(2):
            decoder.decode(literal(name, b"secret"))
        # Never indexed, which is how servers mark what is secret (RFC 7541 §7.1.3).
        decoder.decode(b"\x10" + literal(b"x-b", b"secret")[1:])
    for size in (126, 127, 500, 2000, 3000, 100):
        decoder.decode(literal(b"x-long", b"v" * size))

    assert len(decoder._names) <= 32
    assert max(map(len, decoder._names)) <= 66
    for known in decoder._names.values():
        assert len(known.values) <= 8
        assert sum(map(len, known.values)) <= 2048
        assert not any(b"secret" in value for value in known.values)


def test_steps_that_are_remembered_of_the_code_are_bounded() -> None:
    for step in range(256 * 256):
        with suppress(HPACKError):
            h2_huffman.decode_huffman(step.to_bytes(2, "big") * 3)

    assert len(h2_huffman._steps) <= 8192


@given(st.one_of(st.binary(max_size=12), st.binary(max_size=12).map(Encoder().huffman_coder.encode)))
def test_strings_in_huffman_code_mean_what_hpack_says(data: bytes) -> None:
    expected: bytes | None = None
    with suppress(HPACKError):
        expected = decode_huffman(data)
    found: bytes | None = None
    with suppress(HPACKError):
        found = h2_huffman.decode_huffman(data)

    assert found == expected
