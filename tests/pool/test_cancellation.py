"""Cancelling one task at every scheduler step of all tasks leaves nothing behind.

Each scenario has rivals for the same few connections, so that the victim is cancelled while others hand over to it and
it hands over to others. Afterwards nothing is in use and nobody waits, the pool's books agree with the network and
with themselves, every rival got its own answer, no task is left over, and the pool serves its full capacity at once.

`SWEEP_SEEDS=100 pytest tests/pool/test_cancellation.py` tries as many interleavings of each scenario.
"""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

import penstock
from penstock.testing import FakeNetwork, ScriptedPeer, chunk, head
from tests.support.certificates import client_config, server_context
from tests.support.early_ends import read_to_done
from tests.support.scene import assert_at_rest
from tests.support.slow_uploads import by_and_by, push_and_leave, push_by_and_by
from tests.support.sweep import Sweep, cancel_sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock.testing import Handler

    Work = Callable[[penstock.Pool, penstock.Client, str], Awaitable[object]]

SEEDS = range(int(os.environ.get("SWEEP_SEEDS", "2")))

#: Pairs of cancels per scenario and seed.
PAIRS = 12


# ---- what the server does: each answer names what was asked ----------------------------------------------------------


async def keeps(peer: ScriptedPeer) -> None:
    while True:
        request = await peer.expect_request()
        await peer.respond(200, [(b"x-target", request.target)], b"ok")


async def keeps_slowly(peer: ScriptedPeer) -> None:
    while True:
        request = await peer.expect_request()
        await peer.wait(0.003)
        await peer.respond(200, [(b"x-target", request.target)], b"ok", pieces=40, every=0.001)


async def closes_after_each(peer: ScriptedPeer) -> None:
    request = await peer.expect_request()
    await peer.respond(200, [(b"x-target", request.target), (b"connection", b"close")], b"ok")
    peer.fin()


async def closes_when_idle(peer: ScriptedPeer) -> None:
    request = await peer.expect_request()
    await peer.respond(200, [(b"x-target", request.target)], b"ok")
    peer.fin()


async def goes_stale(peer: ScriptedPeer) -> None:
    """Ends when it hears a second request, so that the request is replayed."""
    request = await peer.expect_request()
    await peer.respond(200, [(b"x-target", request.target)], b"ok")
    await peer.expect_request()
    peer.fin()


async def refuses_at_first(peer: ScriptedPeer) -> None:
    """Asks for another try of what is heard first on each connection."""
    request = await peer.expect_request()
    await peer.respond(503, [(b"x-target", request.target), (b"retry-after-ms", b"2")], b"later")
    await keeps(peer)


async def sends_chunks(peer: ScriptedPeer) -> None:
    while True:
        request = await peer.expect_request()
        await peer.send(head(200, [(b"x-target", request.target), (b"transfer-encoding", b"chunked")]))
        for _ in range(3):
            await peer.wait(0.002)
            await peer.send(chunk(bytes(1000)))
        await peer.send(chunk(b""))


