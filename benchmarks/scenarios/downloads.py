"""Downloads of 1 MB and of 100 MB over HTTP/1.1, plain and in TLS 1.3, and over HTTP/2.

One at a time over one connection that was used before, read piece by piece: the 1 MB thirty times in a row. nginx
sends DATA frames of 8 KiB over HTTP/2, its default, and spends about as much CPU as Penstock; where it holds a client
up, compare CPU per MB.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import CLIENTS, HTTP2_CLIENTS
from ..cores import choose_cores
from ..nginx import running_nginx

QUICK = {"rounds": 1}

FIGURES = (Figure("mb_per_second", "MB/s", "more"), Figure("cpu_us", "CPU µs per MB"), Figure("rss_mb", "peak RSS MB"))

CHARTS = ("100 MB, plain", "100 MB, TLS 1.3", "100 MB, HTTP/2 in TLS 1.3")

#: Paths and how often each is asked for in a sample.
SIZES = {"1 MB": ("/download-1", 30), "100 MB": ("/download-100", 1)}

TARGETS = (
    *(
        Target((ours, f"100 MB, {where}"), ("aiohttp", f"100 MB, {where}"), 1.0, "at least")
        for ours in ("penstock, h11", "penstock, httptools")
        for where in ("plain", "TLS 1.3")
    ),
    Target(("penstock", "100 MB, HTTP/2 in TLS 1.3"), ("httpx2", "100 MB, HTTP/2 in TLS 1.3"), 1.0, "at least"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, (*CLIENTS, *(client for client in HTTP2_CLIENTS if client not in CLIENTS)))
    # A round takes half a minute.
    parser.set_defaults(rounds=3)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_nginx(cores.server) as nginx:
        situations = [
            Situation(
                f"{size}, {where}",
                {"task": "transfers", "server": server, "kind": "download", "path": path, "times": times},
                among,
            )
            for server, where, among in (
                (nginx.http1, "plain", CLIENTS),
                (nginx.http1_tls, "TLS 1.3", CLIENTS),
                (nginx.http2_tls, "HTTP/2 in TLS 1.3", HTTP2_CLIENTS),
            )
            for size, (path, times) in SIZES.items()
        ]
        return compare(options, cores, f"nginx {nginx.version}", situations, figures=FIGURES, targets=TARGETS)
