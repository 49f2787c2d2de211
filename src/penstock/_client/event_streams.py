"""What `Client.sse` returns: the events of an answer, and of those that go on where it broke off."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import trio

from .._core.timers import INF
from .._errors import (
    HTTPStatusError,
    LocalProtocolError,
    ProtocolReason,
    ReadTimeout,
    RemoteProtocolError,
    StreamClosed,
    TransportError,
)
from .reconnect import is_interruption
from .stream_kinds import StreamKind, check_answer
from .streams import StreamContext

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._http.sse import ServerSentEvent
    from .call import Call
    from .reconnect import Reconnect
    from .response import Response


#: The longest Last-Event-ID that is sent: about what servers take of all fields together.
MAX_ID_SIZE: Final = 8192


class StreamOpener(Protocol):
    """Has a call answered, with its body still to come."""

    def __call__(self, call: Call, total_at: float | None = None) -> Coroutine[Any, Any, Response]:
        """The total limit ends at `total_at` if that is not None, and else counts from now."""
        ...


class EventStream:
    """The events of one answer, in order; iterate over it once.

    With `reconnect`, the events of the answers that follow are part of the same iteration.

    Attributes:
        response: the answer that carries them; after a reconnection, the latest.
    """

    __slots__ = ("_event_timeout", "_events", "response")

    def __init__(self, response: Response, *, event_timeout: float | None) -> None:
        self.response = response
        self._event_timeout = event_timeout
        self._events = response._iterate_events(event_timeout, last_event_id=_asked_from(response._call))

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, ServerSentEvent]:
        return self._events.__anext__()

    @property
    def last_event_id(self) -> str:
        """The last event id as of the latest event that was given out: what to send as Last-Event-ID to go on."""
        return self._events.last_event_id

    @property
    def retry(self) -> int | None:
        """The reconnection time that the server set last, in milliseconds; None if it set none. At most a day."""
        return self._events.retry

    async def aclose(self) -> None:
        """Give up what is left; as `Response.aclose`."""
        await self.response.aclose()


class StreamState(Enum):
    """What becomes of a stream that is asked for again."""

    GOES_ON = "when its answer ends, another is asked for"
    ENDS = "with its answer"
    CLOSED = "by its user"


class Reconnections:
    """How a stream is asked for once more.

    Args:
        call: the first request, without a retry policy and its idempotency key.
        open_stream: has it answered.
        policy: how often and how soon.
        chance: a random number from 0 to 1.
        pause: waits so many seconds; False if the pool's end ended the wait.
    """

    __slots__ = ("call", "chance", "open", "pause", "policy")

    def __init__(
        self,
        call: Call,
        open_stream: StreamOpener,
        policy: Reconnect,
        *,
        chance: Callable[[], float],
        pause: Callable[[float], Coroutine[Any, Any, bool]],
    ) -> None:
        self.call = call
        self.open = open_stream
        self.policy = policy
        self.chance = chance
        self.pause = pause


class ReconnectingEventStream(EventStream):
    """An event stream that asks again when it ends or breaks off (the HTML standard §9.2.3)."""

    __slots__ = ("_again", "_asking", "_attempts", "_state", "_total_at")

    def __init__(
        self, response: Response, again: Reconnections, *, event_timeout: float | None, total_at: float
    ) -> None:
        super().__init__(response, event_timeout=event_timeout)
        self._again = again
        self._total_at = total_at
        self._attempts = 0
        self._state = StreamState.ENDS if response.status_code == 204 else StreamState.GOES_ON
        # Entered while it is asked again.
        self._asking: trio.CancelScope | None = None

    async def __anext__(self) -> ServerSentEvent:
        while True:
            broke: TransportError | None = None
            try:
                event = await self._events.__anext__()
            except StopAsyncIteration:
                if self._state is not StreamState.GOES_ON:
                    raise
            except TransportError as error:
                if self._state is not StreamState.GOES_ON or not self._is_interruption(error):
                    raise
                broke = error
            else:
                self._attempts = 0
                return event
            await self._ask_again(broke)

    async def aclose(self) -> None:
        """Give up what is left, and ask no more; as `Response.aclose`."""
        self._state = StreamState.CLOSED
        if self._asking is not None:
            self._asking.cancel()
        await super().aclose()

    async def _ask_again(self, broke: TransportError | None) -> None:
        """Open the stream again where it broke off; without success it is over, also by a cancellation.

        Raises:
            StopAsyncIteration: the server says that there is no more, or it ended the stream after the last attempt.
            StreamClosed: it was closed meanwhile.
        """
        self._state = StreamState.ENDS
        response: Response | None = None
        with trio.CancelScope() as self._asking:
            try:
                response = await self._reopen(broke)
            finally:
                self._asking = None
        if self._is_closed:
            if response is not None:
                await response.aclose()
            raise StreamClosed("the stream was closed before its next event came")
        assert response is not None
        place, retry = self.last_event_id, self.retry
        self.response = response
        if response.status_code == 204:
            await response.aclose()
            raise StopAsyncIteration
        self._events = response._iterate_events(self._event_timeout, last_event_id=place, retry=retry)
        self._state = StreamState.GOES_ON

    @property
    def _is_closed(self) -> bool:
        return self._state is StreamState.CLOSED

    async def _reopen(self, broke: TransportError | HTTPStatusError | None) -> Response:
        """The next answer; what passes is a failed attempt."""
        call = self._call_at_last_event()
        while True:
            if self._attempts == self._again.policy.max_attempts:
                raise StopAsyncIteration if broke is None else broke
            self._attempts += 1
            await self._pause(broke)
            try:
                response = await self._again.open(call, self._total_at)
                self.response = response
                if response.status_code != 204:
                    await check_answer(response, StreamKind.EVENTS)
            except (TransportError, HTTPStatusError) as error:
                if not self._is_interruption(error):
                    raise
                broke = error
            else:
                return response

    def _is_interruption(self, error: TransportError | HTTPStatusError) -> bool:
        if any(call.wire.is_source_of(error) for call in (self._again.call, self.response._call)):
            return False
        return is_interruption(error)

    def _call_at_last_event(self) -> Call:
        call, place = self._again.call, self.last_event_id
        if place == _asked_from(call):
            # The caller's own field says where to begin, if there is one.
            return call
        # The server may take back what it had set, and what the caller had with it (the HTML standard §9.2.6).
        value = place.encode()
        try:
            if len(value) > MAX_ID_SIZE:
                raise LocalProtocolError(f"it has more than {MAX_ID_SIZE} bytes")
            return call.with_field(b"last-event-id", value or None)
        except LocalProtocolError as error:
            raise RemoteProtocolError(
                "the stream cannot be asked for again: the server set an id that no header field can carry",
                reason=ProtocolReason.LIMIT if len(value) > MAX_ID_SIZE else ProtocolReason.FRAMING,
                peer_said=value,
                origin=call.url.origin,
            ) from error

    async def _pause(self, broke: TransportError | HTTPStatusError | None) -> None:
        again, retry = self._again, self.retry
        delay = again.policy.pause(self._attempts, None if retry is None else retry / 1000, again.chance())
        left = max(0.0, self._total_at - trio.current_time())
        if await again.pause(min(delay, left)) and delay >= left:
            seconds = again.call.limits.total
            raise ReadTimeout(
                f"total_timeout of {seconds:g} s passed while waiting to reconnect",
                limit="total_timeout",
                seconds=seconds,
                origin=again.call.url.origin,
                phase="read",
                request_sent="fully",
            ) from broke


class EventStreamContext:
    """`async with` it once to get the events; leaving the block closes the response."""

    __slots__ = ("_call", "_event_timeout", "_events", "_reconnections", "_stream")

    def __init__(
        self,
        open_stream: StreamOpener,
        call: Call,
        *,
        event_timeout: float | None,
        reconnections: Reconnections | None = None,
    ) -> None:
        self._stream = StreamContext(open_stream, call)
        self._call = call
        self._event_timeout = event_timeout
        self._reconnections = reconnections
        self._events: EventStream | None = None

    async def __aenter__(self) -> EventStream:
        total, again = self._call.limits.total, self._reconnections
        total_at = INF if total is None else trio.current_time() + total
        response = await self._stream.__aenter__()
        if again is None or response.status_code != 204:
            await check_answer(response, StreamKind.EVENTS)
        if again is None:
            self._events = EventStream(response, event_timeout=self._event_timeout)
        else:
            self._events = ReconnectingEventStream(
                response, again, event_timeout=self._event_timeout, total_at=total_at
            )
        return self._events

    async def __aexit__(self, *error: object) -> None:
        assert self._events is not None
        await self._events.aclose()  # noqa: ASYNC102 - releases before it waits


def _asked_from(call: Call) -> str:
    """The Last-Event-ID that a caller gave, "" for none."""
    return next((value.decode("utf-8", "replace") for name, value in call.fields if name == b"last-event-id"), "")
