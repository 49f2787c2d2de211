"""A request over a lease whose content the caller sends piece by piece.

The exchange runs as a task of the pool, beside the caller, so that an early answer is seen at once. The task never
raises for what a caller did, and knows no lease: what it finds out is kept in a `Push` until the caller asks, and a
lease that is given up, or dropped, ends the exchange and with it the task.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import trio

from .._errors import LocalProtocolError, PoolClosed, StreamClosed, WriteError
from .._events import CloseReason
from .._http.upload import failure_of

if TYPE_CHECKING:
    from .._http.exchange import Exchange, ResponseHead
    from .._http.pushed_body import PushedBody
    from .._http.request import WireRequest
    from .._net.timer import PhaseTimer
    from .lease import Lease
    from .runner import Runner


class Push:
    """One exchange and what has become of it.

    Attributes:
        exchange: the exchange.
        timer: of the request.
        body: where the pieces go.
        head: the head of the response, once there is one.
        error: what ended the exchange before there was one.
        done: set when there is either.
        giving: entered by a sender that wants to be woken by the head; None while none does.
    """

    __slots__ = ("body", "done", "error", "exchange", "giving", "head", "timer")

    def __init__(self, exchange: Exchange, timer: PhaseTimer, body: PushedBody) -> None:
        self.exchange = exchange
        self.timer = timer
        self.body = body
        self.head: ResponseHead | None = None
        self.error: BaseException | None = None
        self.done = trio.Event()
        self.giving: trio.CancelScope | None = None

    async def run(self, request: WireRequest) -> None:
        """Send the request, up to the final head."""
        try:
            with self.timer as timer:
                self.head = await self.exchange.send(request, timer)
        except BaseException as error:  # noqa: ASYNC103 - raised to the caller who asks, and never into the pool
            self.error = failure_of(error)
            if self.error is None:
                self.error = PoolClosed(
                    "the pool was closed during the exchange", request_sent=self.exchange.request_sent
                )
                raise
        finally:
            self.timer.rest()
            if self.error is not None:
                self.body.close()
            self.done.set()
            if self.giving is not None:
                self.giving.cancel()


class PushState(Enum):
    """Where the sender is."""

    OPEN = "a piece may be sent"
    SENDING = "a task sends one"
    FINISHED = "there are no more"


class PushedRequest:
    """A request that is being sent, made by `Lease.start`.

    One task at a time uses it. Cancelling `send` or `finish` closes the exchange, as leaving the lease's block without
    `finish` does: over HTTP/1.1 with the connection, over HTTP/2 with the stream.
    """

    __slots__ = ("_lease", "_push", "_runner", "_state")

    def __init__(self, runner: Runner, lease: Lease, push: Push) -> None:
        self._runner = runner
        self._lease = lease
        self._push = push
        self._state = PushState.OPEN

    def __repr__(self) -> str:
        state = (
            "finished"
            if self._state is PushState.FINISHED
            else "answered"
            if self._push.done.is_set()
            else "being sent"
        )
        return f"<PushedRequest over {self._lease!r}, {state}>"

    async def send(self, data: bytes) -> bool:
        """Send a piece of the content, of bytes; returns when the piece before it was sent.

        The write time-out holds while the server takes nothing, not while you prepare the next piece.

        Returns:
            True if it goes on; False if nothing more will be sent, because the server has answered already or the
            exchange has failed: stop, and let `finish` say which.

        Raises:
            StreamClosed: the lease was given up.
            LocalProtocolError: the request was finished, or another task is sending.
            TransportError: the exchange has failed. The lease is given back then.
            TypeError: the piece is not of bytes; the request goes on.
        """
        self._check()
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        push = self._push
        self._state = PushState.SENDING
        try:
            is_taken = await self._hand_over(bytes(data))
        except BaseException:
            self._lease.discard(CloseReason.CANCELLED_MID_EXCHANGE)
            raise
        finally:
            self._state = PushState.OPEN
        if push.error is not None:
            self._raise(push.error)
        return is_taken

    async def finish(self) -> ResponseHead:
        """End the content and return the head of the response; its body is read with `Lease.read`.

        Raises:
            StreamClosed: the lease was given up.
            LocalProtocolError: it was finished before, or the content has not its announced length.
            TransportError: the exchange has failed. The lease is given back then.
            Exception: whatever the function for the trailers raised, as itself.
        """
        self._check()
        self._state = PushState.FINISHED
        push = self._push
        push.body.end()
        try:
            await push.done.wait()
        except BaseException:
            self._lease.discard(CloseReason.CANCELLED_MID_EXCHANGE)
            raise
        if push.error is not None:
            self._raise(push.error)
        assert push.head is not None
        self._lease.headed(push.exchange, push.timer, push.head)
        return push.head

    def _check(self) -> None:
        self._runner.check_caller()
        if self._state is PushState.FINISHED:
            raise LocalProtocolError("the request was finished", origin=self._lease.origin, phase="write")
        if self._lease.is_released:
            raise StreamClosed("the lease of this request was given up")
        if self._state is PushState.SENDING:
            raise LocalProtocolError("another task is sending", origin=self._lease.origin, phase="write")

    async def _hand_over(self, piece: bytes) -> bool:
        push = self._push
        if not push.done.is_set():
            try:
                with trio.CancelScope() as push.giving:
                    return await push.body.give(piece)
            finally:
                push.giving = None
        # Answered, and still to be sent: nobody reads yet, so the timer is free to go on guarding what is sent.
        with push.timer as timer:
            timer.guard(push.exchange, self._runner.watchdog)
            timer.write()
            is_taken = await push.body.give(piece)
            timer.rest()
            if timer.timed_out:
                raise WriteError("the server takes no more of the request", origin=self._lease.origin, phase="write")
        return is_taken

    def _raise(self, error: BaseException) -> None:
        self._lease.fail(self._push.exchange, self._push.timer, error)
        raise error
