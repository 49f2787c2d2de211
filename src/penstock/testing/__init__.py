"""Fakes for tests of code that uses Penstock: a network in memory, servers that follow a script, conformance checks.

Everything waits on trio's clock, so with `trio.testing.MockClock(autojump_threshold=0)` (pytest-trio's
`autojump_clock` fixture) time-outs and hours of idling pass at once.
"""

from __future__ import annotations

from ._check_stream import check_byte_stream
from ._check_watcher import check_idle_watcher
from ._handlers import (
    serve_chunked,
    serve_early,
    serve_echo,
    serve_events,
    serve_in_turn,
    serve_ok,
    serve_raw,
    serve_then_close,
    serve_then_close_idle,
    serve_then_say,
    stall,
)
from ._network import Attempt, FakeNetwork
from ._peer import ClientGone, Handler, PeerRequest, ScriptedPeer, chunk, head
from ._peer_tls import PeerStream, TLSServerStream
from ._stream import FakeStream, fake_stream_pair
from ._watcher import FakeWatcher

__all__ = [
    "Attempt",
    "ClientGone",
    "FakeNetwork",
    "FakeStream",
    "FakeWatcher",
    "Handler",
    "PeerRequest",
    "PeerStream",
    "ScriptedPeer",
    "TLSServerStream",
    "check_byte_stream",
    "check_idle_watcher",
    "chunk",
    "fake_stream_pair",
    "head",
    "serve_chunked",
    "serve_early",
    "serve_echo",
    "serve_events",
    "serve_in_turn",
    "serve_ok",
    "serve_raw",
    "serve_then_close",
    "serve_then_close_idle",
    "serve_then_say",
    "stall",
]
