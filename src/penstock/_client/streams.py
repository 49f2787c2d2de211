"""The contexts that `Client.stream` and `Client.sse` return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .._errors import ProtocolReason, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .._http.sse import ServerSentEvent
    from .call import Call
    from .iterators import EventIterator
    from .response import Response

#: How much of an answer that is no event stream is kept for the error.
ERROR_BODY_LIMIT = 65536


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
            raise RuntimeError("this stream was opened before; call client.stream again")
        self._response = await self._open(call)
        return self._response

    async def __aexit__(self, *error: object) -> None:
        assert self._response is not None
        await self._response.aclose()


class EventStream:
    """The events of one answer, in order; iterate over it once.

    Attributes:
        response: the answer that carries them.
    """

    __slots__ = ("_events", "response")

    def __init__(self, response: Response) -> None:
        self.response = response
        self._events: EventIterator = response.aiter_sse()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, ServerSentEvent]:
        return self._events.__anext__()

    async def aclose(self) -> None:
        """Give up what is left; as `Response.aclose`."""
        await self.response.aclose()


class EventStreamContext:
    """`async with` it once to get the events; leaving the block closes the response."""

    __slots__ = ("_stream",)

    def __init__(self, open_stream: Callable[[Call], Awaitable[Response]], call: Call) -> None:
        self._stream = StreamContext(open_stream, call)

    async def __aenter__(self) -> EventStream:
        response = await self._stream.__aenter__()
        try:
            await _check_answer(response)
        except BaseException:
            await self._stream.__aexit__()  # noqa: ASYNC102 - releases before it waits
            raise
        return EventStream(response)

    async def __aexit__(self, *error: object) -> None:
        await self._stream.__aexit__()  # noqa: ASYNC102 - releases before it waits


async def _check_answer(response: Response) -> None:
    """Refuse what is no event stream (the HTML standard §9.2.2), with the start of what it is."""
    content_type = response.headers.get("content-type", "")
    essence = content_type.partition(";")[0].strip().lower()
    if response.is_success and essence == "text/event-stream":
        return
    content = await response._read_start(ERROR_BODY_LIMIT)
    if not response.is_success:
        response.raise_for_status()
    raise RemoteProtocolError(
        f"the answer is {essence[:64]!r}, not text/event-stream",
        reason=ProtocolReason.CONTENT_TYPE,
        peer_said=content,
        origin=response._call.url.origin,
    )
