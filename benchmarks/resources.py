"""What this process may hold, and what it does: descriptors, sockets, memory."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path


def raise_descriptor_limit() -> int:
    """Allow this process as many descriptors as it may have, and return how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def open_sockets() -> int:
    """How many sockets this process holds."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        # One of them was the directory's own, and is gone.
        with contextlib.suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def resident_bytes() -> int:
    """How much memory of this process is resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
