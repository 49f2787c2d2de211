"""Names: one look-up for many, answers kept and put in order, and stale ones for bad days."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock._errors import ConnectError, NameResolutionError
from penstock._net.network import Address, is_resource_exhaustion
from penstock._net.resolver import DEMOTED_FOR, MAX_NAMES, STALE_FOR, STALE_RETRY, Resolver
from tests.net.scripted_network import NO_DESCRIPTOR, UNKNOWN, ScriptedNetwork, failure, v4, v6

HOST = "api.example"
INDEX, ZONE = socket.if_nameindex()[0]


async def test_a_thousand_callers_make_one_look_up(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)], resolver_delay=1)
    resolver = Resolver(network, ttl=300)
    answers = []

    async def ask() -> None:
        answers.append(await resolver.resolve(HOST, 443))

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(ask)
    assert answers == [[v4(1)]] * 1000
    assert len(network.look_ups) == 1
    assert trio.current_time() == 1
    assert len({id(answer) for answer in answers}) == 1000


async def test_an_answer_is_used_for_its_time(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)])
    resolver = Resolver(network, ttl=300)
    for at in (0, 299, 300, 301):
        await trio.sleep_until(at)
        await resolver.resolve(HOST, 443)
    assert network.look_ups == [0, 300]


async def test_without_a_ttl_each_call_asks(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)])
    resolver = Resolver(network, ttl=0)
    for _ in range(3):
        await resolver.resolve(HOST, 443)
    assert len(network.look_ups) == 3


async def test_a_cancelled_leader_hands_over(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)], resolver_delay=3)
    resolver = Resolver(network, ttl=300)
    answers = []

    async def impatient() -> None:
        with trio.move_on_after(2):
            await resolver.resolve(HOST, 443)
            answers.append("impossible")

    async def patient() -> None:
        answers.append(str(await resolver.resolve(HOST, 443)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(impatient)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            nursery.start_soon(patient)
    assert answers == [str([v4(1)])] * 5
    assert network.look_ups == [0, 2]
    assert trio.current_time() == 5


async def test_a_cancelled_waiter_disturbs_nobody(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)], resolver_delay=3)
    resolver = Resolver(network, ttl=300)

    async def impatient() -> None:
        with trio.move_on_after(2):
            await resolver.resolve(HOST, 443)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.resolve, HOST, 443)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(impatient)
    assert network.look_ups == [0]


async def test_each_waiter_gets_an_error_of_its_own(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork(UNKNOWN, resolver_delay=1)
    resolver = Resolver(network, ttl=300)
    errors = []

    async def ask() -> None:
        with pytest.raises(NameResolutionError, match="cannot resolve") as caught:
            await resolver.resolve(HOST, 443)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert len({id(error) for error in errors}) == 3
    assert len(network.look_ups) == 1
    # A failure is not remembered.
    await ask()
    assert len(network.look_ups) == 2


async def test_an_empty_answer_is_no_answer(autojump_clock: MockClock) -> None:
    with pytest.raises(NameResolutionError, match=r"api\.example has no address"):
        await Resolver(ScriptedNetwork([]), ttl=300).resolve(HOST, 443)


async def test_exhaustion_stays_exhaustion(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork(failure(NO_DESCRIPTOR))
    with pytest.raises(ConnectError) as caught:
        await Resolver(network, ttl=300).resolve(HOST, 443)
    assert not isinstance(caught.value, NameResolutionError)
    assert is_resource_exhaustion(caught.value)


async def test_a_stale_answer_stands_in_for_a_resolver_that_fails(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)])
    resolver = Resolver(network, ttl=300)
    await resolver.resolve(HOST, 443)
    network.names = UNKNOWN
    await trio.sleep(400)
    assert await resolver.resolve(HOST, 443) == [v4(1)]
    await trio.sleep(STALE_RETRY - 1)
    assert await resolver.resolve(HOST, 443) == [v4(1)]
    assert network.look_ups == [0, 400]
    await trio.sleep(2)
    network.names = [v4(2)]
    assert await resolver.resolve(HOST, 443) == [v4(2)]


async def test_a_stale_answer_does_not_live_for_ever(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)])
    resolver = Resolver(network, ttl=300)
    await resolver.resolve(HOST, 443)
    network.names = UNKNOWN
    await trio.sleep(300 + STALE_FOR + 1)
    with pytest.raises(NameResolutionError):
        await resolver.resolve(HOST, 443)


async def test_families_take_turns_and_eight_addresses_are_kept(autojump_clock: MockClock) -> None:
    names = [*map(v6, range(300)), v6(0), v4(1), v4(1), v4(2)]
    found = await Resolver(ScriptedNetwork(names), ttl=300).resolve(HOST, 443)
    assert found == [v6(0), v4(1), v6(1), v4(2), v6(2), v6(3), v6(4), v6(5)]


async def test_the_systems_order_decides_which_family_is_first(autojump_clock: MockClock) -> None:
    found = await Resolver(ScriptedNetwork([v4(1), v4(2), v6(1)]), ttl=300).resolve(HOST, 443)
    assert found == [v4(1), v6(1), v4(2)]


async def test_a_demoted_address_comes_last_for_a_while(autojump_clock: MockClock) -> None:
    resolver = Resolver(ScriptedNetwork([v6(1), v4(1), v4(2)]), ttl=300)
    await resolver.resolve(HOST, 443)
    resolver.demote(HOST, 443, v6(1))
    resolver.demote(HOST, 443, v4(9))
    resolver.demote("unknown.example", 443, v6(1))
    assert await resolver.resolve(HOST, 443) == [v4(1), v4(2), v6(1)]
    await trio.sleep(DEMOTED_FOR)
    assert await resolver.resolve(HOST, 443) == [v6(1), v4(1), v4(2)]


async def test_demotion_outlives_a_new_look_up(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v6(1), v4(1)])
    resolver = Resolver(network, ttl=10)
    await resolver.resolve(HOST, 443)
    resolver.demote(HOST, 443, v6(1))
    await trio.sleep(10)
    assert await resolver.resolve(HOST, 443) == [v4(1), v6(1)]
    assert len(network.look_ups) == 2


async def test_once_all_addresses_failed_the_resolver_is_asked_again(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1), v4(2)])
    resolver = Resolver(network, ttl=300)
    await resolver.resolve(HOST, 443)
    resolver.demote(HOST, 443, v4(1))
    resolver.demote(HOST, 443, v4(2))
    network.names = [v4(1), v4(3)]
    assert await resolver.resolve(HOST, 443) == [v4(3), v4(1)]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.9", Address(socket.AF_INET, ("192.0.2.9", 80))),
        ("2001:db8::9", Address(socket.AF_INET6, ("2001:db8::9", 80, 0, 0))),
        ("fe80::1%7", Address(socket.AF_INET6, ("fe80::1", 80, 0, 7))),
        (f"fe80::1%{ZONE}", Address(socket.AF_INET6, ("fe80::1", 80, 0, INDEX))),
    ],
)
async def test_nobody_is_asked_about_an_ip_address(host: str, address: Address, autojump_clock: MockClock) -> None:
    network = ScriptedNetwork(UNKNOWN)
    assert await Resolver(network, ttl=300).resolve(host, 80) == [address]
    assert network.look_ups == []


async def test_an_unknown_zone_is_an_unknown_name(autojump_clock: MockClock) -> None:
    with pytest.raises(NameResolutionError, match="no interface"):
        await Resolver(ScriptedNetwork(), ttl=300).resolve("fe80::1%nowhere", 80)


async def test_what_is_remembered_is_bounded(autojump_clock: MockClock) -> None:
    network = ScriptedNetwork([v4(1)])
    resolver = Resolver(network, ttl=300)
    for number in range(MAX_NAMES + 1):
        await resolver.resolve(f"{number}.example", 443)
    await resolver.resolve(f"{MAX_NAMES}.example", 443)
    assert len(network.look_ups) == MAX_NAMES + 1
    await resolver.resolve("0.example", 443)
    assert len(network.look_ups) == MAX_NAMES + 2
