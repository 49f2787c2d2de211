"""The server's side of a memory stream, spoken by h11."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import h11
import trio

if TYPE_CHECKING:
    from .memory_stream import MemoryStream


class Received(NamedTuple):
    """A request as h11's server side understood it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]


def parse_request(data: bytes) -> Received:
    """Read exactly one request."""
    server = h11.Connection(h11.SERVER, 1 << 20)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request), request
    body = bytearray()
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    assert server.trailing_data == (b"", False)
    return Received(request.method, request.target, list(request.headers), bytes(body), list(event.headers))


class H11Peer:
    """Answers one connection's requests, one after the other.

    Attributes:
        requests: what was received so far.
    """

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream
        self._server = h11.Connection(h11.SERVER, 1 << 20)
        self._taken = 0
        self.requests: list[Received] = []

    async def next_event(self) -> h11.Event:
        """The next event from the client."""
        while True:
            event = self._server.next_event()
            if event is not h11.NEED_DATA:
                assert isinstance(event, h11.Event), event
                return event
            await self._stream.wait_sent(self._taken + 1)
            self._server.receive_data(bytes(self._stream.sent[self._taken :]))
            self._taken = len(self._stream.sent)

    async def receive(self) -> Received:
        """One whole request."""
        if self._server.our_state is h11.DONE:
            self._server.start_next_cycle()
        request = await self.next_event()
        assert isinstance(request, h11.Request)
        body = bytearray()
        while isinstance(event := await self.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage), event
        received = Received(request.method, request.target, list(request.headers), bytes(body), list(event.headers))
        self.requests.append(received)
        return received

    def send(self, *events: h11.Event) -> None:
        """Send response events, all in one segment."""
        self._stream.feed(b"".join(self._server.send(event) or b"" for event in events))

    def answer(self, body: bytes = b"", *, status: int = 200, headers: list[tuple[str, str]] | None = None) -> None:
        """Send a whole response of known length."""
        fields = [*(headers or []), ("Content-Length", str(len(body)))]
        self.send(h11.Response(status_code=status, headers=fields), h11.Data(data=body), h11.EndOfMessage())

    async def serve(self, count: int, body: bytes = b"hello") -> None:
        """Receive and answer so many requests."""
        for _ in range(count):
            await self.receive()
            await trio.lowlevel.checkpoint()
            self.answer(body)
