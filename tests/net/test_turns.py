"""Handshakes that are under way together: one step in every other round of the loop, and nobody left behind."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import trio
import trio.testing

from penstock._errors import NetworkError
from penstock._net.tls import TLSProfile, start_tls
from penstock._net.turns import Turns
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.tls_peer import TLSPeer


class Rounds(trio.abc.Instrument):
    """Counts the rounds of the loop."""

    def __init__(self) -> None:
        self.number = 0

    def before_io_wait(self, timeout: float) -> None:
        self.number += 1


@pytest.fixture
async def rounds() -> Rounds:
    rounds = Rounds()
    trio.lowlevel.add_instrument(rounds)
    return rounds


async def handshake(turns: Turns, rounds: Rounds, steps: list[int], count: int = 2) -> None:
    turns.under_way += 1
    try:
        for _ in range(count):
            await turns.take()
            steps.append(rounds.number)
            # As with a peer, the answer is not there at once.
            await trio.testing.wait_all_tasks_blocked()
    finally:
        turns.under_way -= 1


async def test_a_handshake_that_is_alone_never_waits() -> None:
    turns = Turns()
    turns.under_way += 1
    with trio.testing.assert_no_checkpoints():
        await turns.take()
        await turns.take()


async def test_a_round_without_a_step_is_between_two_steps(rounds: Rounds) -> None:
    turns, steps = Turns(), list[int]()
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(handshake, turns, rounds, steps)
    assert len(steps) == 16
    # Only the first of all was alone, and did not wait.
    assert min(later - earlier for earlier, later in pairwise(steps[1:])) >= 2


async def test_a_late_comer_is_behind_those_in_line(rounds: Rounds) -> None:
    turns, steps = Turns(), list[int]()
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(handshake, turns, rounds, steps, 1)
            await trio.lowlevel.checkpoint()
    assert len(set(steps)) == 6


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cancelled_holds_nobody_up(rounds: Rounds, seed: int) -> None:
    chance = random.Random(seed)
    turns, steps, ended = Turns(), list[int](), list[bool]()

    async def one(scope: trio.CancelScope) -> None:
        with scope:
            await handshake(turns, rounds, steps)
        ended.append(True)

    scopes = [trio.CancelScope() for _ in range(8)]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(one, scope)
            for scope in chance.sample(scopes, 5):
                for _ in range(chance.randrange(4)):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    assert len(ended) == 8
    assert len(set(steps)) == len(steps) >= 6
    assert turns.under_way == 0
    with trio.testing.assert_no_checkpoints():
        await turns.take()


async def test_a_handshake_that_failed_or_was_given_up_is_not_waited_for() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file()))
    with pytest.raises(NetworkError):
        peer = TLSPeer(forge.server(forge.leaf()))
        peer.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await start_tls(peer, profile, host=forge.HOST, port=443)
    with trio.CancelScope() as scope:
        scope.cancel()
        await start_tls(TLSPeer(forge.server(forge.leaf()), hesitant=True), profile, host=forge.HOST, port=443)
    assert scope.cancelled_caught
    assert profile.turns.under_way == 0
