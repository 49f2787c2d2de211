"""How often this process was forked off since Penstock was imported: a pool belongs to the process that opened it.

Asking the system for the process' number would cost each request a call of its own.
"""

from __future__ import annotations

import os


class Forks:
    """Counts the forks between the process that imported this and the one that runs."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def forked(self) -> None:
        """This process is a child of the one that ran so far."""
        self.count += 1


forks = Forks()
os.register_at_fork(after_in_child=forks.forked)
