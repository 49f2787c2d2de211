"""Draw the connection's states from the table that the pool runs on.

`python docs/tools/draw_states.py` writes `docs/design/connection-states.svg` and the table beside it; the build of the
pages does the same, and a test fails when the files in the repository are not what the table says.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from penstock._core.connection import TRANSITIONS, State

FOLDER = Path(__file__).parent.parent / "design"

WIDTH, HEIGHT = 880, 430
BOX_WIDTH, BOX_HEIGHT = 118, 44


class Point(NamedTuple):
    """A place on the sheet."""

    x: float
    y: float


#: Where a state is drawn. A state that is missing here fails the build, as a new one should.
PLACES = {
    State.DIALING: Point(90, 210),
    State.IDLE: Point(310, 120),
    State.ACTIVE: Point(560, 120),
    State.PROBING: Point(310, 300),
    State.DRAINING: Point(790, 120),
    State.CLOSING: Point(560, 300),
    State.CLOSED: Point(790, 300),
}

#: How far an arrow bends to its left, in pixels; straight where nothing is said.
BENDS = {
    (State.IDLE, State.ACTIVE): 26,
    (State.ACTIVE, State.IDLE): 26,
    (State.IDLE, State.PROBING): 26,
    (State.PROBING, State.IDLE): 26,
    (State.DIALING, State.CLOSING): -95,
    (State.DIALING, State.CLOSED): -150,
}

TITLE = "The states of a connection and what leads from one to the other"

ARROW_HEAD = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" style="fill:#52606d;stroke:none"/></marker>'
)

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2933}.state{font-weight:600;text-anchor:middle}"
    ".signal{font-size:11.5px;text-anchor:middle}.halo{stroke:#fff;stroke-width:5px}"
    "rect{fill:#eef4fb;stroke:#3b6ea5;stroke-width:1.5}path{fill:none;stroke:#52606d;stroke-width:1.4}"
)


def arrows() -> dict[tuple[State, State], list[str]]:
    """The signals that lead from one state to another, by pair of states."""
    found: dict[tuple[State, State], list[str]] = {}
    for source, row in TRANSITIONS.items():
        for signal, target in row.items():
            found.setdefault((source, target), []).append(signal.name.lower())
    return found


def edge_of_box(centre: Point, towards: Point) -> Point:
    """Where the line from the centre of a box leaves the box."""
    dx, dy = towards.x - centre.x, towards.y - centre.y
    scale = min(
        (BOX_WIDTH / 2 + 3) / abs(dx) if dx else float("inf"),
        (BOX_HEIGHT / 2 + 3) / abs(dy) if dy else float("inf"),
    )
    return Point(centre.x + dx * scale, centre.y + dy * scale)


def draw_arrow(source: State, target: State, label: str) -> list[str]:
    """One arrow with its label."""
    start, end = PLACES[source], PLACES[target]
    if source is target:
        top = start.y - BOX_HEIGHT / 2 - 3
        path = "M{:.0f} {y:.0f}C{:.0f} {high:.0f} {:.0f} {high:.0f} {:.0f} {y:.0f}".format(
            *(start.x + aside for aside in (-22, -40, 40, 22)), y=top, high=top - 46
        )
        middle = Point(start.x, top - 40)
    else:
        bend = BENDS.get((source, target), 0)
        length = ((end.x - start.x) ** 2 + (end.y - start.y) ** 2) ** 0.5
        normal = Point((end.y - start.y) / length, -(end.x - start.x) / length)
        control = Point((start.x + end.x) / 2 + normal.x * bend * 2, (start.y + end.y) / 2 + normal.y * bend * 2)
        start, end = edge_of_box(start, control), edge_of_box(end, control)
        path = f"M{start.x:.0f} {start.y:.0f}Q{control.x:.0f} {control.y:.0f} {end.x:.0f} {end.y:.0f}"
        middle = Point((start.x + 2 * control.x + end.x) / 4, (start.y + 2 * control.y + end.y) / 4)
    place = f'x="{middle.x:.0f}" y="{middle.y + 4:.0f}"'
    return [
        f'<path d="{path}" marker-end="url(#tip)"/>',
        f'<text class="signal halo" {place}>{label}</text>',
        f'<text class="signal" {place}>{label}</text>',
    ]


def draw() -> str:
    """The picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{TITLE}">',
        f"<style>{STYLE}</style>",
        f"<defs>{ARROW_HEAD}</defs>",
        f'<rect x="0" y="0" width="{WIDTH}" height="{HEIGHT}" style="fill:#fff;stroke:none"/>',
    ]
    for (source, target), signals in arrows().items():
        parts += draw_arrow(source, target, ", ".join(signals))
    for state in TRANSITIONS:
        place = PLACES[state]
        parts.append(
            f'<rect x="{place.x - BOX_WIDTH / 2:.0f}" y="{place.y - BOX_HEIGHT / 2:.0f}" width="{BOX_WIDTH}" '
            f'height="{BOX_HEIGHT}" rx="9"/>'
        )
        parts.append(f'<text class="state" x="{place.x:.0f}" y="{place.y + 5:.0f}">{state.name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def table() -> str:
    """The same as text, one row for each pair of state and signal."""
    rows = [
        f"| {source.name} | {signal.name.lower()} | {target.name} |"
        for source, row in TRANSITIONS.items()
        for signal, target in row.items()
    ]
    return "\n".join(["| in | on | goes to |", "|---|---|---|", *rows, ""])


def outputs() -> dict[Path, str]:
    """What belongs into the repository."""
    return {FOLDER / "connection-states.svg": draw(), FOLDER / "connection-states.txt": table()}


def write() -> None:
    """Write the files that differ from the table."""
    for path, text in outputs().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    write()
