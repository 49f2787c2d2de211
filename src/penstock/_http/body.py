"""The body of a request: what a caller may pass, and how it is read piece by piece.

A body knows its length or it is sent chunked. A regular file up to 1 MiB is read in the event loop, because its pages
are likely in memory and a hop to a thread costs more than the read; anything larger, and anything whose length is not
known (a pipe may block), is read in a worker thread. A plain iterable runs in the event loop: it must not block.

Only the end of a source ends a body: anything but bytes in its place is a mistake, and must not pass for a whole body.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast

import trio

from .._callers_code import CallersCode
from .._errors import LocalProtocolError, StreamConsumed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._errors import PenstockError

    Piece = bytes | bytearray | memoryview
    Content = bytes | bytearray | memoryview | str | Iterable[bytes] | AsyncIterable[bytes] | BinaryIO | None

#: A body up to this size travels in the same write as the head: copying it costs less than a second system call.
COALESCE = 65536

#: Pieces of a file; large enough that the per-piece cost vanishes, small enough for 200 uploads at once.
FILE_PIECE = 262144

#: Up to this size a file is read in the event loop.
READ_IN_LOOP = 1 << 20

#: Files read in threads at once. A pipe may keep its thread for ever; it must not take those of the whole program.
READING_THREADS = 32


class RequestBody(Protocol):
    """A request body that can be read at least once.

    Attributes:
        length: in bytes, None where it is not known in advance.
        is_replayable: whether it can be sent a second time on another connection.
        small: the whole body where it is small enough to travel with the head, else None.
        raised: the error of ours that came out of the caller's own code, if one did.
    """

    length: int | None
    is_replayable: bool
    small: bytes | None

    @property
    def raised(self) -> PenstockError | None: ...

    def restart(self) -> None:
        """Begin (again) at the first byte.

        Raises:
            LocalProtocolError: the body was read before and cannot be read twice.
        """
        ...

    async def next_piece(self) -> Piece | None:
        """The next piece, None at the end. Whatever the caller's iterator raises comes out as itself.

        Raises:
            LocalProtocolError: the source yielded something that is not bytes.
        """
        ...

    async def aclose(self) -> None:
        """Finish a generator that will not be read to its end; does nothing to other sources."""
        ...


class BytesBody:
    """A body that is in memory."""

    __slots__ = ("_content", "_taken", "is_replayable", "length", "small")

    raised: Final = None

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._taken = False
        self.length: int | None = len(content)
        self.is_replayable = True
        self.small = content if len(content) <= COALESCE else None

    def restart(self) -> None:
        self._taken = False

    async def next_piece(self) -> Piece | None:
        if self._taken or not self._content:
            return None
        self._taken = True
        return memoryview(self._content)

    async def aclose(self) -> None:
        pass


class FileBody:
    """A file opened for reading bytes; it is read from where it stands, and stays open."""

    __slots__ = ("_code", "_file", "_in_thread", "_left", "_start", "_used", "is_replayable", "length", "small")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start, self.length = _measure(file)
        self._left = self.length
        self._in_thread = self.length is None or (self.length > READ_IN_LOOP and not isinstance(file, io.BytesIO))
        self._used = False
        self.is_replayable = self._start is not None
        self.small: bytes | None = None
        self._code = CallersCode()

    @property
    def raised(self) -> PenstockError | None:
        return self._code.raised

    def restart(self) -> None:
        if self._start is not None:
            with self._code:
                self._file.seek(self._start)
        elif self._used:
            raise LocalProtocolError("the request body is a file that cannot seek, and was read before", phase="write")
        self._used = True
        self._left = self.length

    async def next_piece(self) -> Piece | None:
        # A file that grows meanwhile is cut at the announced length.
        size = FILE_PIECE if self._left is None else min(FILE_PIECE, self._left)
        if size == 0:
            return None
        # A pipe may never answer, so its read is left behind. One of a file with a position ends soon, and is waited
        # for: it would move the position under whoever reads the file next.
        read = self._file.read
        with self._code:
            read_piece = await _read_in_thread(read, size, self._start is None) if self._in_thread else read(size)
        piece = _check(read_piece)
        if self._left is not None:
            self._left -= len(piece)
        return piece or None

    async def aclose(self) -> None:
        pass


class IterableBody:
    """Pieces from a plain iterable, which must not block. A list or tuple can be sent again, a generator cannot."""

    __slots__ = ("_code", "_iterator", "_source", "is_replayable", "length", "small")

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = source
        self._iterator: Iterator[bytes] | None = None
        self.length: int | None = None
        self.is_replayable = isinstance(source, list | tuple)
        self.small: bytes | None = None
        self._code = CallersCode()

    @property
    def raised(self) -> PenstockError | None:
        return self._code.raised

    def restart(self) -> None:
        if self._iterator is not None and not self.is_replayable:
            raise LocalProtocolError("the request body is an iterator, and was read before", phase="write")
        with self._code:
            self._iterator = iter(self._source)

    async def next_piece(self) -> Piece | None:
        assert self._iterator is not None
        with self._code:
            piece = next(self._iterator, _END)
        return None if piece is _END else _check(piece)

    async def aclose(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            with self._code:
                close()


class AsyncIterableBody:
    """Pieces from an async iterable; it is read once, unless it says that it `is_replayable`."""

    __slots__ = ("_code", "_iterator", "_source", "is_replayable", "length", "small")

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._source = source
        self._iterator: AsyncIterator[bytes] | None = None
        self.length: int | None = None
        self.is_replayable = getattr(source, "is_replayable", False) is True
        self.small: bytes | None = None
        self._code = CallersCode()

    @property
    def raised(self) -> PenstockError | None:
        return self._code.raised

    def restart(self) -> None:
        if self._iterator is not None and not self.is_replayable:
            raise LocalProtocolError("the request body is an async iterator, and was read before", phase="write")
        with self._code:
            self._iterator = aiter(self._source)

    async def next_piece(self) -> Piece | None:
        assert self._iterator is not None
        try:
            with self._code:
                piece = await anext(self._iterator)
        except StopAsyncIteration:
            return None
        return _check(piece)

    async def aclose(self) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            with self._code:
                await close()


def make_body(content: Content) -> RequestBody:
    """Wrap what a caller passed as content.

    Args:
        content: bytes-like objects and str (sent as UTF-8) are copied; a binary file is read from its position; an
            iterable or async iterable of bytes is sent chunked unless a Content-Length header announces its length. An
            async iterable with an attribute `is_replayable` that is True yields the same each time it is iterated over.

    Raises:
        TypeError: the content is none of these.
        StreamConsumed: it is a generator that has ended, which would pass for an empty body.
    """
    if content is None:
        return BytesBody(b"")
    if isinstance(content, bytes):
        return BytesBody(content)
    if isinstance(content, str):
        return BytesBody(content.encode("utf-8"))
    if isinstance(content, bytearray | memoryview):
        return BytesBody(bytes(content))
    if hasattr(content, "read"):
        if isinstance(content, io.TextIOBase):
            raise TypeError("content must be a file opened in binary mode, not in text mode")
        if not isinstance(content, AsyncIterable):
            return FileBody(cast("BinaryIO", content))
    if isinstance(content, AsyncIterable):
        _check_not_ended(content, "ag_frame")
        return AsyncIterableBody(content)
    if isinstance(content, Iterable) and not isinstance(content, Mapping):
        _check_not_ended(content, "gi_frame")
        return IterableBody(content)
    raise TypeError(
        f"content must be bytes, str, a binary file or an (async) iterable of bytes, not {type(content).__name__}"
    )


_END: Final = object()

_reading_threads: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("penstock_reading_threads")


def _check_not_ended(generator: object, frame: str) -> None:
    """A generator keeps a frame until it has ended; what has none of that name is no generator."""
    if getattr(generator, frame, generator) is None:
        raise StreamConsumed("the content is a generator that has ended: it was sent, or given up, before")


def _check(piece: object) -> Piece:
    if isinstance(piece, bytes | bytearray | memoryview):
        if isinstance(piece, memoryview) and not piece.c_contiguous:
            raise LocalProtocolError("the request body yielded a memoryview that is not contiguous", phase="write")
        return piece
    raise LocalProtocolError(f"the request body must yield bytes, not {type(piece).__name__}", phase="write")


async def _read_in_thread(read: Callable[[int], bytes], size: int, may_be_left_behind: bool) -> bytes:
    try:
        limiter = _reading_threads.get()
    except LookupError:
        limiter = trio.CapacityLimiter(READING_THREADS)
        _reading_threads.set(limiter)
    return await trio.to_thread.run_sync(read, size, abandon_on_cancel=may_be_left_behind, limiter=limiter)


def _measure(file: Any) -> tuple[int | None, int | None]:
    """Position and remaining length of a file, None where they cannot be known."""
    try:
        start = int(file.tell())
        end = int(file.seek(0, os.SEEK_END))
        file.seek(start)
    except (AttributeError, OSError, ValueError):
        return None, None
    return start, max(end - start, 0)
