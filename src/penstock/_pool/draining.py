"""How long whoever leaves a body early waits for its connection, while a task of the pool reads the rest."""

from __future__ import annotations

import trio


class Draining:
    """A rest that is being read; whoever left it may wait until that is over, or of no more interest."""

    __slots__ = ("_is_settled", "_tasks")

    def __init__(self) -> None:
        self._is_settled = False
        self._tasks: list[trio.lowlevel.Task] = []

    def settle(self) -> None:
        """The body has ended, or it goes on: the wait is over either way. May be repeated."""
        self._is_settled = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Wait until it is settled. A cancellation ends the wait, and is raised where the caller waits next."""
        if self._is_settled:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return

        task = trio.lowlevel.current_task()

        def stop(_: object) -> trio.lowlevel.Abort:
            # Raised here it would hide what the caller's block raised, and there is nothing to clean up.
            self._tasks.remove(task)
            trio.lowlevel.reschedule(task)
            return trio.lowlevel.Abort.FAILED

        self._tasks.append(task)
        await trio.lowlevel.wait_task_rescheduled(stop)


def is_cancelled() -> bool:
    """Whether the present task is cancelled, so that it has no time for anything."""
    return trio.current_effective_deadline() <= trio.current_time()
