"""What `Client.json_lines` returns: the values of an answer of JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .stream_kinds import StreamKind, check_answer
from .streams import StreamContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .call import Call
    from .response import Response


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
        await check_answer(response, StreamKind.JSON_LINES)
        return JSONLineStream(response)

    async def __aexit__(self, *error: object) -> None:
        await self._stream.__aexit__()  # noqa: ASYNC102 - releases before it waits
