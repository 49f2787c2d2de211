"""A body of several parts, multipart/form-data (RFC 7578): what a form with files sends.

Each part is a head of ours before a body as any other, so that a file in it is read a piece at a time.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from .._errors import LocalProtocolError
from .announced import AnnouncedLength
from .body import COALESCE, BytesBody
from .parts import file_parts, text_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._errors import PenstockError
    from .body import Piece, RequestBody
    from .parts import Files, Part

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=?]{1,70}")


class MultipartBody:
    """Parts between boundaries.

    Its length is known where that of every part is, and it can be sent again where every part can.
    """

    __slots__ = ("_begun", "_bodies", "_index", "_told", "is_replayable", "length", "small")

    def __init__(self, bodies: list[RequestBody]) -> None:
        self._bodies = bodies
        self._index = -1
        self._told = AnnouncedLength(None)
        self._begun = False
        lengths = [body.length for body in bodies]
        self.length: int | None = None if None in lengths else sum(filter(None, lengths))
        self.is_replayable = all(body.is_replayable for body in bodies)
        self.small: bytes | None = None

    @property
    def raised(self) -> PenstockError | None:
        """The error of ours that came out of the part that is being read; no other is read after it."""
        return self._bodies[self._index].raised if 0 <= self._index < len(self._bodies) else None

    def restart(self) -> None:
        if self._begun and not self.is_replayable:
            raise LocalProtocolError("a part of the request body can be read once, and was read before", phase="write")
        self._begun = True
        self._index = -1

    async def next_piece(self) -> Piece | None:
        while self._index < len(self._bodies):
            if self._index >= 0:
                piece = await self._bodies[self._index].next_piece()
                if piece is not None:
                    self._told.take(memoryview(piece).nbytes)
                    return piece
                self._told.end()
                await self._bodies[self._index].aclose()
            self._begin_next()
        return None

    def _begin_next(self) -> None:
        self._index += 1
        if self._index < len(self._bodies):
            body = self._bodies[self._index]
            # Not before its turn: two parts may read one file, each from where it stood.
            body.restart()
            # A part that has not its length would shift the content of those behind it, or be taken for whole.
            self._told = AnnouncedLength(body.length, "a part of the request body", "it had")

    async def aclose(self) -> None:
        if 0 <= self._index < len(self._bodies):
            await self._bodies[self._index].aclose()


def make_multipart(
    fields: Iterable[tuple[str, str]], files: Files, *, boundary: bytes | None = None
) -> tuple[RequestBody, bytes]:
    """Put a form with files together.

    Args:
        fields: names and texts, which come first.
        files: names, and for each what is sent under it; see `Client.request`.
        boundary: what separates the parts; 128 random bits if None, so that no content can hold it.

    Returns:
        The body, and the Content-Type that names its boundary.

    Raises:
        TypeError: a file is none of what may be passed.
        ValueError: a name or a file name cannot be sent; there is no part; one iterator is in two.
        LocalProtocolError: a content type or a header of a part must not be sent.
    """
    boundary = secrets.token_hex(16).encode() if boundary is None else boundary
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(f"boundary must be 1 to 70 characters that need no escape, not {boundary!r}")
    parts = [text_part(name, text) for name, text in fields] + file_parts(files)
    if not parts:
        raise ValueError("files: a multipart body needs at least one part")
    return _join(parts, boundary), b"multipart/form-data; boundary=" + _quote_boundary(boundary)


def _join(parts: Sequence[Part], boundary: bytes) -> RequestBody:
    """Small content goes into one piece with what surrounds it."""
    bodies: list[RequestBody] = []
    pending = b""
    for part in parts:
        pending += b"--%b\r\n%b\r\n" % (boundary, part.head)
        if part.body.small is not None and len(pending) + len(part.body.small) <= COALESCE:
            pending += part.body.small
        else:
            bodies += [BytesBody(pending), part.body]
            pending = b""
        pending += b"\r\n"
    pending += b"--%b--\r\n" % boundary
    if not bodies:
        return BytesBody(pending)
    return MultipartBody([*bodies, BytesBody(pending)])


def _quote_boundary(boundary: bytes) -> bytes:
    """RFC 2046 §5.1.1: a boundary that is no token stands in quotes."""
    return boundary if re.fullmatch(rb"[0-9A-Za-z'+_.\-]+", boundary) else b'"%b"' % boundary
