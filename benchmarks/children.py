"""The competitors' processes, seen from the one that asks them."""

from __future__ import annotations

import json
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from .competitors import Competitor
from .cores import Cores
from .processes import python, running

#: Seconds that a sample may take.
PATIENCE = 15.0


class Failed(RuntimeError):
    """A competitor did not do what it was asked; the text says what happened instead."""


class Child:
    """A competitor's process, and the next one where it failed."""

    def __init__(self, competitor: Competitor, core: int | None, stack: ExitStack) -> None:
        """Start it; `missing` says what it lacks, None where it is ready."""
        self.competitor = competitor
        self._command = python("benchmarks.child", competitor.module, "-" if core is None else str(core))
        self._stack = stack
        try:
            greeting = self._start()
        except Failed as error:
            greeting = {"missing": f"a sign of life ({error})"}
        self.missing: str | None = greeting.get("missing")
        self.versions: dict[str, str] = greeting.get("versions", {})

    def _start(self) -> dict[str, Any]:
        self._life = self._stack.enter_context(ExitStack())
        self._process = self._life.enter_context(running(self._command))
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        if not ready:
            raise Failed(f"no answer within {PATIENCE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"its process ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def measure(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """One sample.

        Raises:
            Failed: there is none. The next one is measured in a new process.
        """
        if self._process.poll() is not None:
            self._life.close()
            self._start()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            answer = self._answer()
            if "failed" in answer:
                raise Failed(answer["failed"])
        except Failed:
            # Whatever it still does must not weigh on the others' samples.
            self._process.kill()
            self._process.wait()
            raise
        return answer


@contextmanager
def started(chosen: Sequence[Competitor], cores: Cores) -> Iterator[tuple[list[Child], dict[str, str]]]:
    """Start every competitor; those that are ready, and what the others lack."""
    with ExitStack() as stack:
        children = [Child(competitor, cores.client, stack) for competitor in chosen]
        missing = {child.competitor.name: child.missing for child in children if child.missing is not None}
        yield [child for child in children if child.missing is None], missing
