"""Horizontal bars as SVG, legible on a light page and on a dark one, and on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from .table import Spread, number

#: In units of the drawing; a phone shows it at about three quarters of its size.
WIDTH, ROW, TOP, BOTTOM = 480, 26, 54, 12
LABELS_END, BARS_START, BARS_END, RIGHT = 150, 158, 380, 470

#: A card of its own: it stays legible where the page is dark and the reader's system is not, or the other way round.
STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2933 }
.title { font-weight: 600 } .note { font-size: 12px; fill: #5f6c7b } .name { text-anchor: end }
.card { fill: #fbfcfd; stroke: #dde3ea } .whisker { stroke: #1f2933; stroke-width: 1.2; fill: none }
.ours { fill: #1b8a6b } .bare { fill: #b4bfca } .peer { fill: #7296c4 } .strong { font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #e4e8ed } .note { fill: #9aa5b1 } .card { fill: #1a1f25; stroke: #333c46 } .whisker { stroke: #e4e8ed }
.ours { fill: #2fa583 } .bare { fill: #56626e } .peer { fill: #4f77ab }
}"""


class Bar(NamedTuple):
    """One row; without a figure, it says why."""

    name: str
    figure: Spread | None
    reason: str = ""

    @property
    def kind(self) -> str:
        """What decides on its colour."""
        first = self.name.partition(" ")[0].rstrip(",")
        return {"penstock": "ours", "bare": "bare"}.get(first, "peer")


def draw(title: str, note: str, bars: Sequence[Bar]) -> str:
    """The whole file. Bars begin at zero; a whisker goes from the least sample to the greatest."""
    height = TOP + ROW * len(bars) + BOTTOM
    greatest = max((bar.figure.median for bar in bars if bar.figure is not None), default=0.0) or 1.0
    scale = (BARS_END - BARS_START) / greatest
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}: {escape(note)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="14" y="24">{escape(title)}</text>',
        f'<text class="note" x="14" y="42">{escape(note)}</text>',
    ]
    for number_of_row, bar in enumerate(bars):
        lines += _row(bar, TOP + ROW * number_of_row, scale)
    return "\n".join([*lines, "</svg>", ""])


def _row(bar: Bar, top: int, scale: float) -> list[str]:
    strong = " strong" if bar.kind == "ours" else ""
    baseline, middle = top + 17, top + ROW / 2
    lines = [f'<text class="name{strong}" x="{LABELS_END}" y="{baseline}">{escape(bar.name)}</text>']
    if bar.figure is None:
        return [*lines, f'<text class="note" x="{BARS_START}" y="{baseline}">{escape(bar.reason[:45])}</text>']
    # A spread beyond the longest bar is cut: one bad sample must not shrink everything else.
    end, low, high = (min(BARS_START + value * scale, RIGHT) for value in bar.figure)
    high = min(high, BARS_END + 20)
    width = f"{max(end - BARS_START, 1):.1f}"
    lines.append(f'<rect class="{bar.kind}" x="{BARS_START}" y="{top + 4}" width="{width}" height="{ROW - 8}" rx="2"/>')
    if high - low > 2:
        ends = f"M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"
        lines.append(f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}{ends}"/>')
    value = number(bar.figure.median)
    return [*lines, f'<text class="value{strong}" x="{max(end, high) + 7:.1f}" y="{baseline}">{value}</text>']
