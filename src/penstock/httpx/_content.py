"""The content of a request that is not in memory, on its way from the calling library to the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .._callers_code import CallersCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .. import PenstockError


class RequestStream:
    """What the library's stream yields.

    Args:
        stream: the library's.
        is_replayable: whether it yields the same each time that it is iterated over.

    Attributes:
        is_replayable: likewise; the pool asks for it.
    """

    __slots__ = ("_code", "_pieces", "_stream", "is_replayable")

    def __init__(self, stream: Any, *, is_replayable: bool) -> None:
        self._stream = stream
        self._pieces: AsyncIterator[bytes] | None = None
        self.is_replayable = is_replayable
        self._code = CallersCode()

    @property
    def raised(self) -> PenstockError | None:
        """The error of ours that came out of it, if one did."""
        return self._code.raised

    def __aiter__(self) -> Self:
        with self._code:
            self._pieces = aiter(self._stream)
        return self

    async def __anext__(self) -> bytes:
        assert self._pieces is not None
        with self._code:
            return await anext(self._pieces)

    async def aclose(self) -> None:
        """Finish a generator that will not be read to its end."""
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            with self._code:
                await close()


def is_replayable_form(stream: Any) -> bool:
    """Whether a library's form with files can be read again: it begins each file at its start, if the file can seek.

    What is asked here is no documented interface. Where it is not as expected, the form counts as one to be read once.
    """
    fields = getattr(stream, "fields", None)
    return isinstance(fields, list) and all(map(_is_replayable_field, fields))


def _is_replayable_field(field: object) -> bool:
    content = getattr(field, "file" if hasattr(field, "file") else "value", None)
    if isinstance(content, str | bytes):
        return True
    try:
        return content.seekable() is True  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return False
