"""The emulated network: a relay that delivers every byte half a round trip after it came.

Each direction is a queue of deliveries, so the delay costs no bandwidth: many pieces travel at once, as on a real
line. A new connection also pays for TCP's own handshake: the client's first byte leaves only one round trip after
the connect, although the loopback interface answered at once.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
from heapq import heappop, heappush
from itertools import count
from time import monotonic

from .loopback import HOST, listen
from .messages import STDIN, run_child, say

_PIECE = 65536


class _Line:
    """A connection and its continuation; closed when both directions have brought their end."""

    __slots__ = ("client", "running", "server")

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.running = 2

    def end_direction(self) -> None:
        self.running -= 1
        if not self.running:
            self.client.close()
            self.server.close()


class _Flow:
    """One direction of a line. An empty piece stands for its end."""

    __slots__ = ("line", "open_at", "sink", "source")

    def __init__(self, line: _Line, source: socket.socket, sink: socket.socket, open_at: float) -> None:
        self.line = line
        self.source = source
        self.sink = sink
        self.open_at = open_at


class Relay:
    """Carry connections from a listening socket to a port of the loopback interface until standard input ends."""

    def __init__(self, listener: socket.socket, port: int, round_trip: float) -> None:
        self._listener = listener
        self._target = (HOST, port)
        self._round_trip = round_trip
        # epoll and poll round their time-out up to milliseconds, which would lengthen every trip; select does not.
        self._selector = selectors.SelectSelector()
        self._travelling: list[tuple[float, int, _Flow, bytes]] = []
        self._order = count()

    def serve(self) -> None:
        """Run until the demo closes its end of the pipe."""
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(STDIN, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select(self._until_next_arrival()):
                if isinstance(key.data, _Flow):
                    self._depart(key.data)
                elif key.fileobj is self._listener:
                    self._accept()
                elif not os.read(STDIN, 4096):
                    return
            while self._travelling and self._travelling[0][0] <= monotonic():
                _, _, flow, piece = heappop(self._travelling)
                self._arrive(flow, piece)

    def _until_next_arrival(self) -> float | None:
        return max(0.0, self._travelling[0][0] - monotonic()) if self._travelling else None

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # gone again before we looked
            return
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        now = monotonic()
        line = _Line(client, server)
        for flow in (_Flow(line, client, server, now + self._round_trip), _Flow(line, server, client, now)):
            flow.source.setblocking(False)
            flow.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(flow.source, selectors.EVENT_READ, flow)

    def _depart(self, flow: _Flow) -> None:
        try:
            piece = flow.source.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:  # a reset travels like an end
            piece = b""
        if not piece:
            self._selector.unregister(flow.source)
        departure = max(monotonic(), flow.open_at)
        heappush(self._travelling, (departure + self._round_trip / 2, next(self._order), flow, piece))

    def _arrive(self, flow: _Flow, piece: bytes) -> None:
        # The demo's messages are small: a sink that does not take a piece whole is not read any more, or is gone. Its
        # own end is on the way in the other direction then, and closes both.
        with contextlib.suppress(OSError):
            if piece:
                flow.sink.send(piece)
            else:
                flow.sink.shutdown(socket.SHUT_WR)
        if not piece:
            flow.line.end_direction()


def main() -> None:
    """Relay to the port and with the round trip (in seconds) named on the command line."""
    port, round_trip = int(sys.argv[1]), float(sys.argv[2])
    with listen(0) as listener:
        say({"port": listener.getsockname()[1]})
        Relay(listener, port, round_trip).serve()


if __name__ == "__main__":
    run_child(main)
