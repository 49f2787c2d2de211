"""Memory and CPU time for 10,000 server-sent event streams at once, and how fast all of them are cancelled.

A server of its own sends each stream a head and an event, one event now and then until all of them are open, five
more, and the end. The client is a fresh process for each row: what it holds beyond its idle state, with every stream
in the middle of its body, is divided by their number, the caller's task for each stream included. Connections are
over HTTP/1.1, the secure ones with TLS 1.3 and resumed sessions.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NamedTuple

from ..cores import choose_cores
from ..processes import python, running
from ..resources import raise_descriptor_limit
from ..server import Server
from ..stream_server import running_stream_server
from ..table import render, verdict

#: Descriptors beside those of the streams.
SPARE_DESCRIPTORS = 100

QUICK = {"streams": 500}


class _Limits(NamedTuple):
    """What one stream may take, in bytes, and how long cancelling all of them may take, in seconds."""

    memory: int
    cancel_seconds: float = 3.0


LIMITS = {"plain": _Limits(25_000), "TLS": _Limits(70_000)}
ENGINES = ("auto", "h11", "httptools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--streams", type=int, default=10_000, help="how many at once")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS), help="what to measure over")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES[:1], help="what reads HTTP/1.1")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table and the targets, and return everything as data."""
    cores = choose_cores()
    streams = min(options.streams, raise_descriptor_limit() - SPARE_DESCRIPTORS)
    if streams < options.streams:
        print(f"this process may have {streams + SPARE_DESCRIPTORS} descriptors: {streams} streams are measured\n")
    found: list[dict[str, Any]] = []
    with running_stream_server(cores.server) as servers:
        for transport, server in zip(LIMITS, servers, strict=True):
            for engine in options.engines if transport in options.only else ():
                label = transport if engine == "auto" else f"{transport}, {engine}"
                measured = _measure(server, streams, cores.client, {"http1_engine": engine})
                found.append({"label": label, "transport": transport, "engine": engine, **measured})
    print(_report(found, streams) + "\n")
    return {
        "python": sys.version.split()[0],
        "streams": streams,
        "results": found,
        "targets": [target for result in found for target in _check(result, streams)],
    }


def _measure(server: Server, streams: int, core: int | None, options: dict[str, Any]) -> dict[str, Any]:
    """One row: the streams, and then as many idle connections, in two fresh processes."""
    job = {"streams": streams, "url": server.url, "authority": server.authority, "core": core, "options": options}
    flowing, idle = (_ask({"part": part, **job}) for part in ("streams", "idle"))
    return {
        "stream_bytes": (flowing["resident"] - flowing["base"]) / streams,
        "idle_bytes": (idle["resident"] - idle["base"]) / streams,
        **flowing,
    }


def _ask(job: dict[str, Any]) -> dict[str, Any]:
    with running(python("benchmarks.stream_client", json.dumps(job))) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the client of {job['url']} ended with exit code {process.returncode}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _report(found: list[dict[str, Any]], streams: int) -> str:
    head = (
        f"{streams} streams", "kB a stream", "kB an idle connection", "CPU µs to open", "CPU µs an event",
        "s to cancel all", "ended well", "sockets left",
    )  # fmt: skip
    rows = [
        (
            result["label"],
            f"{result['stream_bytes'] / 1000:.1f}",
            f"{result['idle_bytes'] / 1000:.1f}",
            f"{result['open_cpu_us']:.0f}",
            f"{result['event_cpu_us']:.0f}",
            f"{result['cancelled']['seconds']:.2f}",
            str(result["completed"]),
            str(result["cancelled"]["sockets_left"]),
        )
        for result in found
    ]
    return render(head, rows)


def _check(result: dict[str, Any], streams: int) -> list[dict[str, Any]]:
    """Compare with the limits; print the verdicts."""
    label, cancelled = result["label"], result["cancelled"]
    limits = LIMITS[result["transport"]]
    figures = (
        ("kB a stream", result["stream_bytes"] / 1000, limits.memory / 1000),
        ("seconds to cancel all", cancelled["seconds"], limits.cancel_seconds),
        ("streams not ended well", streams - result["completed"], 0),
        ("connections left", cancelled["connections_left"], 0),
        ("sockets left", cancelled["sockets_left"], 0),
    )
    verdicts = []
    for figure, value, limit in figures:
        name, met = f"at most {limit:g} {figure}, {label}", value <= limit
        print(f"target: {name}: {value:.1f}, {verdict(met)}")
        verdicts.append({"name": name, "found": value, "limit": limit, "met": met})
    return verdicts
