"""Cost of the core's operations, with ten and with a hundred thousand connections, hosts or waiters.

The sizes of one operation are measured in turn, round by round, on machines that are all there from the beginning; so
each round compares them in the same moment. The controls do to a dict and a deque of equal size, or to one of each for
every host, what an operation does to the ledger: what one among many costs more there than one among few is what the
caches cost by themselves.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..core_machines import CONTROLS, OPERATIONS, Operation
from ..table import render, spread, verdict

QUICK = {"rounds": 5, "sizes": [10, 10_000]}

#: How much more an operation may cost among the most than among the fewest.
LIMIT = 1.5

#: Operations in a sample.
IN_A_SAMPLE = 300

Maker = Callable[[int], Operation]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    names = [maker.__name__ for maker in OPERATIONS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="operations to measure")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10, 100, 1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=20, help="samples of each cell, taken in turn")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return everything as data."""
    sizes, rounds = sorted(options.sizes), options.rounds
    chosen = [maker for maker in OPERATIONS if maker.__name__ in options.only]
    found = {maker: _measure(maker, sizes, rounds) for maker in (*chosen, *CONTROLS)}

    few, many = f"{sizes[0]:,}", f"{sizes[-1]:,}"
    head = ["µs per operation, N =", *(f"{size:,}" for size in sizes), f"{many} over {few}", f"at most {LIMIT}"]
    rows, data, targets = [], [], []
    for maker, samples in found.items():
        medians = [statistics.median(taken) for taken in samples]
        ratio = spread([large / small for small, large in zip(samples[0], samples[-1], strict=True)]).median
        is_control = maker in CONTROLS
        met = ratio <= LIMIT
        title = (maker.__doc__ or "").removesuffix(".")
        rows.append(
            [title, *(f"{median:.2f}" for median in medians), f"{ratio:.2f}", "" if is_control else verdict(met)]
        )
        cells = [{"size": size, "median_us": median} for size, median in zip(sizes, medians, strict=True)]
        data.append({"name": maker.__name__, "title": title, "control": is_control, "cells": cells, "ratio": ratio})
        if not is_control:
            targets.append({"name": maker.__name__, "many": sizes[-1], "limit": LIMIT, "found": ratio, "met": met})
    print(render(head, rows))
    print(f"\nmedians of {rounds} rounds; the ratio is the median of those of each round\n")
    return {"operations": data, "targets": targets}


def _measure(maker: Maker, sizes: Sequence[int], rounds: int) -> list[list[float]]:
    """Microseconds per operation, for each size in turn; one sample of each in each round."""
    with _no_collection():
        operations = [maker(size) for size in sizes]
        for operation in operations:
            _sample(operation)
        taken = [[_sample(operation) for operation in operations] for _ in range(rounds)]
    return [list(samples) for samples in zip(*taken, strict=True)]


def _sample(operation: Operation) -> float:
    started = time.process_time()
    for _ in range(IN_A_SAMPLE):
        operation()
    return (time.process_time() - started) / IN_A_SAMPLE * 1e6


@contextmanager
def _no_collection() -> Iterator[None]:
    """As in `timeit`: what the collector does among a hundred thousand objects is not the pool's doing."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
