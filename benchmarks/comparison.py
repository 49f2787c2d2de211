"""Several competitors in several situations: taking turns, the table, the targets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from .children import Child
from .cores import Cores
from .table import Spread, render, spread, verdict

#: What one cell of a table was measured as: (competitor, column).
Figures = dict[tuple[str, str], Spread]
Samples = dict[tuple[str, str], list[dict[str, Any]]]


class Column(NamedTuple):
    """One situation that every competitor is measured in.

    Attributes:
        label: how the table names it.
        key: how the JSON names it.
        job: what the competitor's process is asked.
    """

    label: str
    key: Mapping[str, Any]
    job: Mapping[str, Any]


class Target(NamedTuple):
    """Penstock's figure is to be at most, or at least, `ratio` times that of `peer`."""

    peer: str
    column: str
    ratio: float
    bound: Literal["at most", "at least"] = "at most"


def take_turns(children: Sequence[Child], columns: Sequence[Column], rounds: int) -> Samples:
    """Measure everybody in turn, round by round, so that a noisy minute hurts all alike."""
    samples: Samples = {}
    for done in range(rounds):
        for column in columns:
            for child in children:
                samples.setdefault((child.competitor.name, column.label), []).append(child.measure(column.job))
        print(f"round {done + 1} of {rounds}", file=sys.stderr, flush=True)
    return samples


def figures(samples: Samples, figure: Callable[[dict[str, Any]], float]) -> Figures:
    """Sum up one figure of every sample."""
    return {cell: spread([figure(sample) for sample in taken]) for cell, taken in samples.items()}


def introduce(children: Sequence[Child], cores: Cores, server: str, rounds: int) -> None:
    """Say what was measured where."""
    print(f"Python {sys.version.split()[0]}; {server} on core {cores.server}, clients on core {cores.client}")
    for child in children:
        print(f"  {child.competitor.name}: {child.version}; {child.competitor.note}")
    print(f"median (least–greatest) of {rounds} rounds\n")


def report(title: str, found: Figures, names: Sequence[str], columns: Sequence[Column]) -> str:
    """The table: median, spread and the ratio to Penstock in each column."""
    head = [title, *(text for column in columns for text in (column.label, "× penstock"))]
    rows = []
    for name in names:
        row = [name]
        for column in columns:
            ours, figure = found.get(("penstock", column.label)), found[name, column.label]
            row += [f"{figure:.0f}", f"{figure.median / ours.median:.2f}" if ours else "–"]
        rows.append(row)
    return render(head, rows)


def check(targets: Sequence[Target], found: Figures, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Compare with each target; print the verdicts, and return those whose two sides were measured."""
    keys = {column.label: column.key for column in columns}
    verdicts = []
    for peer, column, ratio, bound in targets:
        ours, theirs = found.get(("penstock", column)), found.get((peer, column))
        if ours is None or theirs is None:
            print(f"target: {bound} {ratio:.2f} × {peer}, {column}: not measured")
            continue
        value = ours.median / theirs.median
        met = value <= ratio if bound == "at most" else value >= ratio
        print(f"target: {bound} {ratio:.2f} × {peer}, {column}: {value:.2f}, {verdict(met)}")
        verdicts.append({"peer": peer, **keys[column], "bound": bound, "limit": ratio, "found": value, "met": met})
    return verdicts


def as_data(found: Figures, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """One object for each cell."""
    keys = {column.label: column.key for column in columns}
    return [{"name": name, **keys[column], **figure._asdict()} for (name, column), figure in found.items()]
