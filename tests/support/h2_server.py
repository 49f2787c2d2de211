"""An HTTP/2 server in good order, on the h2 library: whatever a client sees of it, a real server might do.

It is a handler for `FakeNetwork.listen` and `ScriptServer`, with and without TLS:

    async def app(request: Incoming) -> Response:
        await trio.sleep(0.1)
        return Response(body=await request.body(), trailers=[(b"x-sum", b"1")])

    server = H2Server(app, max_concurrent_streams=10)
    network.listen("api.test", 443, server, tls=alpn_context("h2"))

A client that breaks the protocol is told so by GOAWAY, and fails the test: h2's error leaves the server's block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import attrs
import h2.config
import h2.events
import h2.exceptions
import h2.settings
import trio

from penstock.testing import ClientGone, ScriptedPeer
from tests.support import h2_frames as frames
from tests.support.h2_engine import Engine
from tests.support.h2_frames import MAX_WINDOW, Setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

    Fields = Iterable[tuple[bytes, bytes]]
    App = Callable[["Incoming"], Awaitable["Response"]]

NO_ERROR, REFUSED_STREAM, CANCEL = 0x0, 0x7, 0x8

#: Seconds for the client to end its side after a GOAWAY.
_LINGER = 10.0


@attrs.frozen
class Response:
    """What an app answers.

    Attributes:
        status: the status code.
        fields: content-length is added where the body is bytes and the status may have one.
        body: bytes, or an async iterable of pieces, which may wait and may raise `Reset`.
        trailers: sent after the body; None for none.
        reset_rest: whether a request that has not ended when the response has is reset with NO_ERROR (RFC 9113 §8.1);
            without, it may go on, and is not listened to.
    """

    status: int = 200
    fields: Fields = ()
    body: bytes | AsyncIterable[bytes] = b""
    trailers: Fields | None = None
    reset_rest: bool = True


class Reset(Exception):
    """Raised by an app or by its body: the stream is reset with this code."""

    def __init__(self, code: int = CANCEL) -> None:
        super().__init__(code)
        self.code = code


class _Over(Exception):
    """The stream ended while the app was about to say something."""


@attrs.define(eq=False)
class Incoming:
    """One stream: what an app works with, and what stays on record after it.

    Attributes:
        peer: the connection it came on; `peer.number` is its number, from 0.
        stream: its number.
        fields: pseudo fields and header fields, in order.
        trailers: of the request, once it has ended; None if it had none.
        opened_at: when it came, on trio's clock.
        ended_at: when it was over for the server; None before.
        received: bytes of the body so far.
        sent: bytes of the response's body so far.
        status: of the response, once it was sent.
        reset_code: the client's RST_STREAM; None without one.
        own_reset_code: the server's RST_STREAM; None without one.
    """

    peer: H2ServerPeer
    stream: int
    fields: list[tuple[bytes, bytes]]
    opened_at: float
    trailers: list[tuple[bytes, bytes]] | None = None
    ended_at: float | None = None
    received: int = 0
    sent: int = 0
    status: int | None = None
    reset_code: int | None = None
    own_reset_code: int | None = None
    _unread: bytearray = attrs.field(factory=bytearray, init=False)
    _owed: int = attrs.field(default=0, init=False)
    _request_ended: bool = attrs.field(default=False, init=False)
    _response_ended: bool = attrs.field(default=False, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field, None if it was not sent."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def method(self) -> bytes:
        return self.header(b":method") or b""

    @property
    def path(self) -> bytes:
        return self.header(b":path") or b""

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body as it comes. The client's windows open as it is read, and not before."""
        while True:
            if self._unread:
                piece, self._unread = bytes(self._unread), bytearray()
                self.peer.give_back(self)
                yield piece
            elif self._request_ended:
                return
            else:
                await self._lot.park()

    async def body(self) -> bytes:
        """The whole body."""
        async with aclosing(self.pieces()) as pieces:
            return b"".join([piece async for piece in pieces])

    async def inform(self, status: int = 103, fields: Fields = ()) -> None:
        """Send an informational response."""
        await self.peer.send_head(self, [(b":status", b"%d" % status), *fields])


