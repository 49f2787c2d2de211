"""Frames of HTTP/2 as bytes, right or wrong: nothing here checks what it is asked for (RFC 9113 §4.1, §6).

What a real engine would refuse to send is written as easily as the rest:

    frame("SETTINGS", stream=1)                       # SETTINGS on a stream
    frame("PING", payload=b"short")                   # a PING of five bytes
    frame("HEADERS", stream=1, length=100)            # promises 100 bytes and has none
    frame(0xBE, stream=7, payload=b"?")               # a type nobody knows
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WINDOW = 2**31 - 1


class Kind(IntEnum):
    """Frame types (RFC 9113 §6, RFC 7838 §4, RFC 9218 §7.1)."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9
    ALTSVC = 0xA
    PRIORITY_UPDATE = 0x10


class Flag(IntFlag):
    """Flags; one bit means different things on different frames."""

    NONE = 0x0
    ACK = 0x1
    END_STREAM = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Setting(IntEnum):
    """Settings (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1)."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8
    NO_RFC7540_PRIORITIES = 0x9


def frame(
    kind: Kind | int | str, *, stream: int = 0, payload: bytes = b"", flags: int = 0, length: int | None = None
) -> bytes:
    """Any frame. `length` is what the head says, the payload's by default."""
    number = Kind[kind] if isinstance(kind, str) else kind
    size = len(payload) if length is None else length
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, number, flags, stream) + payload


def settings(values: Mapping[int, int] | None = None, **named: int) -> bytes:
    """SETTINGS: by number, or by name in lower case (`max_concurrent_streams=1`)."""
    numbered = dict(values or {})
    numbered.update({Setting[name.upper()]: value for name, value in named.items()})
    return frame(Kind.SETTINGS, payload=b"".join(struct.pack(">HL", *pair) for pair in numbered.items()))


def settings_ack() -> bytes:
    return frame(Kind.SETTINGS, flags=Flag.ACK)


def headers(
    stream: int, block: bytes, *, end_stream: bool = False, end_headers: bool = True, padding: int | None = None
) -> bytes:
    """HEADERS around a block, or the first part of one, that HPACK has made."""
    flags = (Flag.END_STREAM if end_stream else 0) | (Flag.END_HEADERS if end_headers else 0)
    return _padded(Kind.HEADERS, stream, block, flags, padding)


def continuation(stream: int, block: bytes, *, end_headers: bool = True) -> bytes:
    return frame(Kind.CONTINUATION, stream=stream, payload=block, flags=Flag.END_HEADERS if end_headers else 0)


def data(stream: int, content: bytes = b"", *, end_stream: bool = False, padding: int | None = None) -> bytes:
    """DATA; `padding` is how many bytes follow the content, None leaves out their count as well."""
    return _padded(Kind.DATA, stream, content, Flag.END_STREAM if end_stream else 0, padding)


def rst(stream: int, code: int = 0) -> bytes:
    return frame(Kind.RST_STREAM, stream=stream, payload=struct.pack(">L", code))


def goaway(last: int = 0, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(Kind.GOAWAY, payload=struct.pack(">LL", last, code) + debug)


def ping(content: bytes = b"\0" * 8, *, ack: bool = False) -> bytes:
    return frame(Kind.PING, payload=content, flags=Flag.ACK if ack else 0)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, stream=stream, payload=struct.pack(">L", increment))


def push_promise(stream: int, promised: int, block: bytes, *, end_headers: bool = True) -> bytes:
    flags = Flag.END_HEADERS if end_headers else 0
    return frame(Kind.PUSH_PROMISE, stream=stream, payload=struct.pack(">L", promised) + block, flags=flags)


def priority(stream: int, *, depends_on: int = 0, weight: int = 16, exclusive: bool = False) -> bytes:
    """PRIORITY; `weight` is from 1 to 256, one more than what is sent (RFC 7540 §6.3)."""
    return frame(Kind.PRIORITY, stream=stream, payload=struct.pack(">LB", depends_on | (exclusive << 31), weight - 1))


def _padded(kind: Kind, stream: int, content: bytes, flags: int, padding: int | None) -> bytes:
    if padding is None:
        return frame(kind, stream=stream, payload=content, flags=flags)
    return frame(kind, stream=stream, payload=bytes([padding]) + content + b"\0" * padding, flags=flags | Flag.PADDED)
