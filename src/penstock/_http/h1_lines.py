"""Heads read line by line, and each line by its judge once.

A parser judges every line of a head by itself: only several Content-Length or Transfer-Encoding fields concern each
other, and those the framing refuses whatever a judge says. So a line that was accepted is remembered with what was said
of it, and most lines of most answers are the same as in the answer before.

Of a line, a judge looks at the name and at the characters of the value. Which characters may stand in a head is checked
here, more strictly, so a name that was accepted needs no second opinion, whatever its value; except where a
parser may refuse a value for what it says. What is remembered can only accept: every refusal is a judge's own, or ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from .._secrets import is_secret
from .h1_judges import Refusal, make_judge

if TYPE_CHECKING:
    from .._types import HeaderList, HTTP1EngineChoice
    from .h1_judges import Judge

#: An API's answers have a dozen lines that come back, and a few that never do.
_LINES_KEPT: Final = 512
_LONGEST_LINE_KEPT: Final = 256

_NAMES_KEPT: Final = 512
_LONGEST_NAME_KEPT: Final = 64

#: A parser may refuse a value of these for what it says.
_FRAMING: Final = (b"content-length", b"transfer-encoding")

# RFC 9110 §5.5 lets a recipient refuse control characters; llhttp does, and one rule must hold for every parser.
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Digits of a Content-Length that is surely good.
_USUAL_LENGTH: Final = 15


class HTTP1Engine:
    """Reads heads. One engine serves one pool, and so one thread.

    Args:
        judge: is asked about what is new.

    Attributes:
        name: of the judge, as in `PoolConfig.http1_engine`.
    """

    __slots__ = ("_fields", "_judge", "_names", "_secret_names", "_statuses", "name")

    def __init__(self, judge: Judge) -> None:
        self.name = judge.name
        self._judge = judge
        self._statuses: dict[bytes, tuple[int, bytes]] = {}
        self._fields: dict[bytes, tuple[bytes, bytes]] = {}
        # As servers spell them, with what they are in lower case; and those of them whose values are not to be kept.
        self._names: dict[bytes, bytes] = {}
        self._secret_names: set[bytes] = set()

    def read_head(self, head: bytes) -> tuple[int, bytes, HeaderList]:
        """Read a head, from its status line to its blank line.

        Args:
            head: begins with "HTTP/1.1 " or "HTTP/1.0 ", and ends with its first blank line.

        Returns:
            The status, the reason phrase, and one pair for each field: its name in lower case, its value as sent
            without edge white space.

        Raises:
            Refusal: the head is malformed, has a fold or a control character, or a line feed without its CR.
        """
        lines = head[:-4].split(b"\r\n")
        status_line = lines.pop(0)
        status, reason = self._statuses.get(status_line) or self._read_status(status_line)
        fields: list[Any] = list(map(self._fields.get, lines))
        if None in fields:
            self._read_missing(lines, fields)
        return status, reason, fields

    def _read_status(self, line: bytes) -> tuple[int, bytes]:
        _check_characters(line)
        known = self._judge.read_status(line)
        if len(self._statuses) >= _LINES_KEPT:
            self._statuses.clear()
        if len(line) <= _LONGEST_LINE_KEPT:
            self._statuses[line] = known
        return known

    def _read_missing(self, lines: list[bytes], fields: list[Any]) -> None:
        """Fill the gaps in `fields`, by asking the judge where a name is new."""
        unknown = []
        for at, pair in enumerate(fields):
            if pair is None:
                line = lines[at]
                _check_characters(line)
                raw_name, colon, value = line.partition(b":")
                name = self._names.get(raw_name) if colon else None
                if name is None or (name in _FRAMING and not _is_usual_length(name, value)):
                    unknown.append(at)
                else:
                    fields[at] = self._keep(line, (name, value.strip(b" \t")), secret=name in self._secret_names)
        if unknown:
            self._ask(unknown, lines, fields)

    def _ask(self, unknown: list[int], lines: list[bytes], fields: list[Any]) -> None:
        names = self._names
        if len(names) >= _NAMES_KEPT:
            names.clear()
            self._secret_names.clear()
        for at, pair in zip(unknown, self._judge.read_fields([lines[at] for at in unknown]), strict=True):
            name = pair[0]
            secret = is_secret(name)
            fields[at] = self._keep(lines[at], pair, secret=secret)
            raw_name = lines[at].partition(b":")[0]
            if len(names) < _NAMES_KEPT and len(raw_name) <= _LONGEST_NAME_KEPT:
                names[raw_name] = name
                if secret:
                    self._secret_names.add(name)

    def _keep(self, line: bytes, pair: tuple[bytes, bytes], *, secret: bool) -> tuple[bytes, bytes]:
        """Remember a line, unless it is long or may be secret, as the query in a Location may."""
        if not secret and len(line) <= _LONGEST_LINE_KEPT and b"?" not in line:
            if len(self._fields) >= _LINES_KEPT:
                # Most of them were never seen again. Those that are will be back with the next answer.
                self._fields.clear()
            self._fields[line] = pair
        return pair


def _check_characters(line: bytes) -> None:
    if _CONTROL.search(line):
        raise Refusal("the head of the response has a control character")


def _is_usual_length(name: bytes, value: bytes) -> bool:
    digits = value.strip(b" \t")
    return name == b"content-length" and digits.isdigit() and len(digits) <= _USUAL_LENGTH


def make_engine(choice: HTTP1EngineChoice = "auto") -> HTTP1Engine:
    """Make the engine of a pool.

    Raises:
        ImportError: httptools was asked for, and is not installed or too old.
    """
    return HTTP1Engine(make_judge(choice))
