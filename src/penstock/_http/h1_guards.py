"""What no engine is asked: limits, line ends, folds and framing fields, judged the same way whoever reads the head."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .._errors import ProtocolReason
from .h1_judges import Refusal

if TYPE_CHECKING:
    from .._types import HeaderList
    from .h1_lines import HTTP1Engine

# RFC 9112 §5.2: a user agent must replace a fold with spaces. No engine is better at that than another.
_FOLD: Final = re.compile(rb"\r\n[ \t]+")

_HIGHEST_LENGTH: Final = (1 << 64) - 1


def first_fault(lines: bytes | bytearray, max_size: int, max_lines: int, what: str) -> Refusal | None:
    """The first thing that is wrong with the line ends so far: first in the bytes, so that no cut can change it."""
    at = -1
    count = 0
    while (at := lines.find(b"\n", at + 1, max_size)) >= 0:
        count += 1
        if at == 0 or lines[at - 1] != 13:
            # RFC 9112 §2.2 allows a bare LF as a line end, and does not demand it; refusing is the safer reading.
            return Refusal(f"the {what} of the response has a bare line feed")
        if count > max_lines:
            return Refusal("the response has more header fields than allowed", ProtocolReason.LIMIT)
    if len(lines) > max_size:
        return Refusal(f"the {what} of the response is longer than allowed", ProtocolReason.LIMIT)
    return None


def read_lines(engine: HTTP1Engine, head: bytes) -> tuple[int, bytes, HeaderList]:
    """Read a head of whole lines, from its status line to its blank line; a fold becomes one space.

    Raises:
        Refusal: the head is malformed.
    """
    try:
        return engine.read_head(head)
    except Refusal:
        # Every engine refuses folds.
        if b"\r\n " not in head and b"\r\n\t" not in head:
            raise
    if head[head.find(b"\r\n") + 2] in b" \t":
        raise Refusal("the first header field of the response begins with white space")
    return engine.read_head(_FOLD.sub(b" ", head))


def check_framing_fields(headers: HeaderList, fields: dict[bytes, bytes]) -> int | None:
    """Refuse framing fields that leave any room for doubt (RFC 9112 §6.1, §6.3).

    Args:
        headers: all fields.
        fields: the same by name.

    Returns:
        The announced length, None if there is none.

    Raises:
        Refusal: two of them, both kinds, a length that is no number of 64 bits, a coding that is not chunked.
    """
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if length is not None:
        if coding is None and len(fields) == len(headers) and len(length) < 16 and length.isdigit():
            return int(length)
        if coding is not None:
            # §6.3 (3): "ought to be handled as an error".
            raise Refusal("the response has both content-length and transfer-encoding")
        if len(length) > 20 or not length.isdigit() or int(length) > _HIGHEST_LENGTH:
            raise Refusal("the content-length of the response is not a number of bytes")
    elif coding is None:
        return None
    elif coding.lower() != b"chunked":
        # No other was offered. §6.1 (chunked must be the last, and not twice) leaves nothing else.
        raise Refusal("the transfer-encoding of the response is not chunked")
    if len(fields) != len(headers):
        for name in (b"content-length", b"transfer-encoding"):
            if sum(name == other for other, _ in headers) > 1:
                # §6.3 (5) allows equal lengths to be taken for one; llhttp refuses them, and nobody needs them.
                raise Refusal(f"the response has more than one {name.decode()}")
    return None if length is None else int(length)
