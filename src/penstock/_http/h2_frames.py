"""The words of HTTP/2's wire: frame kinds, flags, error codes, and the frames that are built here.

Imports nothing: these words are also spoken where h2 is not there (RFC 9113 §4, §6, §7).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from .._errors import ProtocolReason

#: Length (two parts), kind, flags, stream identifier.
HEADER: Final = Struct(">HBBBL")
HEADER_SIZE: Final = 9
STREAM_BITS: Final = 0x7FFFFFFF

#: The largest frame that we take: the protocol's default, which we do not raise (RFC 9113 §4.2).
MAX_FRAME_SIZE: Final = 16384
LARGEST_WINDOW: Final = (1 << 31) - 1
DEFAULT_WINDOW: Final = 65535


class Kind(IntEnum):
    """Frame types (RFC 9113 §6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20


class Code(IntEnum):
    """Error codes (RFC 9113 §7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Frame(NamedTuple):
    """One frame; a header block comes as one HEADERS frame, without padding and priority."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def encode(self) -> bytes:
        """The frame as it stands on the wire."""
        return build(self.kind, self.flags, self.stream, self.payload)


class Fault(Exception):
    """The server broke the protocol, or a limit of ours.

    Attributes:
        code: what the server is told.
        reason: what our caller is told.
        message: in words.
        limit: the setting that was crossed, if one was.
    """

    def __init__(self, code: int, reason: ProtocolReason, message: str, *, limit: str | None = None) -> None:
        self.message = message if limit is None else f"{message} ({limit})"
        super().__init__(self.message)
        self.code = code
        self.reason = reason
        self.limit = limit


class ConnectionFault(Fault):
    """Something that ends the connection (RFC 9113 §5.4.1)."""


class StreamFault(Fault):
    """Something that ends one stream only (RFC 9113 §5.4.2)."""


def build(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame as it stands on the wire."""
    size = len(payload)
    return HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def window_update(stream: int, increment: int) -> bytes:
    """Let the server send that many more bytes."""
    return build(Kind.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def goaway(code: int) -> bytes:
    """The last frame we send; a client processes no streams of the server, so the last one is always 0."""
    return build(Kind.GOAWAY, 0, 0, bytes(4) + int(code).to_bytes(4, "big"))


def code_name(code: int) -> str:
    """A code in words that fit into a message."""
    return Code(code).name if code in Code._value2member_map_ else f"code {code:#x}"
