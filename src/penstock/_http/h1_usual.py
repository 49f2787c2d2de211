"""The usual answer: all of it in one piece of bytes, with nothing odd about it.

Most answers to small requests are like that, and this is all the code that they need. What is odd in any way goes the
long way, through a `HeadParser` or a `BodyParser`. The rules are theirs; none is decided here that they do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exchange import ResponseHead
from .h1_body import NO_CONTENT, BodyParser
from .h1_guards import check_framing_fields
from .h1_head import FinalHead
from .h1_judges import Refusal

if TYPE_CHECKING:
    from .._types import HeaderList
    from .h1_lines import HTTP1Engine


class WholeBody:
    """A body that came whole with its head, on a connection that goes on; see `BodyParser`.

    Attributes:
        content: the body; None once it was taken.
    """

    __slots__ = ("content",)

    close = None
    idle_hint = None

    def __init__(self, content: bytes) -> None:
        self.content: bytes | None = content

    @property
    def ended(self) -> bool:
        """Whether the body was taken."""
        return self.content is None

    @property
    def trailers(self) -> HeaderList:
        """Empty: they come behind chunks."""
        return []

    @property
    def content_left(self) -> int:
        """Bytes of the body that were not taken yet."""
        return len(self.content or b"")

    def take_whole(self) -> bytes | None:
        """The body, if it was not taken yet."""
        content, self.content = self.content, None
        return content

    def next_piece(self) -> bytes:
        """All of it, then b""."""
        return self.take_whole() or b""


def read_at_once(
    data: bytes, method: bytes, engine: HTTP1Engine, max_size: int, max_fields: int, *, close: bool
) -> tuple[ResponseHead, WholeBody | BodyParser] | None:
    """Read a final head that is whole, and see what the body will be.

    Args:
        data: the first bytes of an answer.
        method: of the request.
        engine: reads the head, and trailers.
        max_size: bytes of head and trailers together.
        max_fields: their header fields together.
        close: whether the request said that the connection ends with it.

    Returns:
        None if it has to be looked at in the order of its bytes, which finds out what is wrong, if anything is.
    """
    size = data.find(b"\r\n\r\n") + 4
    if not 4 <= size <= max_size or not data.startswith(b"HTTP/1.1 "):
        return None
    try:
        status, reason, headers = engine.read_head(data[:size])
    except Refusal:
        return None
    if status < 200 or len(headers) > max_fields:
        return None
    fields = dict(headers)
    head = ResponseHead(status, reason, headers, "HTTP/1.1", fields)
    rest = data[size:]
    length = fields.get(b"content-length")
    if (
        length == b"%d" % len(rest)
        and len(fields) == len(headers)
        and fields.get(b"connection", b"keep-alive") == b"keep-alive"
        and not close
        and method != b"HEAD"
        and status not in NO_CONTENT
        and _ODD_FIELDS.isdisjoint(fields)
    ):
        return head, WholeBody(rest)
    try:
        announced = check_framing_fields(headers, fields)
    except Refusal:
        return None
    found = FinalHead(head, fields, announced, rest, max_size - size, max_fields - len(headers))
    return head, BodyParser(found, method, close=close, engine=engine)


#: Fields that make more of an answer than its length says.
_ODD_FIELDS = frozenset({b"transfer-encoding", b"keep-alive"})
