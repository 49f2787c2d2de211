"""A healthy origin beside one that accepts every request and never answers.

A client with room for 50 connections serves sixty tasks that ask a healthy nginx; then sixty more ask an origin that
never answers, and give up after half a second, as their read timeout says. How many connections one origin may have
is what the library says by itself: 25 in Penstock, no limit elsewhere. Only requests to the healthy origin are
counted.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import AIOHTTP, HTTPX2, PENSTOCK
from ..cores import choose_cores
from ..odd_server import running_odd_server

QUICK = {"rounds": 1, "seconds": 0.5}

IN_FLIGHT = 50
ALONE, BESIDE = "healthy origin alone", "beside a stalled origin"
COMPETITORS = (PENSTOCK, AIOHTTP, HTTPX2)
FIGURES = (
    Figure("p99_ms", "p99 ms"),
    Figure("p50_ms", "p50 ms"),
    Figure("per_second", "requests/s", "more"),
)
TARGETS = (Target((PENSTOCK.name, BESIDE), (PENSTOCK.name, ALONE), 1.2),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, COMPETITORS)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a sample")
    parser.set_defaults(rounds=3)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_odd_server(cores.server, delay=0.0) as odd:
        common = {"task": "stalled", "server": odd.plain, "in_flight": IN_FLIGHT, "seconds": options.seconds}
        situations = [
            Situation(ALONE, common | {"stalled": None}, COMPETITORS),
            Situation(BESIDE, common | {"stalled": odd.silent.port}, COMPETITORS),
        ]
        return compare(options, cores, "a server in Python", situations, figures=FIGURES, targets=TARGETS)
