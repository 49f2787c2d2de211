"""Handshakes that are under way together take turns: one step in every other round of the loop.

A step of a handshake is the longest that a client computes without a pause, up to a millisecond, and dials that began
together reach it together. In one round they would hold up everybody whose answer has arrived meanwhile. Every other
round, because the next request on a connection leaves in the round after the answer: the two are held up by one step.
A handshake that is alone never waits.
"""

from __future__ import annotations

import trio


class Turns:
    """The turns of the handshakes of one profile.

    Attributes:
        under_way: handshakes that have begun and not ended; whoever begins one counts it here.
    """

    __slots__ = ("_line", "_moves", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self._line = trio.lowlevel.ParkingLot()
        # Whether somebody has the next turn; everybody else lines up.
        self._moves = False

    async def take(self) -> None:
        """Wait for a round in which nobody else computes, if anybody else is there."""
        if self._moves:
            await self._line.park()
        elif self.under_way < 2:
            return
        self._moves = True
        try:
            await trio.lowlevel.checkpoint()
        finally:
            # Before the own step: the next one has a round to wait.
            self._moves = bool(self._line)
            self._line.unpark()
