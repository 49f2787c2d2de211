"""Fifty requests at once with five connections there: where connecting takes long, and where the work does.

In the first situation a connection takes 150 ms longer than on loopback (the server holds its TLS handshake up), and
each request 2 ms: five connections serve all fifty before a new one could help. In the second, connecting costs next
to nothing and each request takes 150 ms: the right thing is a connection for each of them. Nobody knows beforehand
which of the two it is; a dial that belongs to the pool, and not to the request that wished for it, suits both.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import AIOHTTP, HTTPX2, PENSTOCK, PYREQWEST
from ..cores import choose_cores
from ..odd_server import running_odd_server
from ..table import verdict

QUICK = {"rounds": 1}

#: Seconds that a TLS handshake of the server waits for.
DELAY = 0.15
AT_ONCE, FLOOR = 50, 5

SPIKE, OPPOSITE = "connect 150 ms, work 2 ms", "connect at once, work 150 ms"
COMPETITORS = (PENSTOCK, PYREQWEST, AIOHTTP, HTTPX2)

FIGURES = (
    Figure("worst_ms", "worst ms"),
    Figure("median_ms", "median ms"),
    Figure("opened", "connections opened"),
    Figure("cpu_ms", "CPU ms"),
)

#: Against each of the others, and so against the best of them.
TARGETS = tuple(
    Target((PENSTOCK.name, label), (peer.name, label), limit)
    for label, limit in ((SPIKE, 1.0), (OPPOSITE, 1.2))
    for peer in COMPETITORS[1:]
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, COMPETITORS)
    parser.set_defaults(rounds=3)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_odd_server(cores.server, delay=DELAY) as server:
        common = {"task": "spike", "tally": server.tally, "at_once": AT_ONCE, "floor": FLOOR}
        situations = [
            Situation(SPIKE, common | {"server": server.late, "work": 2}, COMPETITORS),
            Situation(OPPOSITE, common | {"server": server.plain, "work": 150}, COMPETITORS),
        ]
        found = compare(options, cores, "a server in Python", situations, figures=FIGURES, targets=TARGETS)
    found["targets"] += _check_opened(found["situations"][0])
    return found


def _check_opened(spike: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Penstock is to open no more connections than anybody else."""
    opened = {cell["competitor"]: cell["opened"]["median"] for cell in spike["cells"]}
    ours = opened.pop(PENSTOCK.name, None)
    if ours is None or not opened:
        return []
    name = f"{PENSTOCK.name}, {SPIKE}: connections opened, at most those of anybody else"
    limit = min(opened.values())
    print(f"target: {name}: {ours:.0f} of {limit:.0f}, {verdict(ours <= limit)}")
    return [{"name": name, "bound": "at most", "limit": limit, "found": ours, "met": ours <= limit}]
