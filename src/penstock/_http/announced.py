"""Content against the length that was told before it.

A server takes what is beyond it for the next request, and waits for what is missing (RFC 9112 §6.3).
"""

from __future__ import annotations

from .._errors import LocalProtocolError


class AnnouncedLength:
    """Counts content while it is sent.

    Args:
        length: in bytes; None if none was told, so that any will do.
        whose: what has it, for errors.
        how: how it was told, likewise.
    """

    __slots__ = ("_how", "_left", "_length", "_whose")

    def __init__(self, length: int | None, whose: str = "the request body", how: str = "announced") -> None:
        self._length = self._left = length
        self._whose = whose
        self._how = how

    def take(self, size: int) -> None:
        """So many bytes are about to be sent.

        Raises:
            LocalProtocolError: they are more than was told.
        """
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise self._mismatch("more")

    def end(self) -> None:
        """That was all.

        Raises:
            LocalProtocolError: it was less than was told.
        """
        if self._left:
            raise self._mismatch("fewer")

    def _mismatch(self, word: str) -> LocalProtocolError:
        return LocalProtocolError(f"{self._whose} has {word} than the {self._length} bytes {self._how}", phase="write")