class H2Server:
    """A handler that serves any number of connections, each with any number of streams.

    Args:
        app: answers each request, in a task of its own, as soon as its header section is there.
        **settings: SETTINGS by name in lower case; what is absent is not sent (`max_concurrent_streams` too). The
            limit on streams holds from the start: streams above it are refused until the client has acknowledged it,
            and a violation after that.

    Attributes:
        peers: one for each connection, in order.
        streams: every stream that a client has opened, in order.
    """

    def __init__(self, app: App, **settings: int) -> None:
        self.app = app
        self.settings = settings
        self.peers: list[H2ServerPeer] = []
        self.streams: list[Incoming] = []

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return len(self.peers)

    @property
    def open_connections(self) -> int:
        """How many of them are still there."""
        return sum(not peer.is_over for peer in self.peers)

    @property
    def streams_per_connection(self) -> list[int]:
        """How many streams were opened on each connection, in order."""
        counts = Counter(stream.peer.number for stream in self.streams)
        return [counts[peer.number] for peer in self.peers]

    @property
    def resets(self) -> list[int]:
        """The codes of the clients' RST_STREAMs, in order of the streams."""
        return [stream.reset_code for stream in self.streams if stream.reset_code is not None]

    @property
    def refused(self) -> int:
        """How many streams were refused."""
        return sum(stream.own_reset_code == REFUSED_STREAM for stream in self.streams)

    @property
    def pings(self) -> int:
        """How many PINGs the clients sent."""
        return sum(peer.pings for peer in self.peers)

    @property
    def peak_streams(self) -> int:
        """How many streams were open at once on one connection, at most."""
        return max((peer.peak_streams for peer in self.peers), default=0)

    def update_settings(self, **settings: int) -> None:
        """Change settings of all connections, those that exist and those to come."""
        self.settings = {**self.settings, **settings}
        for peer in self.peers:
            if not peer.is_over:
                peer.update_settings(**settings)

    def announce_goaway(self) -> None:
        """Say on all connections that a GOAWAY will come; see `H2ServerPeer.announce_goaway`."""
        for peer in self.peers:
            if not peer.is_over:
                peer.announce_goaway()

    def goaway(self, code: int = NO_ERROR, debug: bytes = b"", *, last: int | None = None) -> None:
        """End all connections; see `H2ServerPeer.goaway`."""
        for peer in self.peers:
            if not peer.is_over:
                peer.goaway(code, debug, last=last)

    async def __call__(self, wire: ScriptedPeer) -> None:
        """Serve one connection."""
        peer = H2ServerPeer(self, wire, len(self.peers))
        self.peers.append(peer)
        try:
            await peer.run()
        except* ClientGone:
            pass


