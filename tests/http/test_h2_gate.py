"""What the frame gate lets in, and what it refuses on the nine bytes of a frame's header, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import HTTP2Config
from penstock._errors import ProtocolReason
from penstock._http.h2_frames import Code, ConnectionFault, Frame
from penstock._http.h2_gate import FrameGate, unpadded
from tests.support import h2_frames as frames

FIRST = frames.settings(max_concurrent_streams=100)
FRAMING, LIMIT = ProtocolReason.FRAMING, ProtocolReason.LIMIT

#: Small, so that crossing a limit is quick.
SMALL = HTTP2Config(max_header_block=1024, max_continuations=2, max_settings=8)


def taken_in(*pieces: bytes, config: HTTP2Config = SMALL) -> list[Frame]:
    gate = FrameGate(config)
    return [frame for piece in pieces for frame in gate.feed(piece)]


def by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def header(kind: str | int, length: int, *, stream: int = 0, flags: int = 0) -> bytes:
    """The nine bytes of a frame's header, with nothing behind."""
    return frames.frame(kind, stream=stream, flags=flags, length=length)


def refusal(*pieces: bytes) -> ConnectionFault:
    with pytest.raises(ConnectionFault) as caught:
        taken_in(*pieces)
    return caught.value


#: Name → (what is sent, whether SETTINGS come before, code, reason). None of the frames is there in full.
REFUSED: dict[str, tuple[bytes, bool, Code, ProtocolReason]] = {
    "HEADERS first": (header("HEADERS", 10, stream=1), False, Code.PROTOCOL_ERROR, ProtocolReason.SETTINGS),
    "PING first": (header("PING", 8), False, Code.PROTOCOL_ERROR, ProtocolReason.SETTINGS),
    "an acknowledgement first": (header("SETTINGS", 0, flags=1), False, Code.PROTOCOL_ERROR, ProtocolReason.SETTINGS),
    "an unknown kind first": (header(0xBE, 8), False, Code.PROTOCOL_ERROR, ProtocolReason.SETTINGS),
    "text of HTTP/1.1": (b"HTTP", False, Code.PROTOCOL_ERROR, ProtocolReason.VERSION),
    "one byte more than a frame may have": (
        header("DATA", 16385, stream=1), True, Code.FRAME_SIZE_ERROR, FRAMING,
    ),
    "the longest frame there is": (header("DATA", 2**24 - 1, stream=1), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a long frame of an unknown kind": (header(0xBE, 16385), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "long SETTINGS first": (header("SETTINGS", 16386), False, Code.FRAME_SIZE_ERROR, FRAMING),
    "too many settings": (header("SETTINGS", 9 * 6), True, Code.ENHANCE_YOUR_CALM, LIMIT),
    "too many settings first": (header("SETTINGS", 9 * 6), False, Code.ENHANCE_YOUR_CALM, LIMIT),
    "half a setting": (header("SETTINGS", 7), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "an acknowledgement with content": (header("SETTINGS", 6, flags=1), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "SETTINGS on a stream": (header("SETTINGS", 0, stream=1), True, Code.PROTOCOL_ERROR, FRAMING),
    "PING on a stream": (header("PING", 8, stream=1), True, Code.PROTOCOL_ERROR, FRAMING),
    "GOAWAY on a stream": (header("GOAWAY", 8, stream=1), True, Code.PROTOCOL_ERROR, FRAMING),
    "DATA on no stream": (header("DATA", 1), True, Code.PROTOCOL_ERROR, FRAMING),
    "HEADERS on no stream": (header("HEADERS", 1), True, Code.PROTOCOL_ERROR, FRAMING),
    "PRIORITY on no stream": (header("PRIORITY", 5), True, Code.PROTOCOL_ERROR, FRAMING),
    "RST_STREAM on no stream": (header("RST_STREAM", 4), True, Code.PROTOCOL_ERROR, FRAMING),
    "CONTINUATION on no stream": (header("CONTINUATION", 4), True, Code.PROTOCOL_ERROR, FRAMING),
    "a short PING": (header("PING", 7), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a long PING": (header("PING", 9), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a short RST_STREAM": (header("RST_STREAM", 3, stream=1), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a long RST_STREAM": (header("RST_STREAM", 5, stream=1), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a short WINDOW_UPDATE": (header("WINDOW_UPDATE", 3), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a long WINDOW_UPDATE": (header("WINDOW_UPDATE", 5, stream=1), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a short PRIORITY": (header("PRIORITY", 4, stream=1), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a short GOAWAY": (header("GOAWAY", 4), True, Code.FRAME_SIZE_ERROR, FRAMING),
    "a push": (header("PUSH_PROMISE", 10, stream=1), True, Code.PROTOCOL_ERROR, FRAMING),
    "CONTINUATION of nothing": (header("CONTINUATION", 4, stream=1), True, Code.PROTOCOL_ERROR, FRAMING),
    **{
        f"{name} inside a header block": (
            frames.headers(1, b"abc", end_headers=False) + between, True, Code.PROTOCOL_ERROR, FRAMING,
        )
        for name, between in {
            "DATA": header("DATA", 1, stream=1),
            "HEADERS": header("HEADERS", 1, stream=1),
            "PING": header("PING", 8),
            "GOAWAY": header("GOAWAY", 8),
            "SETTINGS": header("SETTINGS", 0),
            "a push": header("PUSH_PROMISE", 8, stream=1),
            "an unknown kind": header(0xBE, 3),
            "CONTINUATION of another stream": header("CONTINUATION", 3, stream=3),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("cut", [lambda data: [data], by_byte], ids=["whole", "by byte"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_on_the_header_alone(name: str, cut: object) -> None:
    data, after_settings, code, reason = REFUSED[name]
    pieces = cut(data)  # type: ignore[operator]
    gate = FrameGate(SMALL)
    if after_settings:
        assert len(list(gate.feed(FIRST))) == 1
    for piece in pieces[:-1]:
        list(gate.feed(piece))

    with pytest.raises(ConnectionFault) as caught:
        list(gate.feed(pieces[-1]))

    assert (caught.value.code, caught.value.reason) == (code, reason)


def test_what_a_server_of_http1_says_is_quoted_and_bounded() -> None:
    fault = refusal(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"\x1b" * 5000)

    assert fault.reason is ProtocolReason.VERSION
    assert "HTTP/1.1 400 Bad Request\\r\\n" in fault.message
    assert "\x1b" not in fault.message
    assert len(fault.message) < 400


def test_the_longest_frame_that_is_allowed() -> None:
    (_, frame) = taken_in(FIRST, frames.data(1, b"x" * 16384))

    assert len(frame.payload) == 16384


def test_as_many_settings_as_are_allowed() -> None:
    assert len(taken_in(frames.settings(dict.fromkeys(range(10, 18), 1)))) == 1


def test_the_reserved_bit_is_ignored() -> None:
    (_, frame) = taken_in(FIRST, frames.frame("DATA", stream=1 | 1 << 31, payload=b"x"))

    assert frame.stream == 1


def test_unknown_kinds_and_flags_pass() -> None:
    sent = frames.frame(0xBE, stream=7, payload=b"?") + frames.frame("ALTSVC", payload=b"abc")
    sent += frames.frame("PING", payload=b"12345678", flags=0xF0)

    assert [frame.kind for frame in taken_in(FIRST, sent)] == [4, 0xBE, 0xA, 6]


# ---- header blocks ---------------------------------------------------------------------------------------------------


def block(*sizes: int, end: bool = True) -> bytes:
    """A header block in parts of these sizes: a HEADERS frame and CONTINUATION frames."""
    last = len(sizes) - 1
    parts = [
        frames.continuation(1, b"c" * size, end_headers=end and at == last)
        if at
        else frames.headers(1, b"h" * size, end_headers=end and not last, end_stream=True)
        for at, size in enumerate(sizes)
    ]
    return b"".join(parts)


def test_a_header_block_leaves_as_one_frame() -> None:
    (_, frame) = taken_in(FIRST, block(3, 2, 1))

    assert frame == Frame(1, 0x5, 1, b"hhhccc")


@pytest.mark.parametrize("sizes", [(1024,), (1000, 24), (1022, 1, 1)])
def test_a_header_block_just_within_its_limits(sizes: tuple[int, ...]) -> None:
    assert len(taken_in(FIRST, block(*sizes), frames.ping())) == 3


@pytest.mark.parametrize("sizes", [(1025,), (1000, 25), (1022, 1, 2)])
@pytest.mark.parametrize("end", [True, False], ids=["whole", "without end"])
def test_a_header_block_of_too_many_bytes(sizes: tuple[int, ...], end: bool) -> None:
    fault = refusal(FIRST, block(*sizes, end=end))

    assert (fault.code, fault.reason) == (Code.ENHANCE_YOUR_CALM, LIMIT)
    assert "max_header_block" in fault.message


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("end", [True, False], ids=["whole", "without end"])
def test_a_header_block_of_too_many_frames(size: int, end: bool) -> None:
    fault = refusal(FIRST, block(1, size, size, size, end=end))

    assert (fault.code, fault.reason) == (Code.ENHANCE_YOUR_CALM, LIMIT)
    assert "max_continuations" in fault.message


def test_padding_and_priority_are_taken_off_a_header_block() -> None:
    payload = bytes([3]) + bytes(5) + b"block" + bytes(3)
    (_, frame) = taken_in(FIRST, frames.frame("HEADERS", stream=1, payload=payload, flags=0x4 | 0x8 | 0x20))

    assert frame == Frame(1, 0x4, 1, b"block")


BADLY_PADDED = {
    "no count": (b"", 0x8, Code.PROTOCOL_ERROR),
    "as much padding as payload": (b"\x05abcd", 0x8, Code.PROTOCOL_ERROR),
    "more padding than payload": (b"\xffabcd", 0x8, Code.PROTOCOL_ERROR),
    "no room for the priority": (b"abcd", 0x20, Code.FRAME_SIZE_ERROR),
    "no room for padding and priority": (b"\x04abcdefgh", 0x28, Code.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", BADLY_PADDED)
def test_a_header_block_with_impossible_padding(name: str) -> None:
    payload, flags, code = BADLY_PADDED[name]
    fault = refusal(FIRST, frames.frame("HEADERS", stream=1, payload=payload, flags=flags | 0x4))

    assert (fault.code, fault.reason) == (code, FRAMING)


@pytest.mark.parametrize(("payload", "left"), [(b"\x00", b""), (b"\x03abc", b""), (b"\x01abc", b"ab")])
def test_padding_is_taken_off_data(payload: bytes, left: bytes) -> None:
    assert unpadded(Frame(0, 0x8, 1, payload)) == left


# ---- cutting ---------------------------------------------------------------------------------------------------------

GOOD = b"".join([
    FIRST,
    frames.settings_ack(),
    frames.headers(1, b"head", end_headers=False),
    frames.continuation(1, b"", end_headers=False),
    frames.continuation(1, b"more"),
    frames.data(1, b"x" * 300, padding=7),
    frames.frame(0xBE, payload=b"unknown"),
    frames.ping(b"12345678"),
    frames.window_update(0, 5),
    frames.data(1, b"", end_stream=True),
    frames.goaway(1, 0, b"bye"),
])  # fmt: skip


@given(cuts=st.lists(st.integers(0, len(GOOD)), max_size=30))
def test_frames_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    at = [0, *sorted(set(cuts) - {0, len(GOOD)}), len(GOOD)]
    pieces = [GOOD[start:end] for start, end in pairwise(at)]

    assert taken_in(*pieces) == taken_in(GOOD) == taken_in(*by_byte(GOOD))


@given(junk=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=10), after_settings=st.booleans())
def test_junk_is_refused_or_waited_for_and_the_verdict_does_not_depend_on_cuts(
    junk: bytes, cuts: list[int], after_settings: bool
) -> None:
    data = (FIRST if after_settings else b"") + junk

    def verdict(pieces: list[bytes]) -> tuple[list[Frame], int | None]:
        gate = FrameGate(SMALL)
        found: list[Frame] = []
        try:
            for piece in pieces:
                found.extend(gate.feed(piece))
        except ConnectionFault as fault:
            return found, fault.code
        return found, None

    at = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    assert verdict([data]) == verdict([data[start:end] for start, end in pairwise(at)]) == verdict(by_byte(data))


def held(gate: FrameGate) -> int:
    """Bytes that the gate keeps for later."""
    return len(gate._rest) + len(gate._block)


def test_what_is_kept_of_endless_input_is_bounded() -> None:
    """One frame and one header block, and never the 16 MiB that a frame's length may promise."""
    config = HTTP2Config(max_header_block=65536, max_continuations=16)
    part = frames.continuation(1, b"c" * 4000, end_headers=False)
    endless = FIRST + frames.headers(1, b"h" * 4000, end_headers=False) + part * 20
    gate = FrameGate(config)
    most = 0
    with pytest.raises(ConnectionFault, match="max_header_block"):
        for at in range(0, len(endless), 97):
            list(gate.feed(endless[at : at + 97]))
            most = max(most, held(gate))

    assert 60_000 < most <= 65536 + 16384 + 9
