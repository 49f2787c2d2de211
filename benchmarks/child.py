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
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from types import ModuleType
from typing import Any

from .server import Server

Measure = Callable[[], Awaitable[dict[str, Any]]]


def main() -> None:
    """Serve the parent until it closes our standard input."""
    module, core = sys.argv[1:]
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    try:
        competitor = importlib.import_module(f".competitors.{module}", __package__)
    except ModuleNotFoundError as error:
        _say({"missing": f"module {error.name!r}"})
        return
    _say({"versions": {library: version(library) for library in competitor.LIBRARIES}})
    for line in sys.stdin:
        job = json.loads(line)
        task = importlib.import_module(f".tasks.{job.pop('task')}", __package__)
        measure = partial(task.measure, competitor, Server(*job.pop("server")), **job)
        try:
            _say(_run(competitor, measure))
        except Exception as error:  # noqa: BLE001 - a competitor may fail as it likes; the others go on
            traceback.print_exc()
            _say({"failed": f"{type(error).__name__}: {error}".partition("\n")[0]})


def _run(competitor: ModuleType, measure: Measure) -> dict[str, Any]:
    """Run it on the loop that the competitor is made for."""
    if competitor.LOOP == "trio":
        import trio

        return trio.run(measure)
    if competitor.LOOP == "uvloop":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_coroutine(measure))
    return asyncio.run(_coroutine(measure))


async def _coroutine(measure: Measure) -> dict[str, Any]:
    return await measure()


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
