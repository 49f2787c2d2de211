"""CPU time of the client per small request over HTTP/2, Penstock beside a bare h2 loop and httpx2."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..children import started
from ..comparison import Column, Target, as_data, check, figures, introduce, report, take_turns
from ..competitors import HTTP2_COMPETITORS
from ..cores import choose_cores
from ..nginx import running_nginx

TARGETS = tuple(
    target
    for column in ("1 in flight", "50 in flight", "500 in flight")
    for target in (Target("bare h2", column, 1.3), Target("httpx2", column, 0.4))
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    names = [competitor.name for competitor in HTTP2_COMPETITORS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="competitors to measure")
    parser.add_argument("--in-flight", nargs="+", type=int, default=[1, 50, 500], help="requests at a time")
    parser.add_argument("--clear", nargs="*", type=int, default=[50], help="requests at a time without TLS")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each cell")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a sample")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table and the targets, and return everything as data."""
    cores = choose_cores()
    chosen = [competitor for competitor in HTTP2_COMPETITORS if competitor.name in options.only]
    with running_nginx(cores.server) as nginx, started(chosen, cores) as children:
        columns = [
            Column(
                f"{level} in {where}",
                {"in_flight": level, "tls": server.authority is not None},
                {"task": "requests", "server": server, "in_flight": level, "seconds": options.seconds},
            )
            for server, where, levels in (
                (nginx.http2_tls, "flight", options.in_flight),
                (nginx.http2_clear, "the clear", options.clear),
            )
            for level in levels
        ]
        samples = take_turns(children, columns, options.rounds)
    costs = figures(samples, lambda sample: sample["cpu_us"])
    rates = figures(samples, lambda sample: 1e6 / sample["wall_us"])
    introduce(children, cores, "nginx, TLS 1.3 unless said otherwise,", options.rounds)
    names = [child.competitor.name for child in children]
    print(report("CPU µs per request", costs, names, columns) + "\n")
    return {
        "python": sys.version.split()[0],
        "versions": {child.competitor.name: child.version for child in children},
        "cpu_us": as_data(costs, columns),
        "requests_per_second": as_data(rates, columns),
        "targets": check(TARGETS, costs, columns),
    }
