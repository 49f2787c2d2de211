"""Heads read by llhttp through httptools; imported only where it was chosen.

What llhttp leaves to its user, the guards and the framing around it do: status and version range, limits, and
every transfer coding. It never sees a body, so it never counts one, and never sees what follows a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from .h1_engines import LINES_BESIDE_FIELDS, Refusal, check_characters

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._types import HeaderList

#: There is no white space but SP and HTAB in what llhttp has accepted.
_strip_end: Final = bytes.rstrip

_NAMES_KEPT: Final = 1024
_LONGEST_NAME_KEPT: Final = 64

#: Names as servers spell them, in lower case. Bounded, because a server may make names up.
_NAMES: dict[bytes, bytes] = {}


def _lower(name: bytes) -> bytes:
    lower = name.lower()
    if len(_NAMES) >= _NAMES_KEPT:
        _NAMES.clear()
    if len(name) <= _LONGEST_NAME_KEPT:
        _NAMES[name] = lower
    return lower


class _Callbacks:
    """What llhttp calls back. A method that is not there is not called; one that is part of C costs no frame."""

    __slots__ = ("on_header", "on_status")

    def __init__(self, on_status: Callable[[bytes], object], on_header: Callable[[bytes, bytes], object]) -> None:
        self.on_status = on_status
        self.on_header = on_header


class HttptoolsEngine:
    """Reads each head with a parser of its own, which costs less than half a microsecond and carries nothing over."""

    __slots__ = ("_callbacks", "_fields", "_reasons", "name")

    def __init__(self) -> None:
        self.name = "httptools"
        # Empty whenever no head is being read.
        self._reasons: list[bytes] = []
        self._fields: dict[bytes, bytes] = {}
        self._callbacks = _Callbacks(self._reasons.append, self._fields.__setitem__)

    def read_head(self, head: bytes) -> tuple[int, bytes, HeaderList]:
        """See `HTTP1Engine.read_head`."""
        reasons, fields = self._reasons, self._fields
        try:
            parser = HttpResponseParser(self._callbacks)
            parser.feed_data(head)
            reason = reasons[0] if reasons else b""
            if reason != b"OK":
                # Here llhttp takes any character; in fields it refuses what it must.
                check_characters(reason)
            count = head.count(b"\n") - LINES_BESIDE_FIELDS
            names = list(map(_NAMES.get, fields))
            if len(names) != count or None in names:
                return parser.get_status_code(), reason, _read_one_by_one(head, count)
            # llhttp leaves white space at the end of a value.
            values = map(_strip_end, fields.values())
            return parser.get_status_code(), reason, list(zip(names, values, strict=True))  # type: ignore[arg-type]
        except (HttpParserError, HttpParserUpgrade) as error:
            raise _explain(error) from error
        finally:
            reasons.clear()
            fields.clear()


def _explain(error: Exception) -> BaseException:
    if isinstance(error, HttpParserCallbackError):
        # What is called back was interrupted, or had no room: nothing that the server did.
        return error.__context__ or KeyboardInterrupt()
    return Refusal(f"the response is malformed: {str(error)[:80]}")


def _read_one_by_one(head: bytes, count: int) -> HeaderList:
    """The fields of a head that llhttp has accepted, where several have one name, or one has a new name."""
    fields: HeaderList = []

    def on_header(name: bytes, value: bytes) -> None:
        fields.append((_NAMES.get(name) or _lower(name), _strip_end(value)))

    HttpResponseParser(_Callbacks(len, on_header)).feed_data(head)
    if len(fields) != count:
        raise Refusal("the response is malformed: a line is no header field")
    return fields


def _probe() -> None:
    """Look whether this httptools judges as it must; the package's version says less than what it does.

    Raises:
        ImportError: it is too lenient, as before 0.6.3, or too strict, as before 0.8.
    """
    engine = HttptoolsEngine()
    for field, is_good in (
        (b"A : b", False),
        (b": b", False),
        (b"A: b\rc", False),
        (b"A: b\x01c", False),
        (b"A: b\nC: d", False),
        (b"Content-Length: 5\t", True),
    ):
        try:
            engine.read_head(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n")
        except Refusal:
            if is_good:
                raise ImportError("httptools before 0.8 refuses a length with white space after it") from None
        else:
            if not is_good:
                raise ImportError("httptools before 0.6.3 takes what is no header field")


_probe()
