"""Upstreams that are held up, the one whose waiter has waited longest without a dial first.

Kept lazily: an upstream is noted with the number of its oldest waiter without a dial, and whether that note still
holds is looked at when it comes to the front. An upstream whose oldest waiter left is noted anew, one that no longer
belongs here is dropped; whoever holds it up again adds it again. A note that is too low is found at the front so; one
that is too high would never come there, hence `follow`: behind who left may stand somebody who came back and has
waited longer.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .endpoint import Upstream

#: Below this many outdated notes a clean-up is not worth its cost.
_COMPACT_ABOVE = 64


class StalledLine:
    """A heap of upstreams by their oldest waiter; O(log n) amortised.

    Attributes:
        notes: the heap, outdated notes included; if it is empty, nobody is held up.
    """

    __slots__ = ("_noted", "notes")

    def __init__(self) -> None:
        self.notes: list[tuple[int, Upstream]] = []
        self._noted: dict[Upstream, int] = {}

    def add(self, upstream: Upstream) -> None:
        """Note the upstream; no-op if nobody waits there without a dial."""
        oldest = upstream.queue.oldest_uncovered
        if oldest is None or self._noted.get(upstream) == oldest.number:
            return
        self._noted[upstream] = oldest.number
        heappush(self.notes, (oldest.number, upstream))
        if len(self.notes) > 2 * len(self._noted) + _COMPACT_ABOVE:
            self.notes = [note for note in self.notes if self._noted.get(note[1]) == note[0]]
            heapify(self.notes)

    def follow(self, upstream: Upstream) -> None:
        """A waiter left the upstream: note it anew if it would stand too far behind; no-op if it is not noted."""
        noted = self._noted.get(upstream)
        if noted is not None:
            oldest = upstream.queue.oldest_uncovered
            if oldest is not None and oldest.number < noted:
                self.add(upstream)

    def first(self, belongs: Callable[[Upstream], bool]) -> Upstream | None:
        """The upstream whose oldest waiter has waited longest, of those that still belong here."""
        while self.notes:
            number, upstream = self.notes[0]
            if self._noted.get(upstream) == number:
                oldest = upstream.queue.oldest_uncovered
                if oldest is not None and oldest.number == number and belongs(upstream):
                    return upstream
                del self._noted[upstream]
                if oldest is not None and oldest.number != number:
                    self.add(upstream)
                    continue
            heappop(self.notes)
        return None
