"""Which CPU core serves and which one asks, so that neither steals from the other."""

from __future__ import annotations

import os
from typing import NamedTuple


class Cores(NamedTuple):
    """One core each; None where the machine has a single one, or lets no process choose."""

    server: int | None
    client: int | None


def choose_cores() -> Cores:
    """Take the first two cores this process may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1]) if len(allowed) > 1 else Cores(None, None)
