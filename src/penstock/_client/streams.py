"""The context that `Client.stream` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .call import Call
    from .response import Response


class StreamContext:
    """`async with` it once to get the response; leaving the block closes that."""

    __slots__ = ("_call", "_open", "_response")

    def __init__(self, open_stream: Callable[[Call], Awaitable[Response]], call: Call) -> None:
        self._open = open_stream
        self._call: Call | None = call
        self._response: Response | None = None

    async def __aenter__(self) -> Response:
        call, self._call = self._call, None
        if call is None:
            raise RuntimeError("this stream was opened before; call the client's method again")
        self._response = await self._open(call)
        return self._response

    async def __aexit__(self, *error: object) -> None:
        assert self._response is not None
        await self._response.aclose()
