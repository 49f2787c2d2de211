"""Who judges the lines of HTTP/1.1 heads, and which parser a pool uses for it.

A judge is asked about a status line, or about fields, one line each, and says what stands there. Where a head or a
message ends, and what its body is, no judge decides; whoever asks it has checked the characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .._errors import ProtocolReason

if TYPE_CHECKING:
    from .._types import HeaderList, HTTP1EngineChoice


class Refusal(Exception):
    """Something that the peer sent will not do; the parser turns it into an error that quotes the peer.

    Attributes:
        reason: what kind of rule it breaks.
    """

    def __init__(self, message: str, reason: ProtocolReason = ProtocolReason.FRAMING) -> None:
        super().__init__(message)
        self.reason = reason


class Judge(Protocol):
    """A parser of HTTP/1.1, reduced to its grammar. One judge serves one pool, and so one thread.

    Attributes:
        name: as in `PoolConfig.http1_engine`.
    """

    name: str

    def read_status(self, line: bytes) -> tuple[int, bytes]:
        """Read a status line.

        Args:
            line: begins with "HTTP/1.1 " or "HTTP/1.0 ", and has no line end.

        Returns:
            The status and the reason phrase.

        Raises:
            Refusal: it is malformed.
        """
        ...

    def read_fields(self, lines: list[bytes]) -> HeaderList:
        """Read header fields.

        Args:
            lines: without their line ends; each is to be one field.

        Returns:
            A pair for each: its name in lower case, and its value as sent without edge white space.

        Raises:
            Refusal: one of them is no field, or goes on with the one before (a fold).
        """
        ...


def make_judge(choice: HTTP1EngineChoice = "auto") -> Judge:
    """Make the judge of a pool.

    Raises:
        ImportError: httptools was asked for, and is not installed or too old.
    """
    if choice != "h11":
        try:
            from .h1_httptools import HttptoolsJudge

            return HttptoolsJudge()
        except ImportError as error:
            if choice == "httptools":
                raise ImportError("http1_engine='httptools' needs httptools 0.8 or later: penstock[fast]") from error
    from .h1_h11 import H11Judge

    return H11Judge()
