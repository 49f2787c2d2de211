"""The connections without an exchange, the one that has been idle for longest first.

A ring through the entries themselves, as in `selection`: whoever takes a connection, or gives it back, has the entry
at hand already, and of the others only the two beside it are touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .connection import ConnectionEntry


class IdleLine:
    """Idle connections of the whole pool, in the order in which they came back; every operation is O(1).

    Attributes:
        size: how many there are.
        became_idle_after: the first; the line itself if there is none.
        became_idle_before: the last; likewise.
    """

    __slots__ = ("became_idle_after", "became_idle_before", "size")

    def __init__(self) -> None:
        self.size = 0
        self.became_idle_before: Any = self
        self.became_idle_after: Any = self

    def add(self, entry: ConnectionEntry) -> None:
        """It came back just now."""
        entry.became_idle_before = last = self.became_idle_before
        entry.became_idle_after = self
        last.became_idle_after = self.became_idle_before = entry
        self.size += 1

    def remove(self, entry: ConnectionEntry) -> None:
        """It is taken or closed; it has to be here."""
        before, after = entry.became_idle_before, entry.became_idle_after
        before.became_idle_after = after
        after.became_idle_before = before
        entry.became_idle_before = entry.became_idle_after = None
        self.size -= 1

    @property
    def oldest(self) -> ConnectionEntry:
        """The one that has been idle for longest; there must be one."""
        oldest: ConnectionEntry = self.became_idle_after
        return oldest

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[ConnectionEntry]:
        entry = self.became_idle_after
        while entry is not self:
            yield entry
            entry = entry.became_idle_after
