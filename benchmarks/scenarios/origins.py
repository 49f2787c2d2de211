"""A hundred origins at once, beside a hundred requests at once to a single one.

One nginx listens on a hundred ports. In the first situation a hundred tasks each have an origin of their own and a
connection there; in the second, all of them ask the same origin over a hundred connections. A pool that looks at all
its origins, or at all its connections, for each request pays for it here.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import AIOHTTP, HTTPX2, PENSTOCK, PYREQWEST
from ..cores import choose_cores
from ..doors import running_doors

QUICK = {"rounds": 2, "requests": 500}

ORIGINS = 100
MANY, ONE = f"{ORIGINS} origins, one request each", f"one origin, {ORIGINS} requests"
COMPETITORS = (PENSTOCK, PYREQWEST, AIOHTTP, HTTPX2)
FIGURES = (Figure("cpu_us", "CPU µs per request"), Figure("per_second", "requests/s", "more"))
TARGETS = (Target((PENSTOCK.name, MANY), (PENSTOCK.name, ONE), 1.3),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, COMPETITORS)
    parser.set_defaults(rounds=3)
    parser.add_argument("--requests", type=int, default=1_000, help="in a sample")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_doors(cores.server, plain=ORIGINS) as doors:
        ports = [server.port for server in doors.plain]
        common = {"task": "origins", "server": doors.plain[0], "in_flight": ORIGINS, "requests": options.requests}
        situations = [
            Situation(MANY, common | {"ports": ports}, COMPETITORS),
            Situation(ONE, common | {"ports": ports[:1]}, COMPETITORS),
        ]
        found = compare(options, cores, f"nginx {doors.version}", situations, figures=FIGURES, targets=TARGETS)
    _report_ratios(found)
    return found


def _report_ratios(found: dict[str, Any]) -> None:
    """What a hundred origins cost each competitor, beyond what it spends on one."""
    many, one = (
        {cell["competitor"]: cell["cpu_us"]["median"] for cell in situation["cells"]}
        for situation in found["situations"]
    )
    found["origins_over_one"] = {name: many[name] / one[name] for name in many if name in one}
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found["origins_over_one"].items())
    print(f"CPU per request, {ORIGINS} origins over one: {ratios}")
