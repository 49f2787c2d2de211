"""The frame gate: cuts bytes into frames, and refuses on the nine bytes of a frame's header what must not get in.

h2 looks at a frame only once all of it is there, so an over-long one is buffered up to 16 MiB, and the text
"HTTP/1.1 400 Bad Request" passes for the beginning of one; it does not ask for SETTINGS first; it joins header blocks
of up to a mebibyte. All of that is decided here, on the header alone, before anything is kept:

- SETTINGS come first (RFC 9113 §3.4).
- No frame is longer than we allowed (§4.2), and each kind has its length and its place, on a stream or on none (§6).
- A header block is bounded in bytes and frames, and nothing comes in between (§4.3, §6.10).
- Nothing is ever pushed: we said so with the first byte we sent, so there is no excuse before the acknowledgement
  (§8.4).

Whatever leaves the gate is one whole frame. A header block leaves as one HEADERS frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._errors import ProtocolReason, quote_peer
from .h2_frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADER_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PRIORITIZED,
    STREAM_BITS,
    Code,
    ConnectionFault,
    Frame,
    Kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._http2_config import HTTP2Config

#: Kind → (whether it belongs to a stream, None for either; its length, None for any).
_SHAPES: Final[dict[int, tuple[bool | None, int | None]]] = {
    Kind.DATA: (True, None),
    Kind.HEADERS: (True, None),
    Kind.PRIORITY: (True, 5),
    Kind.RST_STREAM: (True, 4),
    Kind.SETTINGS: (False, None),
    Kind.PING: (False, 8),
    Kind.GOAWAY: (False, None),
    Kind.WINDOW_UPDATE: (None, 4),
    Kind.CONTINUATION: (True, None),
}

#: Frames that carry a part of a header block.
_BLOCKS: Final = (Kind.HEADERS, Kind.CONTINUATION)

_SETTING_SIZE: Final = 6
_PRIORITY_SIZE: Final = 5


class FrameGate:
    """Bytes in, whole and plausible frames out.

    Args:
        config: the limits.
    """

    __slots__ = ("_block", "_blocks", "_config", "_first", "_head", "_rest")

    def __init__(self, config: HTTP2Config) -> None:
        self._config = config
        self._rest = b""
        self._first = True
        # The HEADERS frame whose block is not whole yet, and the parts of that block.
        self._head: Frame | None = None
        self._block = b""
        self._blocks = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes; what is left over waits for the next call.

        Raises:
            ConnectionFault: the bytes are not HTTP/2, or break a limit.
        """
        buffer = self._rest + data if self._rest else data
        if self._first and buffer[:4] == b"HTTP"[: len(buffer)]:
            if len(buffer) >= 4:
                raise ConnectionFault(
                    Code.PROTOCOL_ERROR,
                    ProtocolReason.VERSION,
                    f"the server answers in HTTP/1.1: {quote_peer(buffer)}",
                )
            self._rest = buffer
            return
        at, end = 0, len(buffer)
        while end - at >= HEADER_SIZE:
            high, low, kind, flags, stream = HEADER.unpack_from(buffer, at)
            length = high << 8 | low
            stream &= STREAM_BITS
            self._check(kind, flags, stream, length)
            start = at + HEADER_SIZE
            if end - start < length:
                break
            at = start + length
            frame = Frame(kind, flags, stream, buffer[start:at])
            if kind in _BLOCKS:
                whole = self._join(frame)
                if whole is None:
                    continue
                frame = whole
            yield frame
        self._rest = buffer[at:] if at else buffer

    def _check(self, kind: int, flags: int, stream: int, length: int) -> None:
        if length > MAX_FRAME_SIZE:
            raise _broken(
                Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes is longer than the {MAX_FRAME_SIZE} allowed"
            )
        if self._first:
            if kind != Kind.SETTINGS or flags & ACK:
                raise ConnectionFault(
                    Code.PROTOCOL_ERROR, ProtocolReason.SETTINGS, "the first frame of the server is no SETTINGS"
                )
            self._first = False
        if self._head is not None and (kind != Kind.CONTINUATION or stream != self._head.stream):
            raise _broken(Code.PROTOCOL_ERROR, "a header block is interrupted by another frame")
        shape = _SHAPES.get(kind)
        if shape is None:
            if kind == Kind.PUSH_PROMISE:
                raise _broken(Code.PROTOCOL_ERROR, "the server pushes although it was told not to")
            return
        on_stream, size = shape
        if on_stream is not None and on_stream != (stream != 0):
            raise _broken(Code.PROTOCOL_ERROR, f"a {Kind(kind).name} frame on stream {stream}")
        if size is not None and length != size:
            raise _broken(Code.FRAME_SIZE_ERROR, f"a {Kind(kind).name} frame of {length} bytes")
        if kind == Kind.SETTINGS:
            self._check_settings(flags, length)
        elif kind == Kind.GOAWAY and length < 8:
            raise _broken(Code.FRAME_SIZE_ERROR, f"a GOAWAY frame of {length} bytes")
        elif kind == Kind.CONTINUATION and self._head is None:
            raise _broken(Code.PROTOCOL_ERROR, "a CONTINUATION frame continues nothing")

    def _check_settings(self, flags: int, length: int) -> None:
        if flags & ACK:
            if length:
                raise _broken(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that is not empty")
        elif length % _SETTING_SIZE:
            raise _broken(Code.FRAME_SIZE_ERROR, f"a SETTINGS frame of {length} bytes")
        elif length > self._config.max_settings * _SETTING_SIZE:
            raise _flooded(f"a SETTINGS frame of more than {self._config.max_settings} entries", "max_settings")

    def _join(self, frame: Frame) -> Frame | None:
        """Add a part of a header block; the HEADERS frame with all of it once it is whole."""
        if frame.kind == Kind.HEADERS:
            fragment = _strip(frame)
            if frame.flags & END_HEADERS:
                self._check_block(len(fragment))
                return Frame(Kind.HEADERS, frame.flags & END_STREAM | END_HEADERS, frame.stream, fragment)
            self._head, self._block, self._blocks = frame, fragment, 0
        else:
            self._blocks += 1
            if self._blocks > self._config.max_continuations:
                raise _flooded(
                    f"a header block of more than {self._config.max_continuations} CONTINUATION frames",
                    "max_continuations",
                )
            self._block += frame.payload
        self._check_block(len(self._block))
        head = self._head
        assert head is not None
        if not frame.flags & END_HEADERS:
            return None
        whole = Frame(Kind.HEADERS, head.flags & END_STREAM | END_HEADERS, head.stream, self._block)
        self._head, self._block = None, b""
        return whole

    def _check_block(self, size: int) -> None:
        if size > self._config.max_header_block:
            raise _flooded(f"a header block of more than {self._config.max_header_block} bytes", "max_header_block")


def _strip(frame: Frame) -> bytes:
    """The fragment of a HEADERS frame, without padding and priority (RFC 9113 §6.2)."""
    payload = unpadded(frame)
    if not frame.flags & PRIORITIZED:
        return payload
    if len(payload) < _PRIORITY_SIZE:
        raise _broken(Code.FRAME_SIZE_ERROR, "a HEADERS frame too short for its priority")
    return payload[_PRIORITY_SIZE:]


def unpadded(frame: Frame) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding (RFC 9113 §6.1).

    Raises:
        ConnectionFault: there is more padding than payload.
    """
    payload = frame.payload
    if not frame.flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise _broken(Code.PROTOCOL_ERROR, f"a {Kind(frame.kind).name} frame with more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _broken(code: Code, message: str) -> ConnectionFault:
    return ConnectionFault(code, ProtocolReason.FRAMING, message)


def _flooded(message: str, limit: str) -> ConnectionFault:
    return ConnectionFault(Code.ENHANCE_YOUR_CALM, ProtocolReason.LIMIT, message, limit=limit)
