"""The page of the documentation that shows the results: `python -m benchmarks report FILE …` writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .chart import Bar, draw
from .comparison import Figure, rows_of
from .table import Spread

DOCS = Path(__file__).parents[1] / "docs"

INTRODUCTION = """\
<!-- Written by `python -m benchmarks report`; what is changed here is lost. -->

# Benchmarks

What Penstock costs beside its peers, on one machine, in one run. Read ratios, not microseconds: the same machine
gives other numbers an hour later, and yours gives others still. `nox -s bench` measures on yours; what each scenario
does, and how to add one, stands in `benchmarks/README.md`.

Each competitor runs in a process of its own, all on the same core, and the server, one nginx unless said otherwise,
on another. They take turns, round by round, so that a noisy moment hurts all alike. *CPU* is that of the whole client
process, all of its threads, in user and system mode. A figure is the median of the rounds; in parentheses stand the
least and the greatest, "±" is the farther of the two from the median, and a whisker in a chart goes from one to the
other. *Bare* are loops written by hand, without a pool, a deadline or a check: they are what a client would cost at
the very least.
"""

#: What a page of a short run begins with.
QUICK = """\
:::{warning}
These come from a run with `--quick`: few rounds, wide spreads, some situations left out.
:::
"""


def write(results: Mapping[str, Any], modules: Mapping[str, ModuleType], docs: Path = DOCS) -> None:
    """Write `benchmarks.md` and the drawings that it shows, in place of those of another run."""
    folder = docs / "benchmarks"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    parts = [INTRODUCTION, *([QUICK] if results.get("quick") else []), _machine(results)]
    for name, module in modules.items():
        if name in results["scenarios"]:
            parts += _scenario(name, module, results["scenarios"][name], folder)
    (docs / "benchmarks.md").write_text("\n".join(parts))


def _machine(results: Mapping[str, Any]) -> str:
    versions: dict[str, str] = {}
    for data in results["scenarios"].values():
        for competitor in data.get("competitors", []):
            versions |= competitor["versions"]
    servers = {data["server"] for data in results["scenarios"].values() if data.get("server", "").startswith("nginx")}
    rows = [[name, value] for name, value in results["machine"].items()]
    rows.append(["server", ", ".join(sorted(servers)) or "none"])
    rows.append(["libraries", ", ".join(f"{library} {version}" for library, version in sorted(versions.items()))])
    return _table(["machine", ""], rows)


def _scenario(name: str, module: ModuleType, data: Mapping[str, Any], folder: Path) -> list[str]:
    title, _, text = (module.__doc__ or name).partition("\n\n")
    parts = [f"## {title.strip().removesuffix('.')}\n", f"{text.strip()}\n" if text else ""]
    if "failed" in data:
        return [*parts, f"Not measured: {data['failed']}\n"]
    if "situations" in data:
        figures = [Figure(**figure) for figure in data["figures"]]
        charts = getattr(module, "CHARTS", ())
        for situation in data["situations"]:
            parts += _situation(name, situation, figures, charts, folder)
        for competitor, what in data.get("missing", {}).items():
            parts.append(f"Not measured: {competitor}; {what} was missing.\n")
    else:
        parts.append(f"```text\n{data.get('printed', '').strip()}\n```\n")
    rows = [[_say(target), *_verdict(target)] for target in data.get("targets", []) if "situations" in data]
    return [*parts, _table(["target", "found", ""], rows)] if rows else parts


def _situation(
    name: str, situation: Mapping[str, Any], figures: Sequence[Figure], charts: Sequence[str], folder: Path
) -> list[str]:
    label = situation["label"]
    parts = [f"### {label[0].upper()}{label[1:]}\n" if len(figures) else ""]
    measured = {cell["competitor"]: Spread(**cell[figures[0].key]) for cell in situation["cells"]}
    if label in charts and measured:
        note = figures[0].label + ("; more is better" if figures[0].better == "more" else "; less is better")
        bars = [Bar(competitor, figure) for competitor, figure in measured.items()]
        bars += [Bar(competitor, None, reason) for competitor, reason in situation["failed"].items()]
        file = f"{name}-{re.sub('[^a-z0-9]+', '-', label.lower())}.svg"
        (folder / file).write_text(draw(label[0].upper() + label[1:], note, bars))
        parts.append(f"![{label}: {note}](benchmarks/{file})\n")
    head, rows = rows_of(situation, figures)
    parts.append(_table(["", *head[1:]], rows))
    parts += [f"{competitor}: {reason}.\n" for competitor, reason in situation["failed"].items()]
    return parts


def _say(target: Mapping[str, Any]) -> str:
    return str(target["name"])


def _verdict(target: Mapping[str, Any]) -> tuple[str, str]:
    if target["met"] is None:
        return "", "not measured"
    return f"{target['found']:.2f}", "met" if target["met"] else "**not met**"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
