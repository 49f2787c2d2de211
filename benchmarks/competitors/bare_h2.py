"""The bare loop that Penstock is measured against: h2 on connected sockets, dispatched by hand, and nothing else.

Each connection has a task that reads and gives every event to the request it belongs to, and one that writes. A request
wakes the writer, which runs after all requests of the same moment, so that one write holds them all.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import h2.config
import h2.connection
import h2.events
import trio

from ..server import Ask, Server
from .bare import Fetch, connect

LIBRARIES = ("h2",)
LOOP = "trio"


@asynccontextmanager
async def open_fetchers(server: Server, ask: Ask, count: int) -> AsyncIterator[list[Fetch]]:
    """Yield `count` fetchers, spread evenly over the connections; they know GET of one URL only."""
    assert ask.body is None
    assert not ask.numbered
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        connections = []
        for _ in range(server.connections(count)):
            connection = BareConnection(stack.enter_context(connect(server)), server, ask)
            nursery.start_soon(connection.read)
            nursery.start_soon(connection.write)
            connections.append(connection)
        yield [connections[number % len(connections)].fetch for number in range(count)]
        nursery.cancel_scope.cancel()


class BareConnection:
    """One connection and the requests on it."""

    def __init__(self, sock: socket.socket, server: Server, ask: Ask) -> None:
        """Prepare the preface; the writer sends it."""
        self._sock = sock
        self._scheme, _, self._authority = server.url.encode().partition(b"://")
        self._path = ask.path.encode()
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self._h2.initiate_connection()
        self._exchanges: dict[int, _Exchange] = {}
        self._unsent = trio.Event()
        self._unsent.set()

    async def fetch(self) -> bytes:
        """One request and its answer."""
        stream_id = self._h2.get_next_available_stream_id()
        exchange = self._exchanges[stream_id] = _Exchange()
        headers = [
            (b":method", b"GET"),
            (b":scheme", self._scheme),
            (b":authority", self._authority),
            (b":path", self._path),
            (b"user-agent", b"bench"),
            (b"accept", b"*/*"),
        ]
        self._h2.send_headers(stream_id, headers, end_stream=True)
        self._unsent.set()
        await exchange.ended.wait()
        del self._exchanges[stream_id]
        assert exchange.headers
        return exchange.body

    async def write(self) -> None:
        """Send whatever h2 has to say."""
        while True:
            await self._unsent.wait()
            self._unsent = trio.Event()
            data = self._h2.data_to_send()
            while data:
                try:
                    data = data[self._sock.send(data) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    await trio.lowlevel.wait_writable(self._sock)

    async def read(self) -> None:
        """Receive, and give every event to its request."""
        while True:
            try:
                data = self._sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                await trio.lowlevel.wait_readable(self._sock)
                continue
            if not data:
                raise EOFError("nginx closed the connection")
            for event in self._h2.receive_data(data):
                self._take(event)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._exchanges[event.stream_id].headers = event.headers
        elif isinstance(event, h2.events.DataReceived):
            self._exchanges[event.stream_id].body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._unsent.set()
        elif isinstance(event, h2.events.StreamEnded):
            self._exchanges[event.stream_id].ended.set()
        else:
            assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated), event


class _Exchange:
    """What has arrived of one answer."""

    __slots__ = ("body", "ended", "headers")

    def __init__(self) -> None:
        self.headers: object = None
        self.body = b""
        self.ended = trio.Event()
