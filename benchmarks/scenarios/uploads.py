"""Uploads: 32 MB from an async generator, and fifty times 1 MB at once over one HTTP/2 connection.

The generator yields 64 KiB at a time, and nobody is told the length: over HTTP/1.1 the pieces go out as chunks. nginx
reads each upload to its end, keeps it in memory and answers with the number of bytes that came, which is checked.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import CLIENTS, HTTP2_CLIENTS, HTTPX, HTTPX2, PENSTOCK, URLLIB3
from ..cores import choose_cores
from ..nginx import running_nginx

QUICK = {"rounds": 1}

FIGURES = (Figure("mb_per_second", "MB/s", "more"), Figure("cpu_us", "CPU µs per MB"), Figure("rss_mb", "peak RSS MB"))

CHARTS = ("streamed, plain", "50 × 1 MB, HTTP/2 in TLS 1.3")

#: urllib3 takes no async generator.
STREAMING = tuple(client for client in CLIENTS if client is not URLLIB3)

#: Those that run on trio.
MULTIPLEXING = (PENSTOCK, HTTPX2, HTTPX)

TARGETS = (Target(("penstock", CHARTS[1]), ("httpx2", CHARTS[1]), 1.0, "at least"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, (*STREAMING, *(client for client in HTTP2_CLIENTS if client not in STREAMING)))
    # A round takes half a minute.
    parser.set_defaults(rounds=3)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_nginx(cores.server) as nginx:
        situations = [
            Situation(f"streamed, {where}", {"task": "transfers", "server": server, "kind": "pieces"}, among)
            for server, where, among in (
                (nginx.http1, "plain", STREAMING),
                (nginx.http1_tls, "TLS 1.3", STREAMING),
                (nginx.http2_tls, "HTTP/2 in TLS 1.3", HTTP2_CLIENTS),
            )
        ]
        job = {"task": "transfers", "server": nginx.http2_tls, "kind": "uploads"}
        situations.append(Situation(CHARTS[1], job, MULTIPLEXING))
        return compare(options, cores, f"nginx {nginx.version}", situations, figures=FIGURES, targets=TARGETS)
