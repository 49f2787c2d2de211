"""Plain text tables and the numbers in them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of several samples, with the least and the greatest."""

    median: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        spec = spec or ".0f"
        return f"{self.median:{spec}} ({self.low:{spec}}–{self.high:{spec}})"


def spread(samples: Sequence[float]) -> Spread:
    """Sum up at least one sample."""
    return Spread(statistics.median(samples), min(samples), max(samples))


def render(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first is text, the others are set to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])


def verdict(met: bool) -> str:
    """How a target is reported."""
    return "met" if met else "NOT MET"
