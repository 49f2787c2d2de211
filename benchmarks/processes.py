"""The processes that a benchmark starts: each ends with the block that it was started for."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parents[1]

#: Seconds that a process gets to end by itself.
GRACE = 2.0


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Start it with pipes for its input and output; at the end, close its input, or kill it."""
    # In a process group of its own: Ctrl-C is for us alone, and we end the others in order.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT, process_group=0
    )
    try:
        yield process
    finally:
        stop(process)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with this very Python."""
    return [sys.executable, "-m", module, *arguments]


def stop(process: subprocess.Popen[str]) -> None:
    """Let it end by itself, but not for long."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    else:
        process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
