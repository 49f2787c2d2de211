"""New connections over TLS 1.3, with full and with resumed handshakes.

One connection after the other, each with one small request and its end; nginx says in each answer whether the session
was resumed, and anything else than what the table says ends the run. What a handshake takes is what such a connection
takes beyond one without TLS to the same nginx, measured in turns with it. Only Penstock and pyreqwest resume TLS
sessions; where that cannot be switched off, there is no figure for full handshakes.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import AIOHTTP, HTTPX2, PENSTOCK, PYREQWEST
from ..cores import choose_cores
from ..doors import running_doors

QUICK = {"rounds": 2, "seconds": 0.2}

FIGURES = (
    Figure("handshake_us", "CPU µs per handshake"),
    Figure("cpu_us", "CPU µs per connection"),
    Figure("wall_us", "µs per connection"),
)
KINDS = ("ECDSA", "RSA")

TARGETS = tuple(Target((PENSTOCK.name, f"{kind}, resumed"), (PENSTOCK.name, f"{kind}, full"), 0.7) for kind in KINDS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, (PENSTOCK, PYREQWEST, AIOHTTP, HTTPX2))
    parser.add_argument("--seconds", type=float, default=0.8, help="length of a sample")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_doors(cores.server, plain=1) as doors:
        situations = [
            Situation(
                f"{kind}, {'resumed' if resumption else 'full'}",
                {
                    "task": "handshakes",
                    "server": doors.secure[kind],
                    "seconds": options.seconds,
                    "resumption": resumption,
                    "clear_port": doors.clear.port,
                },
                (PENSTOCK, PYREQWEST) if resumption else (PENSTOCK, AIOHTTP, HTTPX2),
            )
            for kind in KINDS
            for resumption in (False, True)
        ]
        return compare(options, cores, f"nginx {doors.version}", situations, figures=FIGURES, targets=TARGETS)
