"""A cold start: milliseconds of a fresh process to its first response over plain HTTP/1.1.

Three steps, each by itself: importing the library with the event loop it runs on, making a client, and the first
response. *By hand* is h11 on a trio socket, without a client: what a trio program needs in any case. Byte code is
there before, as an installer leaves it.
"""

from __future__ import annotations

import argparse
import compileall
import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from .. import cold_programs
from ..comparison import Figure, Found, Situation, show
from ..competitors import AIOHTTP, HTTPX, HTTPX2, PENSTOCK, PYREQWEST, Competitor
from ..cores import choose_cores
from ..nginx import running_nginx
from ..table import spread, verdict

QUICK = {"samples": 5}

FIGURES = (
    Figure("total_ms", "total ms"),
    Figure("import_ms", "import ms"),
    Figure("client_ms", "client ms"),
    Figure("response_ms", "first response ms"),
)

CHARTS = ("a fresh process",)

BY_HAND = Competitor("bare h11", "", "h11 on a trio socket")

PROGRAMS = {
    BY_HAND: cold_programs.BY_HAND,
    PENSTOCK: cold_programs.PENSTOCK,
    PYREQWEST: cold_programs.PYREQWEST,
    AIOHTTP: cold_programs.AIOHTTP,
    HTTPX2: cold_programs.HTTPX2,
    HTTPX: cold_programs.HTTPX,
}

#: Milliseconds that Penstock may cost beyond what is done by hand.
LIMITS = {"import_ms": 50.0, "total_ms": 80.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--samples", type=int, default=15, help="fresh processes for each program, taken in turn")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table and the targets, and return everything as data."""
    cores = choose_cores()
    _compile()
    missing = {name.name: f"module {program.module!r}" for name, program in PROGRAMS.items() if not _has(program)}
    for name, what in missing.items():
        print(f"{name}: not measured, {what} is missing")
    chosen = [competitor for competitor in PROGRAMS if competitor.name not in missing]
    found = Found({(competitor.name, CHARTS[0]): [] for competitor in chosen}, {})
    with running_nginx(cores.server) as nginx:
        for number in range(options.samples + 1):
            for competitor in chosen:
                cell = competitor.name, CHARTS[0]
                if cell in found.failed:
                    continue
                sample = _sample(PROGRAMS[competitor].text(nginx.http1.url), cores.client)
                if isinstance(sample, str):
                    found.failed[cell] = sample
                    del found.samples[cell]
                    print(f"{competitor.name}: {sample}")
                elif number:  # the first round fills the caches of the disk and of the compiler
                    found.samples[cell].append(sample)
        server = f"nginx {nginx.version}"
    shown = show([Situation(CHARTS[0], {}, chosen)], FIGURES, found)
    return {"server": server, "rounds": options.samples, "missing": missing, **shown, "targets": _check(found)}


def _has(program: cold_programs.Program) -> bool:
    return find_spec(program.module) is not None


def _sample(program: str, core: int | None) -> dict[str, float] | str:
    """Run the program in a fresh interpreter; what it reports, or how it failed."""
    pin = "" if core is None else f"import os; os.sched_setaffinity(0, {{{core}}})\n"
    finished = subprocess.run([sys.executable, "-c", pin + program], capture_output=True, text=True, check=False)
    if finished.returncode:
        return f"its process ended with code {finished.returncode}"
    steps = json.loads(finished.stdout)
    return {"total_ms": sum(steps), **dict(zip(("import_ms", "client_ms", "response_ms"), steps, strict=True))}


def _compile() -> None:
    """Leave byte code beside Penstock's source, as an installer does for every package."""
    spec = find_spec("penstock")
    if spec is not None:
        for folder in spec.submodule_search_locations or ():
            compileall.compile_dir(folder, quiet=2)


def _check(found: Found) -> list[dict[str, Any]]:
    """Penstock beyond what is done by hand, in milliseconds."""
    verdicts: list[dict[str, Any]] = []
    if any((competitor.name, CHARTS[0]) in found.failed for competitor in (PENSTOCK, BY_HAND)):
        return verdicts
    for key, limit in LIMITS.items():
        ours, by_hand = (
            spread([sample[key] for sample in found.samples[competitor.name, CHARTS[0]]]).median
            for competitor in (PENSTOCK, BY_HAND)
        )
        beyond, label = ours - by_hand, next(figure.label for figure in FIGURES if figure.key == key)
        name = f"penstock: {label} at most {limit:.0f} beyond {BY_HAND.name}"
        print(f"target: {name}: {beyond:.0f}, {verdict(beyond <= limit)}")
        verdicts.append({"name": name, "found": beyond, "bound": "at most", "limit": limit, "met": beyond <= limit})
    return verdicts
