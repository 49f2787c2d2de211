"""Cancelling one request at every scheduler step of all tasks leaves nothing behind.

Each scenario has rivals for the same few connections, so that the victim is cancelled while others hand over to it and
it hands over to others. Afterwards nothing is in use and nobody waits, the pool's books agree with the network, and
the pool serves its full capacity at once.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from penstock._client.client import Client
from penstock._config import PoolConfig
from penstock._pool.pool import Pool
from penstock.testing import (
    FakeNetwork,
    ScriptedPeer,
    serve_chunked,
    serve_early,
    serve_echo,
    serve_in_turn,
    serve_ok,
    serve_then_close,
    serve_then_close_idle,
)
from tests.support.certificates import client_config, server_context
from tests.support.sweep import Sweep, cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from penstock.testing import Handler

    Work = Callable[[Pool, Client, str], Awaitable[object]]

#: Enough for several interleavings; `nox -s model` is the place for thousands.
SEEDS = range(2)


async def get(_: Pool, client: Client, url: str) -> None:
    await client.get(url)


async def acquire_only(pool: Pool, _: Client, url: str) -> None:
    async with pool.acquire(url.removesuffix("/")):
        await trio.sleep(0.002)


async def read_by_and_by(_: Pool, client: Client, url: str) -> None:
    async with client.stream("GET", url) as response:
        async for _piece in response.aiter_bytes():
            await trio.sleep(0.001)


async def leave_early(_: Pool, client: Client, url: str) -> None:
    async with client.stream("GET", url) as response:
        async for _piece in response.aiter_bytes():
            break


async def upload(_: Pool, client: Client, url: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.sleep(0.001)
            yield bytes(1000)

    await client.post(url, content=pieces())


async def upload_much(_: Pool, client: Client, url: str) -> None:
    await client.post(url, content=bytes(200_000))


async def prewarm(pool: Pool, _: Client, url: str) -> None:
    await pool.prewarm(url.removesuffix("/"), 2)


class Case(NamedTuple):
    """What the server does, what the victim does, and how scarce connections are."""

    serve: Callable[[], Handler]
    work: Work
    tls: bool = False
    rivals: int = 3
    capacity: int = 1


def pieces_in_time() -> Handler:
    return serve_chunked([bytes(1000)] * 3, every=0.002)


CASES = {
    "acquire and release": Case(serve_ok, acquire_only),
    "exchange": Case(serve_ok, get),
    "exchange, server closes after each": Case(serve_then_close, get, rivals=4, capacity=2),
    "exchange, server closes when idle": Case(lambda: serve_then_close_idle(0.0), get),
    "dial alone": Case(serve_ok, get, rivals=0),
    "handshake alone": Case(serve_ok, get, tls=True, rivals=0),
    "handshake, server closes after each": Case(serve_then_close, get, tls=True, rivals=2),
    "body": Case(pieces_in_time, read_by_and_by, rivals=2),
    "body left early": Case(pieces_in_time, leave_early, rivals=2),
    "body left early, over TLS": Case(pieces_in_time, leave_early, tls=True, rivals=1),
    "upload": Case(serve_echo, upload, rivals=2),
    "upload under back-pressure": Case(serve_echo, upload_much, rivals=1),
    "upload refused early": Case(lambda: serve_in_turn(serve_early(then=ScriptedPeer.fin), serve_echo()), upload),
    "prewarm": Case(serve_ok, prewarm, rivals=2, capacity=2),
}


def settings(capacity: int, **others: object) -> PoolConfig:
    return PoolConfig(
        max_connections=capacity,
        max_connections_per_host=capacity,
        tls=client_config(),
        **others,  # type: ignore[arg-type]
    )


async def burst(client: Client, url: str, count: int) -> None:
    """As many requests at once as there is room for, and as many again."""
    statuses = []

    async def one() -> None:
        statuses.append((await client.get(url)).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(2 * count):
            nursery.start_soon(one)
    assert len(statuses) == 2 * count


async def check_at_rest(pool: Pool, network: FakeNetwork) -> None:
    # Dials that nobody wants any more may end, bodies may be drained, ends may be noticed.
    await trio.sleep(1)
    books = pool.statistics()
    assert (books.active, books.waiting, books.dialing) == (0, 0, 0)
    assert books.total == books.idle == network.open_connections
    assert books.total <= books.max_connections
    assert pool.explain() == []


@pytest.mark.parametrize("name", CASES)
def test_a_cancelled_request_leaves_nothing_behind(name: str) -> None:
    case = CASES[name]
    url = "https://localhost/" if case.tls else "http://localhost/"

    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001, capacity=16384) as network:
            network.listen(
                "localhost", 443 if case.tls else 80, case.serve(), tls=server_context() if case.tls else None
            )
            async with Pool(settings(case.capacity), network=network, seed=sweep.seed) as pool, Client(pool) as client:

                async def victim() -> None:
                    with sweep.victim_scope():
                        await case.work(pool, client, url)

                async with trio.open_nursery() as nursery:
                    for _ in range(case.rivals):
                        nursery.start_soon(client.get, url)
                    nursery.start_soon(victim)
                await check_at_rest(pool, network)
                await burst(client, url, case.capacity)
                await check_at_rest(pool, network)
            assert network.open_connections == 0

    report = cancel_sweep(scenario, seeds=SEEDS)
    assert report.points > 10


def test_a_cancelled_race_of_addresses_leaves_nothing_behind() -> None:
    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as network:
            network.add_host("dual.test", "2001:db8::1", "192.0.2.1", "192.0.2.2", delay=0.005)
            network.listen("dual.test", 80, serve_ok())
            network.route("2001:db8::1", delay=inf)
            # Both answer in the same instant: one of them is too many.
            network.route("192.0.2.1", delay=0.3)
            network.route("192.0.2.2", delay=0.05)
            async with Pool(settings(1), network=network, seed=sweep.seed) as pool, Client(pool) as client:
                with sweep.victim_scope():
                    await client.get("http://dual.test/")
                await check_at_rest(pool, network)
                await burst(client, "http://dual.test/", 1)
            assert network.open_connections == 0

    cancel_sweep(scenario, seeds=SEEDS)


@pytest.mark.parametrize("ending", ["leave", "aclose", "drain"])
def test_a_cancelled_end_of_the_pool_leaves_nothing_open(ending: str) -> None:
    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as network:
            network.listen("localhost", 443, serve_ok(delay=0.01), tls=server_context())

            async def life() -> None:
                config = settings(2, min_idle=1)
                async with Pool(config, network=network, seed=sweep.seed) as pool, Client(pool) as client:
                    async with trio.open_nursery() as nursery:
                        for _ in range(3):
                            nursery.start_soon(client.get, "https://localhost/")
                    if ending == "aclose":
                        await pool.aclose()
                    elif ending == "drain":
                        await pool.drain()

            with sweep.victim_scope():
                await life()
            assert network.open_connections == 0

    cancel_sweep(scenario, seeds=SEEDS)
