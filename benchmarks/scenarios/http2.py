"""Small requests over HTTP/2, in TLS 1.3 and in the clear.

The same requests, over as few connections as nginx' 128 streams on each allow: 1 and 50 in flight use one connection,
and 500 use at most four. The bare loop opens four and spreads the requests evenly, Penstock may open four, httpx and
httpx2 may too but open one and let 100 requests onto it at a time. That is how each is made; CPU per request hardly
depends on it.

*Bare h2* is the loop one would write by hand on `h2.H2Connection`, as its defaults are: a task that reads and hands
each event to the request it belongs to, a task that writes once for all requests of the same moment. It has no pool,
no deadline and no check beyond h2's own, and it gives back what it received of the connection's window.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import HTTP2
from ..cores import choose_cores
from ..nginx import running_nginx
from .requests import FIGURES

QUICK = {"rounds": 2, "seconds": 0.1, "in_flight": [50], "clear": []}

CHARTS = ("TLS 1.3, 50 in flight",)

TARGETS = tuple(
    Target(("penstock", situation), (peer, situation), limit)
    for situation in ("TLS 1.3, 1 in flight", "TLS 1.3, 50 in flight", "TLS 1.3, 500 in flight")
    for peer, limit in (("bare h2", 1.3), ("httpx2", 0.4))
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, HTTP2)
    parser.add_argument("--in-flight", nargs="+", type=int, default=[1, 50, 500], help="requests at a time in TLS")
    parser.add_argument("--clear", nargs="*", type=int, default=[50], help="requests at a time without TLS")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a sample")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_nginx(cores.server) as nginx:
        situations = [
            Situation(
                f"{where}, {level} in flight",
                {"task": "requests", "server": server, "in_flight": level, "seconds": options.seconds},
                HTTP2,
            )
            for server, where, levels in (
                (nginx.http2_tls, "TLS 1.3", options.in_flight),
                (nginx.http2_clear, "in the clear", options.clear),
            )
            for level in levels
        ]
        return compare(options, cores, f"nginx {nginx.version}", situations, figures=FIGURES, targets=TARGETS)
