"""What `Client.sse` returns: the events of an answer, and of those that go on where it broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

import trio

from .._core.timers import INF
from .._errors import LocalProtocolError, ProtocolReason, ReadTimeout, RemoteProtocolError, TransportError
from .reconnect import is_interruption
from .stream_kinds import StreamKind, check_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._http.sse import ServerSentEvent
    from .call import Call
    from .reconnect import Reconnect
    from .response import Response


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

    def __init__(self, response: Response, *, event_timeout: float | None = None) -> None:
        self.response = response
        self._event_timeout = event_timeout
        self._events = response._iterate_events(event_timeout)

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


class ReconnectingEventStream(EventStream):
    """An event stream that asks again when it ends or breaks off (the HTML standard §9.2.3)."""

    __slots__ = ("_attempts", "_call", "_chance", "_is_over", "_open", "_policy", "_total_at")

    def __init__(
        self,
        response: Response,
        call: Call,
        open_stream: StreamOpener,
        policy: Reconnect,
        *,
        chance: Callable[[], float],
        total_at: float,
        event_timeout: float | None,
    ) -> None:
        super().__init__(response, event_timeout=event_timeout)
        self._call = call
        self._open = open_stream
        self._policy = policy
        self._chance = chance
        self._total_at = total_at
        self._attempts = 0
        self._is_over = False

    async def __anext__(self) -> ServerSentEvent:
        while True:
            broke: TransportError | None = None
            try:
                event = await self._events.__anext__()
            except StopAsyncIteration:
                if self._is_over:
                    raise
            except TransportError as error:
                if self._is_over or not self._is_interruption(error):
                    raise
                broke = error
            else:
                self._attempts = 0
                return event
            await self._ask_again(broke)

    async def aclose(self) -> None:
        """Give up what is left, and ask no more; as `Response.aclose`."""
        self._is_over = True
        await super().aclose()

    async def _ask_again(self, broke: TransportError | None) -> None:
        """Open the stream again where it broke off; without success it is over, also by a cancellation.

        Raises:
            StopAsyncIteration: the server says that there is no more, or it ended the stream after the last attempt.
        """
        self._is_over = True
        call = self._call_at_last_event()
        while True:
            if self._attempts == self._policy.max_attempts:
                raise StopAsyncIteration if broke is None else broke
            self._attempts += 1
            await self._pause(broke)
            try:
                response = await self._open(call, self._total_at)
            except TransportError as error:
                if not self._is_interruption(error):
                    raise
                broke = error
            else:
                break
        await self._go_on_with(response)

    async def _go_on_with(self, response: Response) -> None:
        self.response = response
        try:
            if response.status_code == 204:
                raise StopAsyncIteration
            await check_answer(response, StreamKind.EVENTS)
        except BaseException:
            await response.aclose()  # noqa: ASYNC102 - releases before it waits
            raise
        self._events = response._iterate_events(self._event_timeout, last_event_id=self.last_event_id, retry=self.retry)
        self._is_over = False

    def _is_interruption(self, error: TransportError) -> bool:
        return is_interruption(error) and not self._call.wire.is_source_of(error)

    def _call_at_last_event(self) -> Call:
        place = self.last_event_id
        if not place:
            # Maybe the caller's own field says where to begin.
            return self._call
        try:
            return self._call.with_field(b"last-event-id", place.encode())
        except LocalProtocolError as error:
            raise RemoteProtocolError(
                "the stream cannot be asked for again: the server set an id that no header field can carry",
                reason=ProtocolReason.FRAMING,
                peer_said=place.encode(),
                origin=self._call.url.origin,
            ) from error

    async def _pause(self, broke: TransportError | None) -> None:
        retry = self.retry
        delay = self._policy.pause(self._attempts, None if retry is None else retry / 1000, self._chance())
        until = trio.current_time() + delay
        await trio.sleep_until(min(until, self._total_at))
        if until >= self._total_at:
            seconds = self._call.limits.total
            raise ReadTimeout(
                f"total_timeout of {seconds:g} s passed while waiting to reconnect",
                limit="total_timeout",
                seconds=seconds,
                origin=self._call.url.origin,
                phase="read",
                request_sent="fully",
            ) from broke


class EventStreamContext:
    """`async with` it once to get the events; leaving the block closes the response."""

    __slots__ = ("_call", "_chance", "_event_timeout", "_events", "_open", "_policy")

    def __init__(
        self,
        open_stream: StreamOpener,
        call: Call,
        *,
        event_timeout: float | None,
        reconnect: Reconnect | None,
        chance: Callable[[], float],
    ) -> None:
        self._open = open_stream
        self._call: Call | None = call
        self._event_timeout = event_timeout
        self._policy = reconnect
        self._chance = chance
        self._events: EventStream | None = None

    async def __aenter__(self) -> EventStream:
        call, self._call = self._call, None
        if call is None:
            raise RuntimeError("this stream was opened before; call client.sse again")
        total = call.limits.total
        total_at = INF if total is None else trio.current_time() + total
        response = await self._open(call)
        try:
            await check_answer(response, StreamKind.EVENTS)
        except BaseException:
            await response.aclose()  # noqa: ASYNC102 - releases before it waits
            raise
        if self._policy is None:
            self._events = EventStream(response, event_timeout=self._event_timeout)
        else:
            self._events = ReconnectingEventStream(
                response,
                call,
                self._open,
                self._policy,
                chance=self._chance,
                total_at=total_at,
                event_timeout=self._event_timeout,
            )
        return self._events

    async def __aexit__(self, *error: object) -> None:
        assert self._events is not None
        await self._events.aclose()  # noqa: ASYNC102 - releases before it waits
