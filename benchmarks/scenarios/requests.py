"""Small keep-alive requests over HTTP/1.1, plain and in TLS 1.3.

As many tasks as requests in flight each make one GET after the other for the length of a sample; an answer has nine
fields and 120 bytes. The URL is the same each time, as that of a poll is, but for one situation in which no request has
the URL of another. *Bare socket* is what trio and the kernel cost; *bare httptools* and *bare h11* are the loops
one would write by hand, without a pool, a deadline or a check.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..comparison import Figure, Situation, Target, compare
from ..comparison import add_arguments as add_common
from ..competitors import HTTP1
from ..cores import choose_cores
from ..nginx import running_nginx

QUICK = {"rounds": 2, "seconds": 0.1, "in_flight": [20]}

#: What every sample of small requests has.
FIGURES = (
    Figure("cpu_us", "CPU µs per request"),
    Figure("per_second", "requests/s", "more"),
    Figure("p50_us", "p50 µs"),
    Figure("p99_us", "p99 µs"),
    Figure("p999_us", "p99.9 µs"),
    Figure("rss_mb", "peak RSS MB"),
)

NUMBERED = "plain, 20 in flight, each URL for the first time"

CHARTS = ("plain, 20 in flight", NUMBERED, "TLS 1.3, 20 in flight", "plain, 1000 in flight")

#: What each engine may cost, in parts of what somebody else does.
LIMITS = {
    "penstock, h11": {
        "plain": {"httpx2": 0.30, "aiohttp": 1.0, "bare h11": 1.4},
        "TLS 1.3": {"aiohttp": 1.2},
    },
    "penstock, httptools": {
        "plain": {"httpx2": 0.13, "aiohttp": 0.50, "pyreqwest": 1.1, "bare httptools": 3.0},
        "TLS 1.3": {"aiohttp": 0.55},
    },
}

TARGETS = (
    *(
        Target((ours, f"{where}, 20 in flight"), (peer, f"{where}, 20 in flight"), limit)
        for ours, places in LIMITS.items()
        for where, peers in places.items()
        for peer, limit in peers.items()
    ),
    *(Target((ours, "plain, 1000 in flight"), (ours, "plain, 20 in flight"), 1.3) for ours in LIMITS),
    # Not Penstock's: were the loop by hand slower than this, it would be no measure.
    Target(("bare httptools", "plain, 20 in flight"), ("aiohttp", "plain, 20 in flight"), 0.2),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_common(parser, HTTP1)
    parser.add_argument("--in-flight", nargs="+", type=int, default=[1, 20, 100, 1000], help="requests at a time")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a sample")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the tables and the targets, and return everything as data."""
    cores = choose_cores()
    with running_nginx(cores.server) as nginx:
        situations = [
            Situation(
                f"{where}, {level} in flight",
                # Long enough that each task gets its turn several times.
                {
                    "task": "requests",
                    "server": server,
                    "in_flight": level,
                    "seconds": max(options.seconds, level / 1000),
                },
                HTTP1,
                # Opening so many connections takes longer than using them.
                most_rounds=3 if level >= 1000 else options.rounds,
            )
            for server, where in ((nginx.http1, "plain"), (nginx.http1_tls, "TLS 1.3"))
            for level in options.in_flight
        ]
        job = {"task": "requests", "server": nginx.http1, "in_flight": 20, "seconds": options.seconds, "numbered": True}
        situations.append(Situation(NUMBERED, job, HTTP1, most_rounds=3))
        return compare(options, cores, f"nginx {nginx.version}", situations, figures=FIGURES, targets=TARGETS)
