"""A small HTTP/2 client on the h2 library, for tests of the servers that other tests rely on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import attrs
import h2.config
import h2.events
import trio

from penstock._errors import ReadError, WriteError
from penstock._net.network import SocketOptions
from penstock._net.stream import send_all
from tests.support.certificates import client_context
from tests.support.h2_engine import Engine

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from penstock._net.stream import ByteStream
    from penstock.testing import FakeNetwork


class TrioStream(trio.abc.Stream):
    """A `ByteStream` as a stream of trio's, so that `trio.SSLStream` can lie on it."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            while (data := self._stream.try_receive(max_bytes or 65536)) is None:
                await self._stream.wait_readable()
        except ReadError as error:
            raise trio.BrokenResourceError from error
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await send_all(self._stream, bytes(data))
        except WriteError as error:
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_writable()

    async def aclose(self) -> None:
        self._stream.close()
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Answer:
    """What came on one stream."""

    fields: dict[bytes, bytes] = attrs.Factory(dict)
    informational: list[bytes] = attrs.Factory(list)
    body: bytearray = attrs.Factory(bytearray)
    trailers: dict[bytes, bytes] | None = None
    reset_code: int | None = None
    is_ended: bool = False

    @property
    def status(self) -> int:
        return int(self.fields[b":status"])

    @property
    def is_over(self) -> bool:
        return self.is_ended or self.reset_code is not None


class H2Client:
    """One connection; everything that arrives is read inside of `until` and what uses it.

    Attributes:
        h2: the engine, for whatever a test wants to do by itself; `flush` sends what it has made.
        events: what it has reported, in order.
        answers: by stream.
        goaways: the last stream and the code of each GOAWAY.
        is_gone: whether the server has ended the connection.
    """

    def __init__(self, stream: trio.abc.Stream, authority: bytes = b"localhost") -> None:
        self.stream = stream
        self._authority = authority
        self.h2 = Engine(h2.config.H2Configuration(header_encoding=None))
        self.events: list[h2.events.Event] = []
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int | None, int]] = []
        self.is_gone = False

    async def start(self) -> Self:
        """Send the preface."""
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            await self.stream.send_all(data)

    async def begin(self, method: bytes, path: bytes = b"/", *, end_stream: bool = True) -> int:
        """Send the head of a request; returns its stream."""
        stream = self.h2.get_next_available_stream_id()
        scheme = b"https" if isinstance(self.stream, trio.SSLStream) else b"http"
        fields = [(b":method", method), (b":scheme", scheme), (b":authority", self._authority), (b":path", path)]
        self.h2.send_headers(stream, fields, end_stream=end_stream)
        self.answers[stream] = Answer()
        await self.flush()
        return stream

    async def send_body(self, stream: int, body: bytes, *, end_stream: bool = True) -> None:
        """Send a body as the server's windows allow, unless its stream is over before."""
        rest = memoryview(body)
        while not self.answers[stream].is_over:
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(rest))
            if size == 0 and rest:
                await self.read()
                continue
            self.h2.send_data(stream, bytes(rest[:size]), end_stream=end_stream and size == len(rest))
            rest = rest[size:]
            await self.flush()
            if not rest:
                return

    async def answer(self, stream: int) -> Answer:
        """Wait for the end of an answer, or its reset."""
        await self.until(lambda: self.answers[stream].is_over)
        return self.answers[stream]

    async def get(self, path: bytes = b"/", method: bytes = b"GET") -> Answer:
        return await self.answer(await self.begin(method, path))

    async def post(self, path: bytes, body: bytes) -> Answer:
        stream = await self.begin(b"POST", path, end_stream=False)
        await self.send_body(stream, body)
        return await self.answer(stream)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until something is so."""
        while not condition():
            await self.read()

    async def until_gone(self) -> None:
        """Read until the server ends the connection."""
        await self.until(lambda: self.is_gone)

    async def read(self) -> None:
        """Take one piece, and answer what h2 answers by itself."""
        assert not self.is_gone, "the server has ended the connection"
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        self.is_gone = not data
        for event in self.h2.receive_data(data) if data else ():
            self.events.append(event)
            self._take(event)
        if not self.is_gone:
            await self.flush()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ConnectionTerminated():
                self.goaways.append((event.last_stream_id, int(event.error_code or 0)))
            case h2.events.InformationalResponseReceived():
                self.answers[event.stream_id].informational.append(dict(event.headers)[b":status"])
            case h2.events.ResponseReceived():
                self.answers[event.stream_id].fields = dict(event.headers)
            case h2.events.DataReceived():
                self.answers[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.answers[event.stream_id].trailers = dict(event.headers)
            case h2.events.StreamEnded():
                self.answers[event.stream_id].is_ended = True
            case h2.events.StreamReset():
                self.answers[event.stream_id].reset_code = int(event.error_code)


@asynccontextmanager
async def h2_client(
    port: int,
    *,
    network: FakeNetwork | None = None,
    host: str = "localhost",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[H2Client]:
    """Connect to a port of 127.0.0.1, or of `host` in a network in memory; the preface is sent."""
    stream: trio.abc.Stream
    if network is None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    else:
        (address,) = await network.resolve(host, port)
        stream = TrioStream(await network.connect(address, options=SocketOptions()))
    if tls is not None:
        stream = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
        await stream.do_handshake()
    try:
        yield await H2Client(stream).start()
    finally:
        await trio.aclose_forcefully(stream)


def alpn_client(*protocols: str) -> ssl.SSLContext:
    """A client's context that trusts the tests' authority and offers these protocols."""
    context = client_context.__wrapped__()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
