"""Who reads the heads of HTTP/1.1 responses, and which parser a pool uses for it.

An engine is given one whole head at a time and says what stands in it. Where a message ends, and what its body is, no
engine decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .._errors import ProtocolReason

if TYPE_CHECKING:
    from .._types import HeaderList, HTTP1EngineChoice


#: Line ends of a head that end no field: those of the status line and the blank line.
LINES_BESIDE_FIELDS: Final = 2

# RFC 9110 §5.5 lets a recipient refuse control characters; llhttp does, and one rule must hold for every parser.
_PRINTABLE: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


class Refusal(Exception):
    """Something that the peer sent will not do; the parser turns it into an error that quotes the peer.

    Attributes:
        reason: what kind of rule it breaks.
    """

    def __init__(self, message: str, reason: ProtocolReason = ProtocolReason.FRAMING) -> None:
        super().__init__(message)
        self.reason = reason


class HTTP1Engine(Protocol):
    """Reads heads. One engine serves one pool, and so one thread.

    Attributes:
        name: as in `PoolConfig.http1_engine`.
    """

    name: str

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
        ...


def check_characters(text: bytes) -> None:
    """Check a part of a head without line ends.

    Raises:
        Refusal: there is a control character other than HTAB.
    """
    if text.translate(None, _PRINTABLE):
        raise Refusal("the head of the response has a control character")


def make_engine(choice: HTTP1EngineChoice = "auto") -> HTTP1Engine:
    """Make the engine of a pool.

    Raises:
        ImportError: httptools was asked for, and is not installed or too old.
    """
    if choice != "h11":
        try:
            from .h1_httptools import HttptoolsEngine

            return HttptoolsEngine()
        except ImportError as error:
            if choice == "httptools":
                raise ImportError("http1_engine='httptools' needs httptools 0.8 or later: penstock[fast]") from error
    from .h1_h11 import H11Engine

    return H11Engine()
