"""What a parser of HTTP/1.1 heads is, and which one a pool uses.

An engine is given one whole head at a time, which has passed the guards, and says what stands in it. It keeps nothing
from one head to the next that could change a verdict. Where a message ends, and what its body is, no engine decides.
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


class HTTP1Engine(Protocol):
    """Reads heads. One engine serves one pool, and so one thread.

    Attributes:
        name: as in `PoolConfig.http1_engine`.
    """

    name: str

    def parse_head(self, head: bytes) -> tuple[int, bytes, HeaderList]:
        """Read a head, from its status line to its blank line.

        Args:
            head: begins with "HTTP/1.1 " or "HTTP/1.0 ", ends with its first blank line, and has no control characters
                but HTAB and the line ends.

        Returns:
            The status, the reason phrase, and one pair for each line: its name in lower case, its value as sent
            without edge white space.

        Raises:
            Refusal: the head is malformed, or has a fold.
        """
        ...


def make_engine(choice: HTTP1EngineChoice = "auto") -> HTTP1Engine:
    """Make the engine of a pool.

    Raises:
        ImportError: httptools was asked for, and is not installed or too old.
    """
    if choice != "h11":
        try:
            from .h1_httptools import HttptoolsEngine

            return HttptoolsEngine()
        except ImportError:
            if choice == "httptools":
                raise
    from .h1_h11 import H11Engine

    return H11Engine()
