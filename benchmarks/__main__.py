"""`python -m benchmarks [NAME]`: run one scenario, or all of them in turn."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

from . import scenarios


def main() -> int:
    """Read the command line, run, and write the results as JSON where asked."""
    benchmarks = scenarios.load()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    commands = parser.add_subparsers(dest="name")
    for name, benchmark in benchmarks.items():
        description = (benchmark.__doc__ or "").splitlines()[0]
        benchmark.add_arguments(commands.add_parser(name, help=description, description=benchmark.__doc__))
    options = parser.parse_args()

    results: dict[str, dict[str, Any]] = {}
    for name in [options.name] if options.name else benchmarks:
        print(f"== {name}: {(benchmarks[name].__doc__ or '').splitlines()[0]}\n", flush=True)
        chosen = options if options.name else parser.parse_args([name])
        results[name] = benchmarks[name].run(chosen)
        print(flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": platform.platform(), **results}, indent=2))
    missed = [target for name in benchmarks for target in results.get(name, {}).get("targets", []) if not target["met"]]
    print(f"{len(missed)} target(s) not met" if missed else "every measured target is met")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
