"""Which waiter has a dial that runs on its behalf.

A dial covers as many waiters as its connection is expected to have room for (`Endpoint.expected`): one over HTTP/1.1,
many over HTTP/2, and all of them while nobody knows which of the two the server speaks. What is expected may change
while dials run; then some cover fewer, or more.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .connection import ConnectionEntry
    from .waiters import Waiter


class Covering:
    """Waiters and dials of one upstream.

    Attributes:
        uncovered: waiters that no dial runs for, the oldest first.
        spare: dials that could cover more, the one that could for longest first; empty while somebody is uncovered.
    """

    __slots__ = ("_arrivals", "spare", "uncovered")

    def __init__(self) -> None:
        self._arrivals = 0
        self.uncovered: OrderedDict[Waiter, None] = OrderedDict()
        self.spare: OrderedDict[ConnectionEntry, None] = OrderedDict()

    def add(self, waiter: Waiter, *, first: bool) -> None:
        """A waiter joined: a spare dial will do, otherwise it is the first or the last that needs one."""
        self._arrivals += 1
        waiter.arrival = self._arrivals
        self.uncovered[waiter] = None
        if first:
            self.uncovered.move_to_end(waiter, last=False)
        self._fill()

    def drop(self, waiter: Waiter) -> None:
        """A waiter left: its place on a dial is for the next that needs one."""
        dial, waiter.dial = waiter.dial, None
        if dial is None:
            del self.uncovered[waiter]
        else:
            del dial.covered[waiter]
            self.spare[dial] = None
            self._fill()

    def begin(self, dial: ConnectionEntry) -> None:
        """A dial starts on behalf of those who have none; if there are fewer than it could cover, it is spare."""
        dial.began = self._arrivals
        self.spare[dial] = None
        self._fill()

    def end(self, dial: ConnectionEntry) -> list[Waiter]:
        """The dial is over. Those whom it covered are the first that need another one; they are returned."""
        self.spare.pop(dial, None)
        waiters = list(dial.covered)
        dial.covered.clear()
        self._uncover(waiters)
        return waiters

    def expect(self, dials: Iterable[ConnectionEntry]) -> None:
        """Another number of waiters is expected to be served by each of these dials."""
        surplus: list[Waiter] = []
        for dial in dials:
            places = dial.endpoint.expected
            covered = list(dial.covered)
            while len(dial.covered) > places:
                dial.covered.popitem()
            surplus += covered[len(dial.covered) :]
            if len(dial.covered) < places:
                self.spare[dial] = None
            else:
                self.spare.pop(dial, None)
        self._uncover(surplus)

    def _uncover(self, waiters: list[Waiter]) -> None:
        for waiter in reversed(waiters):
            waiter.dial = None
            self.uncovered[waiter] = None
            self.uncovered.move_to_end(waiter, last=False)
        self._fill()

    def _fill(self) -> None:
        while self.uncovered and self.spare:
            dial = next(iter(self.spare))
            waiter, _ = self.uncovered.popitem(last=False)
            waiter.dial = dial
            dial.covered[waiter] = None
            if len(dial.covered) >= dial.endpoint.expected:
                del self.spare[dial]
