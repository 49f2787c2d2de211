"""Several competitors in several situations: taking turns, the tables, the targets, and everything as data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from .children import Child, Failed, started
from .competitors import PENSTOCK, PENSTOCK_H11, PENSTOCK_HTTPTOOLS, Competitor
from .cores import Cores
from .table import Spread, render, spread, verdict

#: Whose figures the others are divided by: the first of these that was measured.
REFERENCES = [competitor.name for competitor in (PENSTOCK_HTTPTOOLS, PENSTOCK_H11, PENSTOCK)]

#: A competitor's name and a situation's label.
Cell = tuple[str, str]


class Situation(NamedTuple):
    """What some competitors are measured in.

    Attributes:
        label: how tables and data name it.
        job: what a competitor's process is asked.
        among: who takes part.
        most_rounds: no more than so many, where a sample takes long.
    """

    label: str
    job: Mapping[str, Any]
    among: Sequence[Competitor]
    most_rounds: int = 1_000_000


class Figure(NamedTuple):
    """A number that every sample has, under `key`."""

    key: str
    label: str
    better: Literal["less", "more"] = "less"


class Target(NamedTuple):
    """The first figure of cell `of` is to be at most, or at least, `limit` times that of cell `over`."""

    of: Cell
    over: Cell
    limit: float
    bound: Literal["at most", "at least"] = "at most"


class Found(NamedTuple):
    """Every sample, and who gave none and why."""

    samples: dict[Cell, list[dict[str, float]]]
    failed: dict[Cell, str]


def add_arguments(parser: argparse.ArgumentParser, competitors: Sequence[Competitor]) -> None:
    """Describe the options that every comparison has."""
    names = [competitor.name for competitor in competitors]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"some of {names}")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each cell")


def compare(
    options: argparse.Namespace,
    cores: Cores,
    server: str,
    situations: Sequence[Situation],
    *,
    figures: Sequence[Figure],
    targets: Sequence[Target] = (),
) -> dict[str, Any]:
    """Measure, print tables and targets, and return everything as data."""
    chosen = {
        competitor.name: competitor
        for situation in situations
        for competitor in situation.among
        if competitor.name in options.only
    }
    with started(list(chosen.values()), cores) as (children, missing):
        for name, what in missing.items():
            print(f"{name}: not measured, {what} is missing")
        found = _take_turns(children, situations, options.rounds)
        _introduce(children, cores, server, options.rounds)
        described = [
            {"competitor": child.competitor.name, "note": child.competitor.note, "versions": child.versions}
            for child in children
        ]
    shown = show(situations, figures, found)
    return {
        "server": server,
        "rounds": options.rounds,
        "competitors": described,
        "missing": missing,
        **shown,
        "targets": check([target for target in targets if _within(target, situations)], figures[0], found),
    }


def _within(target: Target, situations: Sequence[Situation]) -> bool:
    """Whether what it compares was to be measured in this run."""
    labels = {situation.label for situation in situations}
    return target.of[1] in labels and target.over[1] in labels


def show(situations: Sequence[Situation], figures: Sequence[Figure], found: Found) -> dict[str, Any]:
    """Print a table for each situation; they and the figures as data."""
    tables = [_summary(situation, figures, found) for situation in situations]
    for table in tables:
        print(render(*rows_of(table, figures)))
        for name, reason in table["failed"].items():
            print(f"{name}: {reason}")
        print()
    return {"figures": [figure._asdict() for figure in figures], "situations": tables}


def _take_turns(children: Sequence[Child], situations: Sequence[Situation], rounds: int) -> Found:
    """Measure everybody in turn, round by round, so that a noisy minute hurts all alike."""
    found = Found({}, {})
    for done in range(rounds):
        for situation in situations:
            if done >= situation.most_rounds:
                continue
            for child in children:
                cell = child.competitor.name, situation.label
                if child.competitor not in situation.among or cell in found.failed:
                    continue
                try:
                    found.samples.setdefault(cell, []).append(child.measure(situation.job))
                except Failed as error:
                    # What it did before does not count: the mean of the good rounds is not what it costs.
                    found.failed[cell] = str(error)
                    del found.samples[cell]
                    print(f"{cell[0]}, {cell[1]}: {error}", file=sys.stderr, flush=True)
        print(f"round {done + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def _introduce(children: Sequence[Child], cores: Cores, server: str, rounds: int) -> None:
    """Say what was measured where."""
    print(f"Python {sys.version.split()[0]}; {server} on core {cores.server}, clients on core {cores.client}")
    for child in children:
        versions = " ".join(f"{library} {version}" for library, version in child.versions.items())
        print(f"  {child.competitor.name}: {versions}; {child.competitor.note}")
    print(f"median (least–greatest) of {rounds} rounds\n")


def _summary(situation: Situation, figures: Sequence[Figure], found: Found) -> dict[str, Any]:
    """One situation as data."""
    cells: list[dict[str, Any]] = []
    for competitor in situation.among:
        samples = found.samples.get((competitor.name, situation.label))
        if samples:
            sums = {figure.key: spread([sample[figure.key] for sample in samples])._asdict() for figure in figures}
            cells.append({"competitor": competitor.name, **sums})
    measured = {cell["competitor"]: cell for cell in cells}
    reference = next((name for name in REFERENCES if name in measured), None)
    main = figures[0].key
    for cell in cells:
        cell["ratio"] = None if reference is None else cell[main]["median"] / measured[reference][main]["median"]
    failed = {name: reason for (name, label), reason in found.failed.items() if label == situation.label}
    return {"label": situation.label, "reference": reference, "cells": cells, "failed": failed}


def rows_of(table: Mapping[str, Any], figures: Sequence[Figure]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of one situation's table; its data may come from a file."""
    first, *others = figures
    head = [table["label"], first.label, f"× {table['reference'] or 'penstock'}"]
    rows = []
    for cell in table["cells"]:
        ratio = "–" if cell["ratio"] is None else f"{cell['ratio']:.2f}"
        rest = [Spread(**cell[figure.key]).brief() for figure in others]
        rows.append([cell["competitor"], f"{Spread(**cell[first.key])}", ratio, *rest])
    return [*head, *(figure.label for figure in others)], rows


def check(targets: Sequence[Target], figure: Figure, found: Found) -> list[dict[str, Any]]:
    """Compare with each target; print and return the verdicts, None for one of which a side was not measured."""
    verdicts: list[dict[str, Any]] = []
    for of, over, limit, bound in targets:
        name = f"{', '.join(of)}: {figure.label} {bound} {limit:.2f} × {over[0] if of[1] == over[1] else over[1]}"
        if of not in found.samples or over not in found.samples:
            print(f"target: {name}: not measured")
            verdicts.append({"name": name, "found": None, "bound": bound, "limit": limit, "met": None})
            continue
        ours, theirs = (spread([sample[figure.key] for sample in found.samples[cell]]).median for cell in (of, over))
        ratio = ours / theirs
        met = ratio <= limit if bound == "at most" else ratio >= limit
        print(f"target: {name}: {ratio:.2f}, {verdict(met)}")
        verdicts.append({"name": name, "found": ratio, "bound": bound, "limit": limit, "met": met})
    return verdicts
