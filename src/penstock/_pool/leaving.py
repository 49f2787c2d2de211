"""Which exception leaves the pool's block: the body's own, as itself, and else what broke the pool."""

from __future__ import annotations

import logging

import trio

_log = logging.getLogger("penstock.pool")


def without_cancellation(error: BaseException) -> BaseException | None:
    """What is left of an error, or of a group, besides cancellations."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error


def leaving(body: BaseException | None, own: BaseException) -> BaseException | None:
    """Choose what leaves.

    Args:
        body: what the body of the block raised.
        own: what the nursery of the pool raised; usually a group.

    Returns:
        The exception to raise, never a group of the pool's; None if the body's is to go on as it is.
    """
    broken = without_cancellation(own)
    if broken is None:
        return None if body is not None else _first(own)
    fault = _first(broken)
    # A pool that breaks cancels the body, and that cancellation ends here.
    rest = None if body is None else without_cancellation(body)
    if rest is None:
        return fault
    rest.add_note(f"The pool had broken: {fault!r}")
    _log.error("the pool broke", exc_info=fault)
    return None if rest is body else rest


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
