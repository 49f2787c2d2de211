"""The table of a connection's states: every pair of a state and a signal either is in it or is an error."""

from __future__ import annotations

from itertools import product

import pytest

from penstock._core.connection import TRANSITIONS, ConnectionEntry, Signal, State
from tests.support.story import Story

LEGAL = {
    (State.DIALING, Signal.CONNECTED): State.IDLE,
    (State.DIALING, Signal.DIAL_FAILED): State.CLOSED,
    (State.DIALING, Signal.CLOSE): State.CLOSING,
    (State.IDLE, Signal.TAKEN): State.ACTIVE,
    (State.IDLE, Signal.PROBE): State.PROBING,
    (State.IDLE, Signal.CLOSE): State.CLOSING,
    (State.ACTIVE, Signal.TAKEN): State.ACTIVE,
    (State.ACTIVE, Signal.FREED): State.IDLE,
    (State.ACTIVE, Signal.LATCH): State.DRAINING,
    (State.ACTIVE, Signal.CLOSE): State.CLOSING,
    (State.PROBING, Signal.PROBE_OK): State.IDLE,
    (State.PROBING, Signal.CLOSE): State.CLOSING,
    (State.DRAINING, Signal.CLOSE): State.CLOSING,
    (State.CLOSING, Signal.CLOSED): State.CLOSED,
}


def entry_in(state: State) -> ConnectionEntry:
    endpoint = Story().endpoint()
    entry = ConnectionEntry(1, endpoint, generation=0)
    entry.state = state
    return entry


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_every_pair(state: State, signal: Signal) -> None:
    entry = entry_in(state)
    if (state, signal) not in LEGAL:
        with pytest.raises(KeyError):
            entry.step(signal)
        assert entry.state is state
        return

    entry.step(signal)

    assert entry.state is LEGAL[state, signal]


def test_nothing_leaves_closed_and_draining_only_ends() -> None:
    assert TRANSITIONS[State.CLOSED] == {}
    assert set(TRANSITIONS[State.DRAINING].values()) == {State.CLOSING}


def test_every_state_is_reached() -> None:
    reached = {state for signals in TRANSITIONS.values() for state in signals.values()}

    assert reached == set(State) - {State.DIALING}


def test_an_entry_says_what_it_is() -> None:
    assert repr(entry_in(State.ACTIVE)) == "<connection 1 ACTIVE to https://a>"