async def sends_events(peer: ScriptedPeer) -> None:
    fields = [(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")]
    while True:
        request = await peer.expect_request()
        await peer.send(head(200, [(b"x-target", request.target), *fields]))
        for data in (b"data: 1\n\n", b"data: [DONE]\n\n"):
            await peer.wait(0.002)
            await peer.send(chunk(data))
        await peer.wait(0.005)
        await peer.send(chunk(b""))


async def breaks_streams_off(peer: ScriptedPeer) -> None:
    """Breaks off after two events of a stream, and goes on with it when it is asked again."""
    while True:
        request = await peer.expect_request()
        if request.target.startswith(b"/rival"):
            await peer.respond(200, [(b"x-target", request.target)], b"ok")
            continue
        goes_on = (b"last-event-id", b"2") in request.headers
        await peer.send(head(200, [(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")]))
        await peer.wait(0.002)
        if goes_on:
            await peer.send(chunk(b"id: 3\ndata: [DONE]\n\n"))
            await peer.wait(0.002)
            await peer.send(chunk(b""))
        else:
            await peer.send(chunk(b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n"))
            await peer.wait(0.002)
            peer.fin()
            return


async def refuses_streams(peer: ScriptedPeer) -> None:
    """Answers a stream with something else, in two pieces."""
    while True:
        request = await peer.expect_request()
        await peer.respond(200, [(b"x-target", request.target)], b"ok", pieces=60, every=0.002)


async def redirects(peer: ScriptedPeer) -> None:
    while True:
        request = await peer.expect_request()
        if request.target == b"/there" or request.target.startswith(b"/rival"):
            await peer.respond(200, [(b"x-target", request.target)], b"ok")
        else:
            await peer.respond(302, [(b"location", b"/there")], b"gone")


async def asks_for_bodies(peer: ScriptedPeer) -> None:
    """Says 100 (Continue), and takes its time."""
    while True:
        request = await peer.expect_head()
        await peer.wait(0.002)
        await peer.send(head(100))
        await peer.expect_body()
        await peer.respond(200, [(b"x-target", request.target)], b"ok")


async def refuses_early(peer: ScriptedPeer) -> None:
    """Refuses the first body before it has read it; later connections are good."""
    await peer.expect_head()
    await peer.respond(413, [(b"x-target", peer.requests[0].target)])
    peer.fin()
    await peer.wait_closed()


# ---- what the victim does --------------------------------------------------------------------------------------------


async def get(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    response = await client.get(f"{url}/victim")
    assert response.headers["x-target"] == "/victim"


async def acquire_only(pool: penstock.Pool, _: penstock.Client, url: str) -> None:
    async with pool.acquire(url):
        await trio.sleep(0.002)


async def use_a_lease(pool: penstock.Pool, _: penstock.Client, url: str) -> None:
    async with pool.acquire(url) as lease:
        await lease.request("GET", "/victim")
        while await lease.read():
            pass


async def read_by_and_by(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    async with client.stream("GET", f"{url}/victim") as response:
        async for _piece in response.aiter_bytes():
            await trio.sleep(0.001)


async def leave_early(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    async with client.stream("GET", f"{url}/victim") as response:
        async for _piece in response.aiter_bytes():
            break


async def leave_unread(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    async with client.stream("GET", f"{url}/victim"):
        pass


async def stop_at_done(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    async with client.sse("GET", f"{url}/victim") as events:
        await read_to_done(events)


async def go_on_where_it_broke_off(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    policy = penstock.Reconnect(delay=0.003)
    async with client.sse("GET", f"{url}/victim", event_timeout=5, reconnect=policy) as events:
        await read_to_done(events)


async def expect_json_lines(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    with pytest.raises(penstock.ContentTypeError):
        async with client.json_lines("GET", f"{url}/victim"):
            raise AssertionError


async def close_a_lease(pool: penstock.Pool, _: penstock.Client, url: str) -> None:
    async with pool.acquire(url) as lease:
        await lease.request("GET", "/victim")
        while b"DONE" not in await lease.read():
            pass
        await lease.aclose()
        await trio.sleep(0.001)


async def follow(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    response = await client.get(f"{url}/victim", follow_redirects=True)
    assert response.headers["x-target"] == "/there"


async def try_again(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    policy = penstock.RetryPolicy(max_attempts=5, backoff=0.002)
    assert (await client.get(f"{url}/victim", retry=policy)).content == b"ok"


async def upload(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    await client.post(f"{url}/victim", content=by_and_by())


async def upload_much(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    await client.post(f"{url}/victim", content=bytes(200_000))


async def push(pool: penstock.Pool, _: penstock.Client, url: str) -> None:
    await push_by_and_by(pool, url)


async def push_much(pool: penstock.Pool, _: penstock.Client, url: str) -> None:
    await push_by_and_by(pool, url, piece=70_000)


async def push_half(pool: penstock.Pool, _: penstock.Client, url: str) -> None:
    await push_and_leave(pool, url)


async def upload_when_asked(_: penstock.Pool, client: penstock.Client, url: str) -> None:
    await client.post(f"{url}/victim", content=b"x" * 100, headers={"Expect": "100-continue"})


async def prewarm(pool: penstock.Pool, _: penstock.Client, url: str) -> None:
    await pool.prewarm(url, 2)


class Case(NamedTuple):
    """One scenario.

    Attributes:
        serve: the server.
        work: what the victim does.
        tls: whether all of it runs over TLS.
        rivals: how many requests compete with the victim.
        capacity: how many connections there may be.
        warm: how many connections are there before.
    """

    serve: Handler
    work: Work
    tls: bool = False
    rivals: int = 3
    capacity: int = 1
    warm: int = 0


CASES = {
    "acquire, hit": Case(keeps, acquire_only, warm=1, rivals=1),
    "acquire behind others": Case(keeps, acquire_only),
    "lease by hand": Case(keeps_slowly, use_a_lease, rivals=2),
    "dial alone": Case(keeps, get, rivals=0),
    "handshake alone": Case(keeps, get, tls=True, rivals=0),
    "handshake among rivals": Case(keeps, get, tls=True, rivals=2, capacity=2),
    "exchange, hit": Case(keeps, get, warm=1, rivals=1),
    "exchange behind others": Case(keeps_slowly, get, rivals=3),
    "exchange over TLS, hit": Case(keeps, get, tls=True, warm=1, rivals=1),
    "server closes after each": Case(closes_after_each, get, rivals=4, capacity=2),
    "server closes after each, over TLS": Case(closes_after_each, get, tls=True, rivals=2),
    "server closes when idle": Case(closes_when_idle, get),
    "replay": Case(goes_stale, get, warm=1, rivals=2, capacity=2),
    "replay over TLS": Case(goes_stale, get, tls=True, rivals=1),
    "retry": Case(refuses_at_first, try_again, rivals=2),
    "redirect": Case(redirects, follow, rivals=2),
    "body": Case(sends_chunks, read_by_and_by, rivals=2),
    "body left early": Case(sends_chunks, leave_early, rivals=2),
    "body left early, over TLS": Case(sends_chunks, leave_early, tls=True, rivals=1),
    "body left unread": Case(keeps, leave_unread, rivals=2),
    "events": Case(sends_events, stop_at_done, rivals=1),
    "lease closed by hand": Case(sends_events, close_a_lease, rivals=1),
    "events that break off": Case(breaks_streams_off, go_on_where_it_broke_off, rivals=1),
    "another type": Case(refuses_streams, expect_json_lines, rivals=1),
    "upload": Case(keeps, upload, rivals=2),
    "upload under back-pressure": Case(keeps, upload_much, rivals=1),
    "upload refused early": Case(refuses_early, upload, rivals=1),
    "push": Case(keeps, push, rivals=2),
    "push over TLS": Case(keeps, push, tls=True, rivals=1),
    "push under back-pressure": Case(keeps, push_much, rivals=1),
    "push refused early": Case(refuses_early, push, rivals=1),
    "push left in the middle": Case(keeps, push_half, rivals=2),
    "upload that is asked for": Case(asks_for_bodies, upload_when_asked, rivals=1),
    "upload that is not asked for": Case(keeps, upload_when_asked, rivals=1),
    "upload refused instead of asked for": Case(refuses_early, upload_when_asked, rivals=1),
    "prewarm": Case(keeps, prewarm, rivals=2, capacity=2),
    "prewarm over TLS": Case(keeps, prewarm, tls=True, rivals=1, capacity=2),
}


def settings(capacity: int, **others: object) -> penstock.PoolConfig:
    return penstock.PoolConfig(
        max_connections=capacity,
        max_connections_per_host=capacity,
        tls=client_config(),
        **others,  # type: ignore[arg-type]
    )


def count_tasks(pool: penstock.Pool) -> int:
    tasks = pool._runner._tasks
    assert tasks is not None
    return len(tasks.child_tasks)


async def serve_full_capacity(pool: penstock.Pool, client: penstock.Client, url: str, capacity: int) -> None:
    """As many leases at once as there are slots, then as many requests, and as many again."""
    holding = 0
    all_there = trio.Event()

    async def hold() -> None:
        nonlocal holding
        async with pool.acquire(url):
            holding += 1
            if holding == capacity:
                all_there.set()
            await all_there.wait()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(capacity):
                nursery.start_soon(hold)
        async with trio.open_nursery() as nursery:
            for number in range(2 * capacity):
                nursery.start_soon(ask_as_rival, client, url, number)


async def ask_as_rival(client: penstock.Client, url: str, number: int) -> None:
    response = await client.get(f"{url}/rival{number}")
    assert response.headers["x-target"] == f"/rival{number}"


async def run_case(case: Case, sweep: Sweep, victims: int) -> None:
    url = "https://localhost" if case.tls else "http://localhost"
    async with FakeNetwork(latency=0.001, capacity=16384) as network:
        network.listen("localhost", 443 if case.tls else 80, case.serve, tls=server_context() if case.tls else None)
        pool = penstock.Pool(settings(case.capacity), network=network, seed=sweep.seed)
        async with pool, penstock.Client(pool) as client:
            tasks = count_tasks(pool)
            if case.warm:
                await pool.prewarm(url, case.warm)
                await ask_as_rival(client, url, 100)

            async def victim() -> None:
                with sweep.victim_scope():
                    await case.work(pool, client, url)

            async with trio.open_nursery() as nursery:
                for number in range(case.rivals):
                    nursery.start_soon(ask_as_rival, client, url, number)
                for _ in range(victims):
                    nursery.start_soon(victim)
            # Dials that nobody wants any more may end, bodies may be drained, ends may be noticed.
            await trio.sleep(1)
            assert_at_rest(pool, network)
            assert count_tasks(pool) == tasks
            await serve_full_capacity(pool, client, url, case.capacity)
            await trio.sleep(1)
            assert_at_rest(pool, network)
        assert network.open_connections == 0
        assert pool.statistics().total == 0


@pytest.mark.parametrize("name", CASES)
def test_a_cancelled_task_leaves_nothing_behind(name: str) -> None:
    report = cancel_sweep(lambda sweep: run_case(CASES[name], sweep, 1), seeds=SEEDS)
    assert report.points > 5


@pytest.mark.parametrize("name", CASES)
def test_two_cancelled_tasks_leave_nothing_behind(name: str) -> None:
    cancel_sweep(lambda sweep: run_case(CASES[name], sweep, 2), seeds=SEEDS, at_most=0, pairs=PAIRS)


def test_a_cancelled_race_of_addresses_leaves_nothing_behind() -> None:
    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as network:
            network.add_host("dual.test", "2001:db8::1", "192.0.2.1", "192.0.2.2", delay=0.005)
            network.listen("dual.test", 80, keeps)
            network.route("2001:db8::1", delay=inf)
            # Both answer in the same instant: one of them is too many.
            network.route("192.0.2.1", delay=0.3)
            network.route("192.0.2.2", delay=0.05)
            pool = penstock.Pool(settings(1), network=network, seed=sweep.seed)
            async with pool, penstock.Client(pool) as client:
                with sweep.victim_scope():
                    await client.get("http://dual.test/")
                await trio.sleep(1)
                assert_at_rest(pool, network)
                await serve_full_capacity(pool, client, "http://dual.test", 1)
            assert network.open_connections == 0

    cancel_sweep(scenario, seeds=SEEDS)


def test_a_cancelled_dial_that_was_late_anyway_leaves_nothing_behind() -> None:
    """Black hole, connect time-out and cancel meet."""

    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as network:
            network.add_host("api.test", "192.0.2.1", "192.0.2.2")
            network.listen("api.test", 80, keeps)
            for address in ("192.0.2.1", "192.0.2.2"):
                network.route(address, delay=inf, times=2)
            pool = penstock.Pool(settings(2, connect_timeout=0.5), network=network, seed=sweep.seed)
            async with pool, penstock.Client(pool) as client:

                async def ask() -> None:
                    with pytest.raises(penstock.ConnectTimeout):
                        await client.get("http://api.test")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask)
                    with sweep.victim_scope():
                        await ask()
                await trio.sleep(1)
                assert_at_rest(pool, network)
                for address in ("192.0.2.1", "192.0.2.2"):
                    network.route(address)
                await serve_full_capacity(pool, client, "http://api.test", 2)
            assert network.open_connections == 0

    cancel_sweep(scenario, seeds=SEEDS)


@pytest.mark.parametrize("ending", ["leave", "aclose", "drain"])
def test_a_cancelled_life_of_a_pool_leaves_nothing_open(ending: str) -> None:
    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as network:
            network.listen("localhost", 443, keeps_slowly, tls=server_context())
            pool = penstock.Pool(settings(2, min_idle=1), network=network, seed=sweep.seed)
            with sweep.victim_scope():
                async with pool, penstock.Client(pool) as client:
                    async with trio.open_nursery() as nursery:
                        for number in range(3):
                            nursery.start_soon(ask_as_rival, client, "https://localhost", number)
                    if ending == "aclose":
                        await pool.aclose()
                    elif ending == "drain":
                        await pool.drain()
            assert network.open_connections == 0

    cancel_sweep(scenario, seeds=SEEDS)


@pytest.mark.parametrize("ending", ["aclose", "drain"])
def test_a_cancelled_close_among_requests_leaves_nothing_open(ending: str) -> None:
    """Only the task that closes the pool is cancelled; requests run, wait for dials and wait for slots beside it."""

    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as network:
            network.listen("localhost", 80, keeps_slowly)
            pool = penstock.Pool(settings(2, drain_timeout=0.008), network=network, seed=sweep.seed)
            async with pool, penstock.Client(pool) as client:

                async def ask(number: int) -> None:
                    await trio.sleep(0.001 * number)
                    try:
                        await ask_as_rival(client, "http://localhost", number)
                    except penstock.PoolClosed:
                        refused.append(number)

                refused: list[int] = []
                async with trio.open_nursery() as nursery:
                    for number in range(6):
                        nursery.start_soon(ask, number)
                    await trio.sleep(0.003)
                    with sweep.victim_scope() as scope:
                        await getattr(pool, ending)()
                    if ending == "aclose" or not scope.cancelled_caught:
                        assert pool.statistics().phase == "closed"
                        assert network.open_connections == 0
                books = pool.statistics()
                assert (books.active, books.waiting) == (0, 0)
                assert books.total == network.open_connections
                assert refused
                await pool.aclose()
                assert pool.statistics().total == network.open_connections == 0

    cancel_sweep(scenario, seeds=SEEDS)


def test_cancelled_requests_while_connections_are_renewed_leave_nothing_behind() -> None:
    async def scenario(sweep: Sweep) -> None:
        async with FakeNetwork(latency=0.001) as network:
            network.listen("localhost", 80, keeps_slowly)
            pool = penstock.Pool(settings(2), network=network, seed=sweep.seed)
            async with pool, penstock.Client(pool) as client:

                async def disturb() -> None:
                    for _ in range(4):
                        await trio.sleep(0.003)
                        pool.suspend()
                        pool.renew()
                        await trio.sleep(0.001)
                        pool.resume()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(disturb)
                    for number in range(4):
                        nursery.start_soon(ask_as_rival, client, "http://localhost", number)
                    with sweep.victim_scope():
                        for _ in range(2):
                            await get(pool, client, "http://localhost")
                await trio.sleep(1)
                assert_at_rest(pool, network)
                await serve_full_capacity(pool, client, "http://localhost", 2)

    cancel_sweep(scenario, seeds=SEEDS)
