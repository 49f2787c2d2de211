"""llhttp through httptools, as a judge of lines; imported only where it was chosen.

Each question goes to a parser of its own, which costs less than half a microsecond and carries nothing over.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from .h1_judges import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._types import HeaderList


class HttptoolsJudge:
    """See `Judge`."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "httptools"

    def read_status(self, line: bytes) -> tuple[int, bytes]:
        """See `Judge.read_status`."""
        reasons: list[bytes] = []
        parser = _feed(line + b"\r\n\r\n", on_status=reasons.append)
        return parser.get_status_code(), reasons[0] if reasons else b""

    def read_fields(self, lines: list[bytes]) -> HeaderList:
        """See `Judge.read_fields`."""
        fields: HeaderList = []
        head = b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"
        _feed(head, on_header=partial(_add, fields))
        if len(fields) != len(lines):
            raise Refusal("the response is malformed: a line is no header field")
        return fields


def _add(fields: HeaderList, name: bytes, value: bytes) -> None:
    # llhttp leaves white space at the end of a value.
    fields.append((name.lower(), value.rstrip(b" \t")))


def _feed(head: bytes, **callbacks: Callable[..., object]) -> HttpResponseParser:
    parser = HttpResponseParser(SimpleNamespace(**callbacks))
    try:
        parser.feed_data(head)
    except HttpParserCallbackError as error:
        # What is called back was interrupted, or had no room: nothing that the server did.
        raise error.__context__ or KeyboardInterrupt() from error
    except (HttpParserError, HttpParserUpgrade) as error:
        raise Refusal(f"the response is malformed: {str(error)[:80]}") from error
    return parser


def _probe() -> None:
    """Look whether this httptools judges as it must; the package's version says less than what it does.

    Raises:
        ImportError: it is too lenient, as before 0.6.3, or too strict, as before 0.8.
    """
    judge = HttptoolsJudge()
    for field, is_good in (
        (b"A : b", False),
        (b": b", False),
        (b"A: b\rc", False),
        (b"A: b\x01c", False),
        (b"A: b\nC: d", False),
        (b"Content-Length: 5\t", True),
    ):
        try:
            judge.read_fields([field])
        except Refusal:
            if is_good:
                raise ImportError("httptools before 0.8 refuses a length with white space after it") from None
        else:
            if not is_good:
                raise ImportError("httptools before 0.6.3 takes what is no header field")


_probe()
