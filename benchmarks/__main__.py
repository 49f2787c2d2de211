"""`python -m benchmarks [NAME]`: run one scenario, or all of them in turn; `report`: write the documentation's page."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from . import machine, page, scenarios
from .resources import raise_descriptor_limit
from .server import ServerMissing

RESULTS = Path(__file__).parent / "results" / "results.json"


def main() -> int:
    """Read the command line and do what it says; 1 where a scenario failed."""
    modules = scenarios.load()
    parser = _parser(modules)
    options = parser.parse_args()
    if options.name == "report":
        page.write(_merged(options.files), modules)
        return 0

    # A process that is told to end ends its children first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise_descriptor_limit()
    results: dict[str, Any] = {"machine": machine.describe(), "quick": options.quick, "scenarios": {}}
    for name in [options.name] if options.name else modules:
        chosen = options if options.name else parser.parse_args([name])
        if options.quick:
            vars(chosen).update({"quick": True, **getattr(modules[name], "QUICK", {"rounds": 1})})
        results["scenarios"][name] = _run(name, modules[name], chosen)
        # After each, so that a run that is given up leaves what it has.
        options.json.parent.mkdir(exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1))
    if options.docs:
        page.write(results, modules)
    return _conclude(results["scenarios"], options.json)


def _parser(modules: Mapping[str, ModuleType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS, help=f"file for the results, {RESULTS.name} by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and situations: two minutes, wide spreads")
    parser.add_argument("--docs", action="store_true", help="write the documentation's page from the results")
    commands = parser.add_subparsers(dest="name", metavar="NAME")
    for name, module in modules.items():
        description = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=description, description=module.__doc__))
    report = commands.add_parser("report", help="write the documentation's page from files of results")
    report.add_argument(
        "files", nargs="*", type=Path, default=[RESULTS], help="a later one's scenarios take precedence"
    )
    return parser


def _merged(files: list[Path]) -> dict[str, Any]:
    read = [json.loads(file.read_text()) for file in files]
    found = {name: data for results in read for name, data in results["scenarios"].items()}
    return {**read[-1], "quick": any(results["quick"] for results in read), "scenarios": found}


def _run(name: str, module: ModuleType, options: argparse.Namespace) -> dict[str, Any]:
    """One scenario, with what it printed; where it fails, the others are still of use."""
    print(f"== {name}: {(module.__doc__ or '').splitlines()[0]}\n", flush=True)
    printed = io.StringIO()
    started = time.monotonic()
    try:
        with contextlib.redirect_stdout(_Both(printed)):
            data: dict[str, Any] = module.run(options)
    except ServerMissing as error:
        data = {"failed": str(error)}
        print(f"not measured: {error}")
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        # Not in its own words, which may hold paths of this machine.
        data = {"failed": f"it ended with {type(error).__name__}", "broken": True}
    seconds = round(time.monotonic() - started)
    print(f"\n{name} took {seconds} s\n", flush=True)
    return {**data, "printed": printed.getvalue(), "seconds": seconds}


class _Both(io.TextIOBase):
    """Standard output, with a copy of all that goes there."""

    def __init__(self, copy: io.StringIO) -> None:
        self._screen, self._copy = sys.stdout, copy

    def write(self, text: str) -> int:
        self._copy.write(text)
        return self._screen.write(text)

    def flush(self) -> None:
        self._screen.flush()


def _conclude(found: Mapping[str, Any], file: Path) -> int:
    verdicts = [target["met"] for data in found.values() for target in data.get("targets", [])]
    missed, unknown = verdicts.count(False), verdicts.count(None)
    if missed:
        print(f"{missed} target(s) not met", end="")
    else:
        print("every measured target is met" if True in verdicts else "no target was measured", end="")
    if unknown:
        print(f", {unknown} not measured", end="")
    print(f"; everything stands in {file}")
    for name, data in found.items():
        if "failed" in data:
            print(f"{name} was not measured: {data['failed']}")
    return int(any("broken" in data for data in found.values()))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; every process that was started is ended")
