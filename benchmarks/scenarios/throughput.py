"""CPU time of the client per small keep-alive request, Penstock beside its peers."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..children import started
from ..comparison import Column, Target, as_data, check, figures, introduce, report, take_turns
from ..competitors import COMPETITORS
from ..cores import choose_cores
from ..nginx import running_nginx

TARGETS = (Target("httpx2", "20 in flight", 1 / 3), Target("bare h11", "20 in flight", 1.5))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    names = [competitor.name for competitor in COMPETITORS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="competitors to measure")
    parser.add_argument("--in-flight", nargs="+", type=int, default=[1, 20, 100], help="requests at a time")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each cell")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a sample")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table and the targets, and return everything as data."""
    cores = choose_cores()
    chosen = [competitor for competitor in COMPETITORS if competitor.name in options.only]
    with running_nginx(cores.server) as nginx, started(chosen, cores) as children:
        columns = [
            Column(
                f"{level} in flight",
                {"in_flight": level},
                {"task": "requests", "server": nginx.http1, "in_flight": level, "seconds": options.seconds},
            )
            for level in options.in_flight
        ]
        samples = take_turns(children, columns, options.rounds)
    costs = figures(samples, lambda sample: sample["cpu_us"])
    rates = figures(samples, lambda sample: 1e6 / sample["wall_us"])
    introduce(children, cores, "nginx", options.rounds)
    names = [child.competitor.name for child in children]
    print(report("CPU µs per request", costs, names, columns) + "\n")
    return {
        "python": sys.version.split()[0],
        "versions": {child.competitor.name: child.version for child in children},
        "cpu_us": as_data(costs, columns),
        "requests_per_second": as_data(rates, columns),
        "targets": check(TARGETS, costs, columns),
    }
