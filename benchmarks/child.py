"""One competitor in its own process: `python -m benchmarks.child MODULE CORE`.

It says on standard output whether its library is there, then answers each job from standard input, one line of JSON,
with another.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from functools import partial
from importlib.metadata import version

from .server import Server


def main() -> None:
    """Serve the parent until it closes our standard input."""
    module, core = sys.argv[1:]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    try:
        competitor = importlib.import_module(f".competitors.{module}", __package__)
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": error.name}), flush=True)
        return
    print(json.dumps({"library": competitor.LIBRARY, "version": version(competitor.LIBRARY)}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        task = importlib.import_module(f".tasks.{job.pop('task')}", __package__)
        measure = partial(task.measure, competitor, Server(*job.pop("server")), **job)
        if competitor.LOOP == "asyncio":
            answer = asyncio.run(measure())
        else:
            import trio

            answer = trio.run(measure)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
