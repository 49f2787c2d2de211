"""The competitors' processes, seen from the one that asks them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .competitors import Competitor
from .cores import Cores


class Child:
    """A competitor's process."""

    def __init__(self, competitor: Competitor, core: int | None) -> None:
        """Start it; `missing` names the library that it could not import, `version` is that of the one it found."""
        self.competitor = competitor
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", competitor.module, "-" if core is None else str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        greeting = self._answer()
        self.missing: str | None = greeting.get("missing")
        self.version: str = f"{greeting.get('library', '')} {greeting.get('version', '')}"

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.competitor.name} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def measure(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """One sample."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def started(chosen: Sequence[Competitor], cores: Cores) -> Iterator[list[Child]]:
    """Start every competitor; name those whose library is missing and leave them out."""
    children: list[Child] = []
    try:
        for competitor in chosen:
            child = Child(competitor, cores.client)
            if child.missing is None:
                children.append(child)
            else:
                print(f"{competitor.name}: not measured, there is no module {child.missing!r} here")
                child.close()
        yield children
    finally:
        for child in children:
            child.close()
