"""A POST of 3 kB of JSON, twenty in flight, over HTTP/1.1.

The document is bytes already, so that no JSON encoder is measured; the answer is that of the small requests.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Situation, compare
from ..comparison import add_arguments as add_common
from ..competitors import HTTP1
from ..cores import choose_cores
from ..nginx import running_nginx
from .requests import FIGURES

QUICK = {"rounds": 2, "seconds": 0.1}

CHARTS = ("plain, 20 in flight",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, HTTP1)
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a sample")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables, and return everything as data."""
    cores = choose_cores()
    with running_nginx(cores.server) as nginx:
        job = {"task": "requests", "server": nginx.http1, "in_flight": 20, "seconds": options.seconds, "post": True}
        situation = Situation("plain, 20 in flight", job, HTTP1)
        return compare(options, cores, f"nginx {nginx.version}", [situation], figures=FIGURES)
