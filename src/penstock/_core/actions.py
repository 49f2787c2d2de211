"""What the machine wants done: small, one verb each, performed by the owner in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .._events import CloseReason, Event, RejectReason
    from .connection import ConnectionEntry
    from .waiters import Waiter


class Dial(NamedTuple):
    """Make a connection for the entry; answer with `connected` or `dial_failed`."""

    entry: ConnectionEntry


class Deliver(NamedTuple):
    """Wake the waiter with the connection, which is counted as taken already."""

    waiter: Waiter
    entry: ConnectionEntry


class Fail(NamedTuple):
    """Wake the waiter with a refusal; it is out of the queue already."""

    waiter: Waiter
    reason: RejectReason
    cause: BaseException | None


class Close(NamedTuple):
    """Close the connection, or give its dial up; answer with `closed`."""

    entry: ConnectionEntry
    reason: CloseReason


class Probe(NamedTuple):
    """Look whether the idle connection still lives; answer with `probed`."""

    entry: ConnectionEntry


class WakeAt(NamedTuple):
    """Call `woke` at this time, or earlier; replaces any earlier wish."""

    at: float


class Emit(NamedTuple):
    """Tell the instruments."""

    event: Event


Action = Dial | Deliver | Fail | Close | Probe | WakeAt | Emit
