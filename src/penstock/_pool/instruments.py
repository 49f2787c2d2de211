"""Who is told what happened. An instrument is cheap, synchronous, and cannot hurt the pool."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .._events import Event

_log = logging.getLogger("penstock.instruments")


class Instrument(Protocol):
    """Something that wants to see what the pool does.

    As with trio's instruments: called synchronously after the fact, in order, in the trio thread; one that raises is
    logged once and removed.
    """

    def event(self, event: Event) -> None:
        """See one event (the records of `penstock.events`); must return quickly and must not block."""


class Instruments:
    """The instruments of one pool, told apart by identity."""

    def __init__(self) -> None:
        self._instruments: tuple[Instrument, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._instruments)

    def add(self, instrument: Instrument) -> None:
        """Start telling it; once is enough.

        Raises:
            TypeError: it has no method `event`, or one that would have to be awaited.
        """
        method = getattr(instrument, "event", None)
        if not callable(method) or inspect.iscoroutinefunction(method):
            raise TypeError(f"an instrument needs a method event(event) that is not async, unlike {instrument!r}")
        if all(known is not instrument for known in self._instruments):
            self._instruments = (*self._instruments, instrument)

    def remove(self, instrument: Instrument) -> None:
        """Stop telling it.

        Raises:
            KeyError: it is not there; one that raised was removed already.
        """
        left = tuple(known for known in self._instruments if known is not instrument)
        if len(left) == len(self._instruments):
            raise KeyError(instrument)
        self._instruments = left

    def tell(self, event: Event) -> None:
        """Tell every instrument."""
        for instrument in self._instruments:
            try:
                instrument.event(event)
            except Exception:  # noqa: BLE001 - whatever a listener raises must not reach the pool
                self._instruments = tuple(known for known in self._instruments if known is not instrument)
                _log.exception("the instrument %r raised and was removed", instrument)
