"""Speed of a 100 MB download and of fifty 1 MB uploads at a time over one HTTP/2 connection, beside httpx2."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..children import started
from ..comparison import Column, Target, as_data, check, figures, introduce, report, take_turns
from ..competitors import HTTP2_CLIENTS
from ..cores import choose_cores
from ..nginx import running_nginx

LABELS = {"download": "100 MB download", "upload": "50 × 1 MB upload"}

TARGETS = tuple(Target("httpx2", label, 1.0, "at least") for label in LABELS.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    names = [competitor.name for competitor in HTTP2_CLIENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="competitors to measure")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each cell")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    chosen = [competitor for competitor in HTTP2_CLIENTS if competitor.name in options.only]
    with running_nginx(cores.server) as nginx, started(chosen, cores) as children:
        columns = [
            Column(label, {"transfer": kind}, {"task": "transfers", "server": nginx.http2_tls, "kind": kind})
            for kind, label in LABELS.items()
        ]
        samples = take_turns(children, columns, options.rounds)
    speeds = figures(samples, lambda sample: sample["bytes"] / sample["wall_s"] / 1e6)
    costs = figures(samples, lambda sample: sample["cpu_s"] / sample["bytes"] * 1e12)
    introduce(children, cores, "nginx, TLS 1.3,", options.rounds)
    names = [child.competitor.name for child in children]
    print(report("MB per second", speeds, names, columns) + "\n")
    print(report("CPU µs per MB", costs, names, columns) + "\n")
    return {
        "python": sys.version.split()[0],
        "versions": {child.competitor.name: child.version for child in children},
        "mb_per_second": as_data(speeds, columns),
        "cpu_us_per_mb": as_data(costs, columns),
        "targets": check(TARGETS, speeds, columns),
    }
