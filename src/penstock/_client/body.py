"""The body of a response on its way in: who may read it, and when its connection goes back.

Releasing is synchronous and comes first; what waits, waits afterwards. So a body can be closed in a cancelled scope,
and an iterator that is broken off, cancelled or forgotten leaves nothing behind: the iterators over it are plain
objects, not generators that would want to run on.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Self

import trio

from .._errors import ProtocolReason, RemoteProtocolError, RequestError, StreamClosed, StreamConsumed, StreamError
from .._http.coding import make_decoder
from .._net.timer import EventTimer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .._http.coding import Decoder
    from .._http.exchange import ResponseHead
    from .._net.timer import PhaseTimer
    from .._pool.lease import Lease
    from .._types import HeaderList
    from .call import Call


class BodyState(Enum):
    """How far a body is."""

    UNREAD = "unread"
    READING = "reading"
    CONSUMED = "consumed"
    CLOSED = "closed"


class ResponseBody:
    """Reads one body off its lease, decoding it on the way.

    Attributes:
        trailers: fields that followed it, empty until it has ended.
    """

    __slots__ = (
        "_call", "_decoder", "_head", "_lease", "_max_size", "_may_be_coded", "_state", "_timer", "trailers",
    )  # fmt: skip

    def __init__(
        self, call: Call, head: ResponseHead, lease: Lease, timer: PhaseTimer, *, max_size: int | None
    ) -> None:
        self.trailers: HeaderList = []
        self._call = call
        self._head = head
        self._lease: Lease | None = lease
        self._timer = timer
        self._max_size = max_size
        self._state = BodyState.UNREAD
        self._decoder: Decoder | None = None
        # A body is decoded from its first piece on: an answer to HEAD names a coding and has none.
        self._may_be_coded = head.is_coded

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """A body that is pickled with its response has no connection: what was not read by then is out of reach."""
        state = {name: getattr(self, name) for name in self.__slots__}
        if self._state is not BodyState.CONSUMED:
            state["_state"] = BodyState.CLOSED
        return None, {**state, "_lease": None, "_decoder": None, "_timer": None}

    def limit_events(self, event_timeout: float) -> EventTimer:
        """Have the reads to come limited in the time between two events, too."""
        self._timer = timer = EventTimer(self._timer, event_timeout)
        return timer

    def name_lease(self) -> None:
        """Tell the lease what it is for, in case it is forgotten unclosed."""
        if self._lease is not None:
            self._lease.label = str(self._call)

    def claim(self) -> Self:
        """Become the one who reads the body.

        Raises:
            StreamConsumed: somebody else began to read it.
            StreamClosed: the response is closed.
        """
        if self._state is not BodyState.UNREAD:
            raise self.explain_missing()
        self._state = BodyState.READING
        return self

    def explain_missing(self) -> StreamError:
        """Why the content is not there."""
        if self._state is BodyState.CLOSED:
            return StreamClosed(f"the response to {self._call} was closed before its body was read")
        if self._state is BodyState.UNREAD:
            return StreamError(f"the body of {self._call} is not read yet: await response.aread() first")
        return StreamConsumed(f"the body of {self._call} was iterated over, and was not kept")

    async def read_all(self) -> bytes:
        """Read all of it, decoded. Cancelling gives it up."""
        self.claim()
        return await self._under_timer(self.read_within)

    async def read_within(self, timer: PhaseTimer) -> bytes:
        """The same for a caller who has entered the timer, and closes the body if this raises."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self._next_decoded(timer):
            size += len(piece)
            if self._max_size is not None and size > self._max_size:
                raise explain_too_large(self._call, self._max_size)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read_start(self, limit: int, seconds: float) -> tuple[bytes, RequestError | None]:
        """Read at most `limit` bytes, decoded, and what comes within so many seconds, and give up the rest.

        Returns:
            What was read, and the error that ended the reading, if one did.
        """
        self.claim()
        start = bytearray()
        broke: RequestError | None = None
        with trio.move_on_after(seconds):
            try:
                while len(start) < limit and (piece := await self.next_decoded()):
                    start += piece
            except RequestError as error:
                broke = error
        self.release()
        return bytes(start[:limit]), broke

    # A stream that waits keeps every coroutine on the way down: these two add none.

    def next_raw(self) -> Coroutine[Any, Any, bytes]:
        """The next piece as it came, b"" at the end."""
        return self._under_timer(self._receive)

    def next_decoded(self) -> Coroutine[Any, Any, bytes]:
        """The next piece decoded, b"" at the end."""
        return self._under_timer(self._next_decoded)

    async def _under_timer(self, read: Callable[[PhaseTimer], Awaitable[bytes]]) -> bytes:
        try:
            with self._timer as timer:
                piece = await read(timer)
        except BaseException as error:
            self.fail(error)
            raise
        return piece

    async def _next_decoded(self, timer: PhaseTimer) -> bytes:
        decoder = self._decoder
        if decoder is not None and (piece := decoder.pull()):
            # Little input can become much output; others run in between.
            await trio.lowlevel.checkpoint()
            return piece
        while raw := await self._receive(timer):
            if decoder is None:
                if not self._may_be_coded:
                    return raw
                decoder = self._decoder = make_decoder(self._head.headers)
                if decoder is None:
                    self._may_be_coded = False
                    return raw
            decoder.feed(raw)
            if piece := decoder.pull():
                return piece
        if decoder is not None:
            decoder.finish()
        return b""

    async def _receive(self, timer: PhaseTimer) -> bytes:
        lease = self._lease
        if lease is None:
            if self._state is BodyState.CLOSED:
                raise self.explain_missing()
            return b""
        piece = await lease.receive(timer)
        # A lease that gives itself up with a piece has given the last one.
        if not piece or lease.is_released:
            self.trailers = lease.trailers
            self._lease = None
            self._state = BodyState.CONSUMED
        return piece

    def release(self) -> None:
        """Give up what is left; the pool may read the rest and keep the connection."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._state = BodyState.CLOSED
            lease.release_soon()

    async def aclose(self) -> None:
        """The same, and wait for the connection; see `Lease.aclose`."""
        lease, self._lease = self._lease, None
        if lease is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._state = BodyState.CLOSED
            await lease.aclose()

    def discard(self) -> None:
        """Give up what is left, and the connection with it. Does nothing once the body has ended."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._state = BodyState.CLOSED
            lease.discard()

    def fail(self, error: BaseException) -> None:
        """Reading it raised this: nothing more is wanted, and the error gets to know where."""
        self.discard()
        if isinstance(error, RequestError) and not self._call.wire.is_source_of(error):
            error.annotate(origin=self._call.url.origin)


def explain_too_large(call: Call, max_size: int) -> RemoteProtocolError:
    """A body that is to be kept is larger than the client keeps any."""
    return RemoteProtocolError(
        f"the body of {call} is larger than max_content_size ({max_size} bytes); stream it, or raise the limit",
        reason=ProtocolReason.LIMIT,
        origin=call.url.origin,
    )
