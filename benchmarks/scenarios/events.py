"""CPU time of the client per server-sent event over HTTP/2, Penstock beside httpx2."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..children import started
from ..comparison import Column, Target, as_data, check, figures, introduce, report, take_turns
from ..competitors import HTTP2_CLIENTS
from ..cores import choose_cores
from ..event_server import running_event_server

#: How many events the server writes at a time, and how many seconds after the last ones.
PACES = {"without pause": (1, 0.0), "ten every 5 ms": (10, 0.005), "one every ms": (1, 0.001)}

TARGETS = tuple(Target("httpx2", label, 0.5) for label in PACES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    names = [competitor.name for competitor in HTTP2_CLIENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="competitors to measure")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each cell")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table and the targets, and return everything as data."""
    cores = choose_cores()
    chosen = [competitor for competitor in HTTP2_CLIENTS if competitor.name in options.only]
    with running_event_server(cores.server, list(PACES.values())) as servers, started(chosen, cores) as children:
        columns = [
            Column(label, {"burst": burst, "pause": pause}, {"task": "events", "server": server})
            for server, (label, (burst, pause)) in zip(servers, PACES.items(), strict=True)
        ]
        samples = take_turns(children, columns, options.rounds)
    costs = figures(samples, lambda sample: sample["cpu_us"])
    introduce(children, cores, "events over TLS 1.3 from a server of frames made beforehand", options.rounds)
    names = [child.competitor.name for child in children]
    print(report("CPU µs per event", costs, names, columns) + "\n")
    return {
        "python": sys.version.split()[0],
        "versions": {child.competitor.name: child.version for child in children},
        "cpu_us": as_data(costs, columns),
        "targets": check(TARGETS, costs, columns),
    }
