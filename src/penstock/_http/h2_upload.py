"""The content of a request that did not go out with its head.

It runs as a task of the connection, beside the caller, so that an answer can be read while the request is still being
sent. It never raises into the connection's nursery: what went wrong is kept for the exchange.

What it sends waits for the peer's windows, for the connection's output, of which there is never much more than
`HIGH_WATER`, and for its turn among the uploads of the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from .announced import AnnouncedLength
from .upload import failure_of, wait_permitted

if TYPE_CHECKING:
    from .._net.timer import PhaseTimer
    from .h2 import HTTP2Connection
    from .h2_stream import HTTP2Exchange
    from .request import WireRequest

#: Pieces sent without waiting before other tasks get a turn.
_TURNS: Final = 16


class HTTP2Upload:
    """Sends the content of one request.

    Attributes:
        stream: the stream that it sends on.
        failure: what the caller's body raised, or what was wrong with it.
        stopped: set once nothing of the caller's runs any more.
        permit: set when the server asks for the content; None if that is not waited for.
    """

    __slots__ = (
        "_connection",
        "_exchange",
        "_request",
        "_scope",
        "_task",
        "_turns",
        "failure",
        "permit",
        "stopped",
        "stream",
    )

    def __init__(self, connection: HTTP2Connection, exchange: HTTP2Exchange, stream: int, request: WireRequest) -> None:
        self._connection = connection
        self._exchange = exchange
        self.stream = stream
        self._request = request
        self._scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None
        self._turns = 0
        self.failure: BaseException | None = None
        self.stopped = trio.Event()
        self.permit = trio.Event() if request.expects_continue else None

    def stop(self) -> None:
        """Send nothing more."""
        self._scope.cancel()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._scope.cancel_called

    async def run(self, timer: PhaseTimer) -> None:
        """Send the content and what ends the request."""
        try:
            with self._scope:
                try:
                    if not self._scope.cancel_called:
                        await self._send_body(timer)
                finally:
                    await self._request.body.aclose()
                self._finish()
                if not self._exchange.has_head:
                    timer.first_byte()
        except BaseException as error:  # noqa: ASYNC103 - raised by the exchange, to the caller
            failure = failure_of(error)
            if failure is None:
                raise
            # A body that was stopped may raise in its clean-up; what stopped it is what counts.
            if not self._scope.cancel_called or not isinstance(failure, Exception):
                self.failure = failure
                self._exchange.upload_failed(failure, is_callers=self._request.is_source_of(failure))
        finally:
            # Woken and stopped in the same moment, it has not used the room that it was given.
            self._connection.wake_uploads()
            self.stopped.set()
            # The exchange knows its upload: without this, the content would live on until it is collected as garbage.
            del self._exchange, self._request

    async def _send_body(self, timer: PhaseTimer) -> None:
        body = self._request.body
        announced = AnnouncedLength(self._request.content_length)
        if self.permit is not None:
            self._disarm(timer)
            await wait_permitted(self.permit)
            self._exchange.body_begun = True
            body.restart()
        while True:
            # The caller's own code must not run under our write limit.
            self._disarm(timer)
            piece = await body.next_piece()
            if piece is None:
                break
            view = memoryview(piece)
            if not view.nbytes:
                await self._count_turn(timer)
                continue
            view = view.cast("B")
            announced.take(len(view))
            while view:
                room = await self._wait_for_room(timer)
                self._connection.session.send_data(self.stream, view[:room], end_stream=False)
                self._connection.wake_writer()
                view = view[room:]
                await self._count_turn(timer)
        announced.end()

    def _finish(self) -> None:
        session = self._connection.session
        if self.stream not in session.streams:
            return
        trailers = self._request.final_trailers()
        if trailers:
            session.send_trailers(self.stream, trailers)
        else:
            session.send_data(self.stream, b"", end_stream=True)
        self._exchange.sent_all()
        self._connection.wake_writer()

    async def _wait_for_room(self, timer: PhaseTimer) -> int:
        """Wait until the peer, and our own output, take more; how much of it."""
        connection = self._connection
        while (room := connection.room_for(self.stream)) <= 0:
            if not self._exchange.has_head:
                timer.write()
            await self._wait_turn()
        return room

    async def _wait_turn(self) -> None:
        connection = self._connection
        self._task = trio.lowlevel.current_task()
        connection.blocked[self] = None

        def give_up(_: object) -> trio.lowlevel.Abort:
            self._task = None
            connection.blocked.pop(self, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    def wake(self) -> None:
        """There may be room; called by the connection, which has taken it off its list."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def _count_turn(self, timer: PhaseTimer) -> None:
        """Let other tasks run now and then although nothing has to wait."""
        self._turns += 1
        if self._turns % _TURNS == 0:
            self._disarm(timer)
            await trio.lowlevel.checkpoint()

    def _disarm(self, timer: PhaseTimer) -> None:
        """Once the head is there, the timer belongs to whoever reads."""
        if not self._exchange.has_head:
            timer.disarm()