class H2ServerPeer:
    """One connection of an `H2Server`.

    Attributes:
        number: which connection this is, from 0.
        wire: the `ScriptedPeer` below.
        h2: the engine; `kick` sends what it was made to say.
        open: the streams that are not over, by number.
        peak_streams: how many there were at once, at most.
        pings: how many PINGs came.
        client_goaway: the code of the client's GOAWAY; None without one.
        is_over: whether the connection has ended.
    """

    def __init__(self, server: H2Server, wire: ScriptedPeer, number: int) -> None:
        self.server = server
        self.wire = wire
        self.number = number
        self.h2 = Engine(h2.config.H2Configuration(client_side=False, header_encoding=None))
        # h2 would hold a client to 100 streams before it was told of any limit.
        self.h2.local_settings = h2.settings.Settings(client=False)
        self.open: dict[int, Incoming] = {}
        self.peak_streams = 0
        self.pings = 0
        self.client_goaway: int | None = None
        self.is_over = False
        self._limit: int | None = None
        self._last = MAX_WINDOW
        self._highest = 0
        self._leaving = False
        self._outbox = bytearray()
        self._wake = trio.Event()
        self._drained = trio.lowlevel.ParkingLot()

    # From outside

    def update_settings(self, **settings: int) -> None:
        """Send SETTINGS; they hold for the client once it has acknowledged them."""
        self._limit = settings.get("max_concurrent_streams", self._limit)
        self.h2.update_settings({Setting[name.upper()]: value for name, value in settings.items()})
        self.kick()

    def announce_goaway(self) -> None:
        """Ask the client to open no more streams while those on their way are still served (RFC 9113 §6.8)."""
        self._say(frames.goaway(MAX_WINDOW, NO_ERROR))

    def goaway(self, code: int = NO_ERROR, debug: bytes = b"", *, last: int | None = None) -> None:
        """Send GOAWAY, finish the streams up to `last` (all that have come) and close; later ones are ignored."""
        self._last = self._highest if last is None else last
        for stream in [stream for stream in self.open.values() if stream.stream > self._last]:
            self._drop(stream)
        self._leaving = True
        self._say(frames.goaway(self._last, code, debug))

    # The connection

    async def run(self) -> None:
        """Serve until the client leaves, or the server does after GOAWAY."""
        try:
            async with trio.open_nursery() as nursery:
                self._start()
                nursery.start_soon(self._read, nursery)
                await self._write()
                # Bytes that the client has on its way must not turn the end into a reset.
                self.wire.fin()
                await trio.sleep(_LINGER)
                nursery.cancel_scope.cancel()
        finally:
            self.is_over = True

    def _start(self) -> None:
        self.h2.initiate_connection()
        # What h2 has written are the defaults; the first SETTINGS a client sees must be the ones that count.
        self.h2.clear_outbound_data_buffer()
        numbered: dict[int, int] = {Setting[name.upper()]: value for name, value in self.server.settings.items()}
        self._limit = numbered.get(Setting.MAX_CONCURRENT_STREAMS)
        self.h2.local_settings.update(numbered)
        self._say(frames.settings(numbered))

    async def _read(self, nursery: trio.Nursery) -> None:
        while data := await self.wire.receive():
            try:
                events = self.h2.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                violation = error
                break
            for event in events:
                self._take(event, nursery)
            self.kick()
        else:
            raise ClientGone("the client ended the connection")
        for stream in list(self.open.values()):
            self._drop(stream)
        self.kick()
        # The GOAWAY is sent if the client takes it; the error is what matters.
        with trio.move_on_after(1):
            await self._drained.park()
        raise violation

    async def _write(self) -> None:
        while not (self._leaving and not self.open):
            await self._wake.wait()
            self._wake = trio.Event()
            while data := self._collect():
                await self.wire.send(data)
            self._drained.unpark_all()

    def _collect(self) -> bytes:
        data = bytes(self._outbox) + self.h2.data_to_send()
        self._outbox.clear()
        return data

    def _say(self, data: bytes) -> None:
        self._outbox += self.h2.data_to_send() + data
        self.kick()

    def kick(self) -> None:
        """Let the writer send what there is."""
        self._wake.set()

    def _take(self, event: h2.events.Event, nursery: trio.Nursery) -> None:
        match event:
            case h2.events.RequestReceived():
                self._open(event, nursery)
            case h2.events.DataReceived():
                self._take_data(event)
            case h2.events.TrailersReceived() if event.stream_id in self.open:
                self.open[event.stream_id].trailers = list(event.headers)
            case h2.events.StreamEnded() if event.stream_id in self.open:
                stream = self.open[event.stream_id]
                stream._request_ended = True
                stream._lot.unpark_all()
                self._close_if_over(stream)
            case h2.events.StreamReset() if event.stream_id in self.open:
                stream = self.open[event.stream_id]
                if event.remote_reset:
                    stream.reset_code = int(event.error_code)
                else:
                    stream.own_reset_code = int(event.error_code)
                self._drop(stream)
            case h2.events.WindowUpdated(stream_id=0) | h2.events.RemoteSettingsChanged():
                for stream in self.open.values():
                    stream._lot.unpark_all()
            case h2.events.WindowUpdated() if event.stream_id in self.open:
                self.open[event.stream_id]._lot.unpark_all()
            case h2.events.PingReceived():
                self.pings += 1
            case h2.events.ConnectionTerminated():
                self.client_goaway = int(event.error_code or 0)

    def _open(self, event: h2.events.RequestReceived, nursery: trio.Nursery) -> None:
        if event.stream_id > self._last:
            return
        stream = Incoming(self, event.stream_id, list(event.headers), trio.current_time())
        self.server.streams.append(stream)
        self._highest = event.stream_id
        if self._limit is not None and len(self.open) >= self._limit:
            self._reset(stream, REFUSED_STREAM)
            return
        self.open[event.stream_id] = stream
        self.peak_streams = max(self.peak_streams, len(self.open))
        nursery.start_soon(self._serve, stream)

    def _take_data(self, event: h2.events.DataReceived) -> None:
        stream = self.open.get(event.stream_id)
        if stream is None or stream._response_ended:
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        stream.received += len(event.data)
        stream._unread += event.data
        stream._owed += event.flow_controlled_length
        stream._lot.unpark_all()

    def give_back(self, stream: Incoming) -> None:
        """Open the windows by what was read of a stream."""
        owed, stream._owed = stream._owed, 0
        if owed:
            self.h2.acknowledge_received_data(owed, stream.stream)
            self.kick()

    # A stream

    async def _serve(self, stream: Incoming) -> None:
        with stream._scope:
            try:
                await self._answer(stream, await self.server.app(stream))
            except Reset as reset:
                if stream.stream in self.open:
                    self._reset(stream, reset.code)
            except _Over:
                pass

    async def _answer(self, stream: Incoming, response: Response) -> None:
        fields = [(b":status", b"%d" % response.status), *response.fields]
        may_have_body = response.status not in (204, 304)
        body = response.body
        if isinstance(body, bytes) and may_have_body and b"content-length" not in dict(fields):
            fields.append((b"content-length", b"%d" % len(body)))
        if stream.method == b"HEAD" or not may_have_body:
            body = b""
        trailers = None if response.trailers is None else list(response.trailers)
        ends = not body and trailers is None
        stream.status = response.status
        await self.send_head(stream, fields, end_stream=ends)
        if isinstance(body, bytes):
            await self._send_body(stream, body, end_stream=trailers is None and not ends)
        else:
            async with _closing(body):
                async for piece in body:
                    await self._send_body(stream, piece, end_stream=False)
            if trailers is None:
                self._say_of(stream, partial(self.h2.end_stream, stream.stream))
        if trailers is not None:
            self._say_of(stream, partial(self.h2.send_headers, stream.stream, trailers, end_stream=True))
        self._end_response(stream, reset_rest=response.reset_rest)

    async def send_head(self, stream: Incoming, fields: Fields, *, end_stream: bool = False) -> None:
        """Send HEADERS: an informational response, or the response's."""
        self._say_of(stream, partial(self.h2.send_headers, stream.stream, list(fields), end_stream=end_stream))
        await trio.lowlevel.checkpoint()

    async def _send_body(self, stream: Incoming, body: bytes, *, end_stream: bool) -> None:
        rest = memoryview(body)
        while rest:
            while (window := self._window(stream)) <= 0:
                await stream._lot.park()
            size = min(window, len(rest))
            ends = end_stream and size == len(rest)
            self._say_of(stream, partial(self.h2.send_data, stream.stream, bytes(rest[:size]), end_stream=ends))
            stream.sent += size
            rest = rest[size:]
            # So that a client which does not read is not written to beyond one frame of each stream.
            await self._drained.park()

    def _window(self, stream: Incoming) -> int:
        self._check(stream)
        return min(self.h2.local_flow_control_window(stream.stream), self.h2.max_outbound_frame_size)

    def _say_of(self, stream: Incoming, say: Callable[[], object]) -> None:
        self._check(stream)
        say()
        self.kick()

    def _check(self, stream: Incoming) -> None:
        # A task that is being cancelled may run once more, up to its next checkpoint.
        if stream.stream not in self.open:
            raise _Over

    def _end_response(self, stream: Incoming, *, reset_rest: bool) -> None:
        if stream.stream not in self.open:
            return
        stream._response_ended = True
        self.give_back(stream)
        if reset_rest and not stream._request_ended:
            self._reset(stream, NO_ERROR)
        else:
            self._close_if_over(stream)

    def _reset(self, stream: Incoming, code: int) -> None:
        stream.own_reset_code = code
        # The client may have reset it in the same breath.
        with suppress(h2.exceptions.StreamClosedError):
            self.h2.reset_stream(stream.stream, code)
        self._drop(stream)

    def _close_if_over(self, stream: Incoming) -> None:
        if stream._request_ended and stream._response_ended:
            self._drop(stream)

    def _drop(self, stream: Incoming) -> None:
        stream.ended_at = trio.current_time()
        self.open.pop(stream.stream, None)
        # Bytes that nobody will read take up no room on the connection.
        self.give_back(stream)
        stream._unread.clear()
        stream._scope.cancel()
        self.kick()


@asynccontextmanager
async def _closing(body: AsyncIterable[bytes]) -> AsyncIterator[None]:
    """An app's generator does not outlive its stream."""
    try:
        yield
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()


def answer(
    body: bytes = b"ok", *, status: int = 200, fields: Fields = (), trailers: Fields | None = None, delay: float = 0.0
) -> App:
    """An app that answers every request alike, `delay` seconds after its header section came."""

    async def app(request: Incoming) -> Response:
        await trio.sleep(delay)
        return Response(status, fields, body, trailers)

    return app


async def echo(request: Incoming) -> Response:
    """An app that answers with the request's body, piece by piece as it comes; method and path are in fields."""

    async def body() -> AsyncIterator[bytes]:
        async with aclosing(request.pieces()) as pieces:
            async for piece in pieces:
                yield piece

    return Response(fields=[(b"x-method", request.method), (b"x-path", request.path)], body=body())
