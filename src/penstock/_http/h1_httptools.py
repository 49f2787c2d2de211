"""Lines of a head read by llhttp through httptools; imported only where it was chosen.

What llhttp leaves to its user, the guards before it and the framing after it do: status and version range, limits, and
every transfer coding. It never sees a body, so it never counts one, and never sees what follows a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from .h1_engines import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import HeaderList

_STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"

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


class HttptoolsReader:
    """Reads lines with llhttp, see `LineReader`; each call with a parser of its own, which costs next to nothing."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "httptools"

    def read_status(self, line: bytes) -> tuple[int, bytes]:
        """See `LineReader.read_status`."""
        found = _Head()
        parser = HttpResponseParser(found)
        _feed(parser, line + b"\r\n\r\n")
        return parser.get_status_code(), found.reason

    def read_fields(self, lines: Sequence[bytes]) -> HeaderList:
        """See `LineReader.read_fields`."""
        found = _Head()
        _feed(HttpResponseParser(found), _STATUS_LINE + b"\r\n".join(lines) + b"\r\n\r\n")
        if len(found.fields) != len(lines):
            raise Refusal("the response is malformed: a line is no header field")
        return found.fields


def _feed(parser: HttpResponseParser, head: bytes) -> None:
    try:
        parser.feed_data(head)
    except HttpParserCallbackError as error:
        # What is called back cannot fail by itself: the user pressed Ctrl+C meanwhile.
        raise KeyboardInterrupt from error
    except (HttpParserError, HttpParserUpgrade) as error:
        raise Refusal(f"the response is malformed: {str(error)[:80]}") from error


def _probe() -> None:
    """Look whether this httptools judges as it must; the package's version says less than what it does.

    Raises:
        ImportError: it is too lenient, as before 0.6.3, or too strict, as before 0.8.
    """
    reader = HttptoolsReader()
    for field, is_good in ((b"A : b", False), (b": b", False), (b"A: b\rc", False), (b"Content-Length: 5\t", True)):
        try:
            reader.read_fields([field])
        except Refusal:
            if is_good:
                raise ImportError("httptools before 0.8 refuses a length with white space after it") from None
        else:
            if not is_good:
                raise ImportError("httptools before 0.6.3 takes what is no header field")


_probe()
