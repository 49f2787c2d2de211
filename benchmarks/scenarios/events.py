"""A stream of 1,000 server-sent events, over HTTP/1.1 and over HTTP/2.

Small events, each in a chunk of its own over plain HTTP/1.1, and in a DATA frame of its own over HTTP/2 in TLS 1.3.
Three paces: *without pause*, each event in a write of its own, as fast as the client takes them; *ten every 5 ms* in
one write, as from a server that is ahead; *one every ms*, as a model writes. In the last, each event wakes a client
that sleeps, and that alone, the kernel's and trio's part, is more than half of what Penstock spends; so no client can
be far ahead there.

The server is a child process that sends bytes made beforehand: every client gets the same. The first of two streams
on the connection is not measured. httpx2 reads with its own `AsyncClient.sse`, over its own transport and
over Penstock's; the others have no reader of events.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import HTTPX2, HTTPX2_OVER_PENSTOCK, PENSTOCK, PENSTOCK_H11, PENSTOCK_HTTPTOOLS
from ..cores import choose_cores
from ..event_server import running_event_server

QUICK = {"rounds": 1}

#: How many events the server writes at a time, and how many seconds after the last ones.
PACES = {"without pause": (1, 0.0), "ten every 5 ms": (10, 0.005), "one every ms": (1, 0.001)}

FIGURES = (
    Figure("cpu_us", "CPU µs per event"),
    Figure("per_second", "events/s", "more"),
    Figure("rss_mb", "peak RSS MB"),
)

CHARTS = ("HTTP/1.1, without pause", "HTTP/2, without pause")

OVER_HTTP1 = (PENSTOCK_HTTPTOOLS, PENSTOCK_H11, HTTPX2_OVER_PENSTOCK, HTTPX2)
OVER_HTTP2 = (PENSTOCK, HTTPX2_OVER_PENSTOCK, HTTPX2)

TARGETS = (
    # Where each event wakes its reader, what the engines differ in is lost in what trio and the kernel cost.
    *(
        Target((ours, "HTTP/1.1, without pause"), ("httpx2", "HTTP/1.1, without pause"), limit)
        for ours, limit in (("penstock, h11", 0.7), ("penstock, httptools", 0.3))
    ),
    *(
        Target((ours, f"HTTP/1.1, {pace}"), ("httpx2", f"HTTP/1.1, {pace}"), 0.5)
        for ours in ("penstock, h11", "penstock, httptools")
        for pace in PACES
        if pace != "without pause"
    ),
    *(Target(("penstock", f"HTTP/2, {pace}"), ("httpx2", f"HTTP/2, {pace}"), 0.5) for pace in PACES),
    # A transport must not be what makes a client slow.
    *(
        Target(("httpx2 over penstock", f"{protocol}, {pace}"), ("httpx2", f"{protocol}, {pace}"), 1.0)
        for protocol in ("HTTP/1.1", "HTTP/2")
        for pace in PACES
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, (*OVER_HTTP1, PENSTOCK))
    parser.add_argument("--paces", nargs="+", choices=PACES, default=list(PACES), help="some of the three")
    # A round takes half a minute.
    parser.set_defaults(rounds=3)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    paces = {pace: PACES[pace] for pace in options.paces}
    with ExitStack() as stack:
        situations = [
            Situation(f"{protocol}, {pace}", {"task": "events", "server": server}, among)
            for protocol, http2, among in (("HTTP/1.1", False, OVER_HTTP1), ("HTTP/2", True, OVER_HTTP2))
            for server, pace in zip(
                stack.enter_context(running_event_server(cores.server, list(paces.values()), http2=http2)),
                paces,
                strict=True,
            )
        ]
        return compare(
            options, cores, "a server of events made beforehand", situations, figures=FIGURES, targets=TARGETS
        )
