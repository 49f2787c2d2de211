"""CPU time of the client per small keep-alive request, Penstock beside its peers."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from .competitors import COMPETITORS, Competitor
from .cores import Cores, choose_cores
from .nginx import running_nginx
from .table import Spread, render, spread, verdict


class Target(NamedTuple):
    """Penstock's CPU per request may be at most `ratio` times that of `peer`."""

    peer: str
    in_flight: int
    ratio: float


TARGETS = (Target("httpx2", 20, 1 / 3), Target("bare h11", 20, 1.5))


class Child:
    """A competitor's process."""

    def __init__(self, competitor: Competitor, port: int, core: int | None) -> None:
        """Start it; `missing` names the library that it could not import, `version` is that of the one it found."""
        self.competitor = competitor
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.child",
                competitor.module,
                str(port),
                "-" if core is None else str(core),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        greeting = self._answer()
        self.missing: str | None = greeting.get("missing")
        self.version: str = f"{greeting.get('library', '')} {greeting.get('version', '')}"

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.competitor.name} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def measure(self, in_flight: int, seconds: float) -> dict[str, Any]:
        """One sample."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{in_flight} {seconds}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def started(chosen: Sequence[Competitor], port: int, cores: Cores) -> Iterator[list[Child]]:
    """Start every competitor; name those whose library is missing and leave them out."""
    children: list[Child] = []
    try:
        for competitor in chosen:
            child = Child(competitor, port, cores.client)
            if child.missing is None:
                children.append(child)
            else:
                print(f"{competitor.name}: not measured, there is no module {child.missing!r} here")
                child.close()
        yield children
    finally:
        for child in children:
            child.close()


Samples = dict[tuple[str, int], list[dict[str, Any]]]


def collect(children: Sequence[Child], levels: Sequence[int], rounds: int, seconds: float) -> Samples:
    """Measure everybody in turn, round by round, so that a noisy minute hurts all alike."""
    samples: Samples = {}
    for done in range(rounds):
        for in_flight in levels:
            for child in children:
                sample = child.measure(in_flight, seconds)
                samples.setdefault((child.competitor.name, in_flight), []).append(sample)
        print(f"round {done + 1} of {rounds}", file=sys.stderr, flush=True)
    return samples


def report(costs: Mapping[tuple[str, int], Spread], names: Sequence[str], levels: Sequence[int]) -> str:
    """The table: median, spread and the ratio to Penstock at each level."""
    head = ["CPU µs per request", *(f"{level} in flight" for level in levels for _ in (0, 1))]
    head[2::2] = ["× penstock"] * len(levels)
    rows = []
    for name in names:
        row = [name]
        for level in levels:
            ours = costs.get(("penstock", level))
            cost = costs[name, level]
            row += [f"{cost:.0f}", f"{cost.median / ours.median:.2f}" if ours else "–"]
        rows.append(row)
    return render(head, rows)


def check_targets(costs: Mapping[tuple[str, int], Spread]) -> list[dict[str, Any]]:
    """Compare with each target whose two sides were measured."""
    verdicts = []
    for peer, in_flight, ratio in TARGETS:
        ours, theirs = costs.get(("penstock", in_flight)), costs.get((peer, in_flight))
        if ours is None or theirs is None:
            print(f"target: at most {ratio:.2f} × {peer} at {in_flight} in flight: not measured")
            continue
        found = ours.median / theirs.median
        print(f"target: at most {ratio:.2f} × {peer} at {in_flight} in flight: {found:.2f}, {verdict(found <= ratio)}")
        verdicts.append({"peer": peer, "in_flight": in_flight, "limit": ratio, "found": found, "met": found <= ratio})
    return verdicts


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
    with running_nginx(cores.server) as port, started(chosen, port, cores) as children:
        samples = collect(children, options.in_flight, options.rounds, options.seconds)
        names = [child.competitor.name for child in children]
        versions = {child.competitor.name: child.version for child in children}
    costs = {cell: spread([sample["cpu_us"] for sample in taken]) for cell, taken in samples.items()}
    rates = {cell: spread([1e6 / sample["wall_us"] for sample in taken]) for cell, taken in samples.items()}
    print(f"Python {sys.version.split()[0]}; nginx on core {cores.server}, clients on core {cores.client}")
    for competitor in chosen:
        if competitor.name in versions:
            print(f"  {competitor.name}: {versions[competitor.name]}; {competitor.note}")
    print(f"median (least–greatest) of {options.rounds} rounds\n")
    print(report(costs, names, options.in_flight) + "\n")
    return {
        "python": sys.version.split()[0],
        "versions": versions,
        "cpu_us": [{"name": name, "in_flight": level, **cost._asdict()} for (name, level), cost in costs.items()],
        "requests_per_second": [
            {"name": name, "in_flight": level, **rate._asdict()} for (name, level), rate in rates.items()
        ],
        "targets": check_targets(costs),
    }
