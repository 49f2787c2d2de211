"""How much memory a process had at most, since a moment of its choice."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def forget_peak() -> None:
    """Give back what is free, and begin a new peak where the kernel lets one: Linux does."""
    gc.collect()
    if not STATUS.exists():
        return
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_rss() -> float:
    """Megabytes of resident memory at most since `forget_peak`, elsewhere since the process began."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
