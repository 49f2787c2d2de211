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

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"

    def brief(self) -> str:
        """The median, and how far from it the farther end is."""
        away = max(self.high - self.median, self.median - self.low) / self.median if self.median else 0.0
        return f"{number(self.median)} ±{away * 100:.0f} %"

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        return f"{self.median:{spec}} ({self.low:{spec}}–{self.high:{spec}})"


def number(value: float) -> str:
    """About three digits of it."""
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


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
