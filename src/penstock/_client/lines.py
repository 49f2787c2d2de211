"""Lines out of text that arrives in pieces."""

from __future__ import annotations

from .._errors import ProtocolReason, RemoteProtocolError

#: The longest line a server may send, in characters; what one event stream's event may hold, too.
MAX_LINE_LENGTH = 16 * 1024 * 1024


class LineSplitter:
    """Splits at LF, CR and CRLF only, in linear time and bounded memory.

    `str.splitlines` would also split at U+2028 and form feeds, which JSON may hold unescaped.

    A line is given out as soon as its CR is there: an LF that follows in the next piece is swallowed.
    """

    __slots__ = ("_length", "_limit", "_parts", "_skip_lf")

    def __init__(self, limit: int = MAX_LINE_LENGTH) -> None:
        self._limit = limit
        self._parts: list[str] = []
        self._length = 0
        self._skip_lf = False

    def feed(self, text: str) -> list[str]:
        """The lines that `text` completes, without their ends.

        Raises:
            RemoteProtocolError: a line is longer than the limit.
        """
        if self._skip_lf and text.startswith("\n"):
            text = text[1:]
            self._skip_lf = False
        if not text:
            return []
        self._skip_lf = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        self._check_length(self._length + len(lines[0]))
        if len(lines) > 1:
            lines[0] = "".join((*self._parts, lines[0]))
            self._parts.clear()
            self._length = 0
            self._check_length(max(map(len, lines)))
        rest = lines.pop()
        if rest:
            self._parts.append(rest)
            self._length += len(rest)
        return lines

    def finish(self) -> list[str]:
        """The last line, if it had no end."""
        rest = "".join(self._parts)
        self._parts.clear()
        self._length = 0
        return [rest] if rest else []

    def _check_length(self, length: int) -> None:
        if length > self._limit:
            raise RemoteProtocolError(
                f"the server sent a line longer than {self._limit} characters", reason=ProtocolReason.LIMIT
            )
