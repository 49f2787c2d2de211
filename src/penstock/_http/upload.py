"""The part of a request that did not go out with its head.

It runs as a task beside the reader, so that an answer that comes early is seen at once. It never raises into its
nursery: what went wrong is kept for the exchange, which knows what was read meanwhile.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import trio

from .._errors import WriteError
from .announced import AnnouncedLength
from .request import encode_last_chunk

if TYPE_CHECKING:
    from .._net.stream import ByteStream
    from .._net.timer import PhaseTimer
    from .request import WireRequest

#: Pieces of at least this size are not copied to be joined with their chunk size.
_LARGE = 65536

#: How long content waits for 100 (Continue): many servers never say it, and a client must not wait for ever (RFC 9110
#: §10.1.1). A second is what Go's clients and curl wait.
CONTINUE_WAIT: Final = 1.0

#: Writes that succeed at once, and pieces without a byte, before other tasks get a turn.
_TURNS = 16


class Upload:
    """Writes the rest of one request.

    Attributes:
        sent: "fully" once every byte was handed to the network, "partly" if some were, "" if none by this task.
        broken: the write error that ended it, None if there was none. It does not end the exchange: the server may
            have answered before it closed (RFC 9112 §9.6).
        failure: what the caller's body raised, or what was wrong with it.
        reading_ahead: entered by a reader that wants to be stopped when the upload ends.
        permit: set when the server asks for the content; None if that is not waited for.
        permitted: whether content that waited for it was begun: only then it is lost if it can be read once.
    """

    __slots__ = (
        "_request",
        "_stream",
        "_timer",
        "_turns",
        "_with_body",
        "broken",
        "failure",
        "permit",
        "permitted",
        "reading_ahead",
        "sent",
    )

    def __init__(self, stream: ByteStream, request: WireRequest, timer: PhaseTimer, *, with_body: bool) -> None:
        self._stream = stream
        self._request = request
        self._timer = timer
        self._turns = 0
        self._with_body = with_body
        self.sent: Literal["", "partly", "fully"] = ""
        self.broken: WriteError | None = None
        self.failure: BaseException | None = None
        self.reading_ahead: trio.CancelScope | None = None
        self.permit = trio.Event() if request.expects_continue else None
        self.permitted = False

    @property
    def ended(self) -> bool:
        """Whether nothing more will be written."""
        return self.sent == "fully" or self.broken is not None or self.failure is not None

    async def run(self, unsent: bytes | memoryview, reader: trio.CancelScope) -> None:
        """Write `unsent` and then the body; cancels `reader` if the body failed."""
        try:
            try:
                await self._write(unsent)
                if self._with_body:
                    if self.permit is not None:
                        # The limits are for a peer that is slow; this one may not know that it is waited for.
                        self._timer.disarm()
                        await wait_permitted(self.permit)
                        self.permitted = True
                        self._request.body.restart()
                    await self._write_body()
            finally:
                await self._request.body.aclose()
            self.sent = "fully"
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised by the exchange, outside the nursery
            if isinstance(error, WriteError) and not self._request.is_source_of(error):
                self.broken = error
            else:
                self._fail(error, reader)
                return  # noqa: ASYNC104 - likewise
        self._timer.first_byte()
        if self.reading_ahead is not None:
            self.reading_ahead.cancel()

    def _fail(self, error: BaseException, reader: trio.CancelScope) -> None:
        self.failure = failure_of(error)
        # Else the reader has its answer, or it is being cancelled as well and says so.
        if self.failure is not None:
            reader.cancel()

    async def _write_body(self) -> None:
        body = self._request.body
        length = self._request.content_length
        announced = AnnouncedLength(length)
        while True:
            # The caller's own code must not run under our write limit.
            self._timer.disarm()
            piece = await body.next_piece()
            if piece is None:
                break
            view = memoryview(piece).cast("B") if isinstance(piece, memoryview) else piece
            size = len(view)
            announced.take(size)
            if not size:
                await self._count_turn()
            elif length is not None:
                await self._write(view)
            else:
                await self._write_chunk(view, size)
        announced.end()
        if length is None:
            await self._write(encode_last_chunk(self._request.final_trailers()))

    async def _write_chunk(self, piece: bytes | bytearray | memoryview, size: int) -> None:
        if size < _LARGE:
            await self._write(b"".join((b"%x\r\n" % size, piece, b"\r\n")))
        else:
            await self._write(b"%x\r\n" % size)
            await self._write(piece)
            await self._write(b"\r\n")

    async def _write(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            taken = self._stream.try_send(rest)
            if taken:
                rest = rest[taken:]
                self.sent = "partly"
                await self._count_turn()
            else:
                self._timer.write()
                await self._stream.wait_writable()

    async def _count_turn(self) -> None:
        """Let other tasks run now and then although nothing has to wait; an empty piece counts like a write."""
        self._turns += 1
        if self._turns % _TURNS == 0:
            # Others may take their time, and this is no wait for the peer.
            self._timer.disarm()
            await trio.lowlevel.checkpoint()


async def wait_permitted(permit: trio.Event) -> None:
    """Wait until the server asks for the content, but not for ever."""
    with trio.move_on_after(CONTINUE_WAIT):
        await permit.wait()


def failure_of(error: BaseException) -> BaseException | None:
    """What is wrong with an upload that an error ended; None if its task was cancelled.

    A cancellation comes in a group out of a body with tasks of its own. One that was meant for something else, and that
    the caller's code brought along, is a failure as any other.
    """
    if isinstance(error, BaseExceptionGroup):
        failure: BaseException | None = error.split(trio.Cancelled)[1]
    else:
        failure = None if isinstance(error, trio.Cancelled) else error
    if failure is None and trio.current_effective_deadline() != -math.inf:
        return error
    return failure
