"""Heads read by llhttp through httptools; imported only where it was chosen.

What llhttp leaves to its user, the guards before it and the framing after it do: status and version range, limits, and
every transfer coding. It never sees a body, so it never counts one, and never sees what follows a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from .h1_engines import Refusal

if TYPE_CHECKING:
    from .._types import HeaderList

_NAMES_KEPT: Final = 1024
_LONGEST_NAME_KEPT: Final = 64

#: Names as servers spell them, in lower case. Bounded, because a server may make names up.
_NAMES: dict[bytes, bytes] = {}


def _lower(name: bytes) -> bytes:
    lower = name.lower()
    if len(_NAMES) < _NAMES_KEPT and len(name) <= _LONGEST_NAME_KEPT:
        _NAMES[name] = lower
    return lower


class _Head:
    """Collects what llhttp finds. A method that is not here is not called."""

    __slots__ = ("fields", "reason")

    def __init__(self) -> None:
        self.reason = b""
        self.fields: HeaderList = []

    def on_status(self, reason: bytes) -> None:
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves white space at the end of a value.
        self.fields.append((_NAMES.get(name) or _lower(name), value.rstrip(b" \t")))


class HttptoolsEngine:
    """Reads each head with a parser of its own, which costs less than half a microsecond and carries nothing over."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "httptools"

    def parse_head(self, head: bytes) -> tuple[int, bytes, HeaderList]:
        """See `HTTP1Engine.parse_head`."""
        found = _Head()
        parser = HttpResponseParser(found)
        try:
            parser.feed_data(head)
        except HttpParserCallbackError as error:
            # What is called back cannot fail by itself: the user pressed Ctrl+C meanwhile.
            raise KeyboardInterrupt from error
        except (HttpParserError, HttpParserUpgrade) as error:
            raise Refusal(f"the response is malformed: {str(error)[:80]}") from error
        if len(found.fields) != head.count(b"\r\n") - 2:
            raise Refusal("the response is malformed: a line is no header field")
        return parser.get_status_code(), found.reason, found.fields


def _probe() -> None:
    """Look whether this httptools judges as it must; the package's version says less than what it does.

    Raises:
        ImportError: it is too lenient, as before 0.6.3, or too strict, as before 0.8.
    """
    engine = HttptoolsEngine()
    for field, is_good in ((b"A : b", False), (b": b", False), (b"A: b\rc", False), (b"Content-Length: 5\t", True)):
        try:
            engine.parse_head(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n")
        except Refusal:
            if is_good:
                raise ImportError("httptools before 0.8 refuses a length with white space after it") from None
        else:
            if not is_good:
                raise ImportError("httptools before 0.6.3 takes what is no header field")


_probe()
