"""JSON lines: one value in each line of a body, given out as its line ends."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

from .._errors import DecodingError, ProtocolReason, RemoteProtocolError
from .lines import MAX_LINE_LENGTH
from .stream_kinds import StreamKind, check_answer
from .streams import StreamContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .call import Call
    from .iterators import PieceSource
    from .response import Response

_BOM: Final = b"\xef\xbb\xbf"


class JSONLineIterator:
    """The values of a body of JSON lines.

    Lines end at LF and nowhere else: a lone CR is white space inside a value (RFC 8259 §2).
    """

    __slots__ = ("_call", "_is_over", "_limit", "_line", "_loads", "_number", "_ready", "_source")

    def __init__(
        self,
        source: PieceSource,
        call: Call,
        loads: Callable[[bytes], Any],
        *,
        limit: int = MAX_LINE_LENGTH,
    ) -> None:
        self._source = source
        self._call = call
        self._loads = loads
        self._limit = limit
        self._line = bytearray()
        self._ready: deque[bytes] = deque()
        self._number = 0
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while True:
            while not self._ready:
                if self._is_over:
                    raise StopAsyncIteration
                self._take(await self._source.next_decoded())
            line = self._ready.popleft()
            self._number += 1
            if self._number == 1:
                line = line.removeprefix(_BOM)
            if line and not line.isspace():
                return self._read(line)

    def _take(self, piece: bytes) -> None:
        """Cut a piece into lines; every byte is looked at once."""
        if not piece:
            self._is_over = True
            self._ready.append(bytes(self._line))
            self._line.clear()
            return
        first, *others = piece.split(b"\n")
        if len(self._line) + len(first) > self._limit or (others and max(map(len, others)) > self._limit):
            error = RemoteProtocolError(
                f"the server sent a line longer than {self._limit} bytes", reason=ProtocolReason.LIMIT
            )
            self._source.fail(error)
            raise error
        self._line += first
        if others:
            self._ready.append(bytes(self._line))
            self._line[:] = others.pop()
            self._ready.extend(others)

    def _read(self, line: bytes) -> Any:
        try:
            return self._loads(line)
        except (ValueError, RecursionError) as error:
            what = "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON: {error}"
            refusal = DecodingError(
                f"line {self._number} of the body of {self._call} {what}", origin=self._call.url.origin, phase="read"
            )
            refusal.line = self._number
            raise refusal from error


class JSONLineStream:
    """The values of one answer of JSON lines, in order; iterate over it once.

    Attributes:
        response: the answer that carries them.
    """

    __slots__ = ("_values", "response")

    def __init__(self, response: Response) -> None:
        self.response = response
        self._values = response.aiter_json_lines()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        return self._values.__anext__()

    async def aclose(self) -> None:
        """Give up what is left; as `Response.aclose`."""
        await self.response.aclose()


class JSONLineStreamContext:
    """`async with` it once to get the values; leaving the block closes the response."""

    __slots__ = ("_stream",)

    def __init__(self, open_stream: Callable[[Call], Awaitable[Response]], call: Call) -> None:
        self._stream = StreamContext(open_stream, call)

    async def __aenter__(self) -> JSONLineStream:
        response = await self._stream.__aenter__()
        try:
            await check_answer(response, StreamKind.JSON_LINES)
        except BaseException:
            await self._stream.__aexit__()  # noqa: ASYNC102 - releases before it waits
            raise
        return JSONLineStream(response)

    async def __aexit__(self, *error: object) -> None:
        await self._stream.__aexit__()  # noqa: ASYNC102 - releases before it waits
