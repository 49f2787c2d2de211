"""Happy eyeballs as tables: (address, delay, result) and the exact times of what happened."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock

from penstock._errors import ConnectError, NameResolutionError
from penstock._net.dialer import Dialer
from penstock._net.network import Address, SocketOptions, is_resource_exhaustion
from penstock._net.resolver import Resolver
from tests.net.scripted_network import (
    NO_DESCRIPTOR,
    REFUSED,
    SILENT,
    UNKNOWN,
    UNREACHABLE,
    ScriptedNetwork,
    ScriptedStream,
    v4,
    v6,
)

HOST = "api.example"
Table = list[tuple[Address, float, int | None]]


def network_of(table: Table) -> ScriptedNetwork:
    return ScriptedNetwork([row[0] for row in table], {address: (delay, result) for address, delay, result in table})


def dialer_of(network: ScriptedNetwork, local_address: str | None = None) -> Dialer:
    options = SocketOptions(local_address=local_address)
    return Dialer(network, Resolver(network, ttl=300), options=options, happy_eyeballs_delay=0.25)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "starts", "winner", "at"),
    [
        pytest.param([(v4(1), 0.1, None)], [0], v4(1), 0.1, id="one address"),
        pytest.param([(v6(1), 0.2, None), (v4(1), 0.1, None)], [0], v6(1), 0.2, id="the first is quick"),
        pytest.param([(v6(1), SILENT, None), (v4(1), 0.1, None)], [0, 0.25], v4(1), 0.35, id="a black hole"),
        pytest.param([(v6(1), 0.3, None), (v4(1), 0.1, None)], [0, 0.25], v6(1), 0.3, id="the first wins after all"),
        pytest.param([(v6(1), 0.4, None), (v4(1), 0.1, None)], [0, 0.25], v4(1), 0.35, id="the second overtakes"),
        pytest.param(
            [(v6(1), 0.01, UNREACHABLE), (v4(1), 0.1, None)], [0, 0.01], v4(1), 0.11, id="a failure hurries the next"
        ),
        pytest.param(
            [(v6(1), SILENT, None), (v4(1), 0.05, REFUSED), (v6(2), 0.1, None)],
            [0, 0.25, 0.3],
            v6(2),
            0.4,
            id="only the latest failure hurries",
        ),
        pytest.param(
            [(v6(1), 0.3, REFUSED), (v4(1), SILENT, None), (v6(2), 0.1, None)],
            [0, 0.25, 0.5],
            v6(2),
            0.6,
            id="an older failure does not",
        ),
        pytest.param(
            [(v4(1), 0.0, REFUSED), (v4(2), 0.0, REFUSED), (v4(3), 0.0, None)], [0, 0, 0], v4(3), 0.0, id="in a row"
        ),
    ],
)
async def test_attempts_start_in_turn_and_the_first_to_connect_wins(
    table: Table, starts: list[float], winner: Address, at: float, autojump_clock: MockClock
) -> None:
    network = network_of(table)
    stream, address = await dialer_of(network).dial(HOST, 443)
    assert address == winner
    assert stream is network.streams[0]
    assert trio.current_time() == pytest.approx(at)
    assert [time for time, _ in network.attempts] == pytest.approx(starts)
    assert len(network.streams) == 1
    assert not network.streams[0].is_closed
    assert network.open_attempts == 0


class Gate(ScriptedNetwork):
    """Connects every attempt at once, in the moment the gate opens."""

    def __init__(self, *names: Address) -> None:
        super().__init__(names)
        self.gate = trio.Event()

    async def connect(self, address: Address, *, options: SocketOptions) -> ScriptedStream:
        self.attempts.append((trio.current_time(), address))
        await self.gate.wait()
        self.streams.append(ScriptedStream(address))
        return self.streams[-1]


async def test_of_two_that_connect_at_once_one_is_closed(autojump_clock: MockClock) -> None:
    network = Gate(v6(1), v4(1))
    dialled: list[object] = []

    async def dial() -> None:
        stream, _ = await dialer_of(network).dial(HOST, 443)
        dialled.append(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.sleep(1)
        network.gate.set()
    assert len(network.streams) == 2
    assert [stream for stream in network.streams if not stream.is_closed] == dialled


async def test_a_dial_cancelled_in_the_moment_it_connects_closes_what_it_has(autojump_clock: MockClock) -> None:
    network = Gate(v4(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialer_of(network).dial, HOST, 443)
        await trio.sleep(0.1)
        network.gate.set()
        nursery.cancel_scope.cancel()
    assert [stream.is_closed for stream in network.streams] == [True]


async def test_the_error_of_a_single_address_is_the_attempts_own(autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectError, match="refused") as caught:
        await dialer_of(network_of([(v4(1), 0.1, REFUSED)])).dial(HOST, 443)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(("result", "look_ups"), [(REFUSED, 2), (NO_DESCRIPTOR, 1)])
async def test_a_single_address_that_fails_is_looked_up_anew_unless_the_fault_is_ours(
    result: int, look_ups: int, autojump_clock: MockClock
) -> None:
    network = network_of([(v4(1), 0.1, result)])
    dialer = dialer_of(network)
    for _ in range(2):
        with pytest.raises(ConnectError):
            await dialer.dial(HOST, 443)
    assert len(network.look_ups) == look_ups


async def test_when_all_fail_the_error_tells_of_all(autojump_clock: MockClock) -> None:
    network = network_of([(v6(1), 0.1, UNREACHABLE), (v4(1), 0.1, REFUSED)])
    with pytest.raises(ConnectError, match=r"all 2 addresses failed: .*unreachable; .*refused") as caught:
        await dialer_of(network).dial(HOST, 443)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2
    assert not is_resource_exhaustion(caught.value)


async def test_a_lack_of_descriptors_shows_through_and_blames_no_address(autojump_clock: MockClock) -> None:
    network = network_of([(v6(1), 0, NO_DESCRIPTOR), (v4(1), 0, NO_DESCRIPTOR)])
    dialer = dialer_of(network)
    with pytest.raises(ConnectError) as caught:
        await dialer.dial(HOST, 443)
    assert is_resource_exhaustion(caught.value)
    network.table = dict.fromkeys(network.table, (0.1, None))
    await dialer.dial(HOST, 443)
    assert network.tried[2:] == [v6(1)]
    assert len(network.look_ups) == 1


async def test_a_name_that_does_not_resolve(autojump_clock: MockClock) -> None:
    with pytest.raises(NameResolutionError):
        await dialer_of(ScriptedNetwork(UNKNOWN)).dial(HOST, 443)


async def test_the_next_dial_begins_with_the_address_that_works(autojump_clock: MockClock) -> None:
    network = network_of([(v6(1), SILENT, None), (v6(2), 0.01, REFUSED), (v4(1), 0.1, None)])
    dialer = dialer_of(network)
    await dialer.dial(HOST, 443)
    assert trio.current_time() == pytest.approx(0.35)
    _, address = await dialer.dial(HOST, 443)
    assert trio.current_time() == pytest.approx(0.45)
    assert address == v4(1)
    assert network.tried[-1] == v4(1)


async def test_cancelling_a_dial_leaves_nothing_open(autojump_clock: MockClock) -> None:
    table: Table = [(v6(1), 0.5, REFUSED), (v4(1), SILENT, None), (v6(2), 0.6, None)]
    for hundredths in range(120):
        network = network_of(table)
        dialled = None
        with trio.move_on_after(hundredths / 100) as scope:
            dialled = await dialer_of(network).dial(HOST, 443)
        assert scope.cancelled_caught is (dialled is None)
        still_open = [stream for stream in network.streams if not stream.is_closed]
        assert still_open == ([dialled.stream] if dialled else [])
        assert network.open_attempts == 0


async def test_a_fault_in_the_network_leaves_as_itself(autojump_clock: MockClock) -> None:
    network = network_of([(v4(1), SILENT, None), (v4(2), 0, None)])
    del network.table[v4(2)]
    network.table[v4(1)] = (1, REFUSED)
    with pytest.raises(KeyError):
        await dialer_of(network).dial(HOST, 443)


async def test_a_unix_socket_needs_no_name(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork(UNKNOWN)
    stream, address = await dialer_of(network).dial(HOST, 443, "/run/socket")
    assert address is None
    assert network.streams[0] is stream
    assert network.streams[0].address == Address(socket.AF_UNIX, ("/run/socket",))


async def test_a_local_address_restricts_the_family(autojump_clock: MockClock) -> None:
    network = network_of([(v6(1), 0, None), (v4(1), 0, None)])
    _, address = await dialer_of(network, "192.0.2.200").dial(HOST, 443)
    assert address == v4(1)
    with pytest.raises(ConnectError, match="family of local_address"):
        await dialer_of(network_of([(v6(1), 0, None)]), "192.0.2.200").dial(HOST, 443)


def test_a_local_address_must_be_an_ip_address() -> None:
    with pytest.raises(ValueError, match="local_address must be an IP address, not 'eth0'"):
        dialer_of(ScriptedNetwork(), "eth0")
