"""The cancel sweep over HTTP/2: one task is cancelled at every scheduler step of all tasks, and nothing is left behind.

Afterwards nothing is in use, no place is held by a reset, the server has no stream that the client has forgotten, no
task of a connection or of an upload is left, every rival got its own answer, and as many exchanges as there is room for
run at once. See `test_cancellation` for HTTP/1.1.

`SWEEP_SEEDS=100 pytest tests/pool/test_h2_cancellation.py` tries as many interleavings of each scenario at every step;
the usual run tries one, at some of its steps.
"""

from __future__ import annotations

import os
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

import penstock
from penstock.testing import FakeNetwork
from tests.support.certificates import client_config
from tests.support.early_ends import read_to_done
from tests.support.h2_alpn import alpn_context
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.h2_server import REFUSED_STREAM, H2Server, Incoming, Reset, Response
from tests.support.scene import assert_at_rest
from tests.support.slow_uploads import by_and_by, push_and_leave, push_by_and_by
from tests.support.sweep import Sweep, cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Work = Callable[[penstock.Client, str], Awaitable[object]]
    Serve = Callable[["Case"], H2Server | H2Script]

THOROUGH = "SWEEP_SEEDS" in os.environ
SEEDS = range(int(os.environ.get("SWEEP_SEEDS", "1")))

#: Steps tried of each scenario in the usual run, and pairs of them.
AT_MOST = None if THOROUGH else 25
PAIRS = 12 if THOROUGH else 4

#: In such a time every dial, reset and PING of these scenarios has ended.
LONG_ENOUGH = 10.0


# ---- what the server does: each answer names what was asked ----------------------------------------------------------


def answers(case: Case) -> H2Server:
    async def app(request: Incoming) -> Response:
        await trio.sleep(0.002)
        return Response(fields=[(b"x-target", request.path)], body=b"ok")

    return H2Server(app, max_concurrent_streams=case.streams)


def streams(case: Case) -> H2Server:
    """Sends a body in pieces, in which everybody takes part."""

    async def app(request: Incoming) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(4):
                await trio.sleep(0.001)
                yield bytes(3000)

        return Response(fields=[(b"x-target", request.path)], body=body())

    return H2Server(app, max_concurrent_streams=case.streams)


def streams_events(case: Case) -> H2Server:
    """Sends events, and the end a little later than the last of them."""

    async def app(request: Incoming) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await trio.sleep(0.001)
            yield b"data: [DONE]\n\n"
            await trio.sleep(0.003)

        fields = [(b"x-target", request.path), (b"content-type", b"text/event-stream")]
        return Response(fields=fields, body=body())

    return H2Server(app, max_concurrent_streams=case.streams)


def echoes(case: Case) -> H2Server:
    """Sends back what it gets while it gets it, with small windows."""

    async def app(request: Incoming) -> Response:
        async def body() -> AsyncIterator[bytes]:
            async with aclosing(request.pieces()) as pieces:
                async for piece in pieces:
                    yield piece

        return Response(fields=[(b"x-target", request.path)], body=body(), trailers=[(b"x-end", b"1")])

    return H2Server(app, max_concurrent_streams=case.streams, initial_window_size=5000)


def refuses_bodies(case: Case) -> H2Server:
    """Answers 413 to the victim before its body has ended."""

    async def app(request: Incoming) -> Response:
        await trio.sleep(0.002)
        status = 413 if request.path == b"/victim" else 200
        return Response(status, fields=[(b"x-target", request.path)], body=b"ok")

    return H2Server(app, max_concurrent_streams=case.streams)


def asks_for_bodies(case: Case) -> H2Server:
    """Says 100 (Continue), and takes its time."""

    async def app(request: Incoming) -> Response:
        await trio.sleep(0.002)
        await request.inform(100)
        await request.body()
        return Response(fields=[(b"x-target", request.path)], body=b"ok")

    return H2Server(app, max_concurrent_streams=case.streams)


def refuses_streams(case: Case) -> H2Server:
    """Refuses the victim's first stream."""
    refused = 0

    async def app(request: Incoming) -> Response:
        nonlocal refused
        await trio.sleep(0.001)
        if request.path == b"/victim" and not refused:
            refused += 1
            raise Reset(REFUSED_STREAM)
        return Response(fields=[(b"x-target", request.path)], body=b"ok")

    return H2Server(app, max_concurrent_streams=case.streams)


def leaves(case: Case) -> H2Server:
    """Leaves the first connection at its second request, and never processes what came with it or later."""
    leaving = False

    async def app(request: Incoming) -> Response:
        nonlocal leaving
        await trio.sleep(0.001)
        if request.stream > 1 and not leaving:
            leaving = True
            request.peer.goaway(last=1)
            await trio.sleep_forever()
        return Response(fields=[(b"x-target", request.path)], body=b"ok")

    return H2Server(app, max_concurrent_streams=case.streams)


def changes_its_limit(case: Case) -> H2Server:
    """Allows fewer streams than are there, then none, then as many as before."""
    server: H2Server

    async def app(request: Incoming) -> Response:
        if len(server.streams) == 3:
            server.update_settings(max_concurrent_streams=1)
            await trio.sleep(0.002)
            server.update_settings(max_concurrent_streams=0)
            await trio.sleep(0.002)
            server.update_settings(max_concurrent_streams=case.streams)
        await trio.sleep(0.001)
        return Response(fields=[(b"x-target", request.path)], body=b"ok")

    server = H2Server(app, max_concurrent_streams=case.streams)
    return server


async def answer_all(peer: H2Peer) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            request = await peer.head()
            nursery.start_soon(answer_one, peer, request.stream)


async def answer_one(peer: H2Peer, stream: int) -> None:
    request = await peer.request(stream)
    await peer.respond(stream, 200, [(b"x-target", request.path or b"")], b"ok")


def says_settings_late(case: Case) -> H2Script:
    async def script(peer: H2Peer) -> None:
        await peer.wait(0.003)
        await peer.settings(max_concurrent_streams=case.streams)
        await peer.settings_ack()
        await answer_all(peer)

    return H2Script(script, settings=None, ack_settings=False)


def dies_in_its_sleep(_: Case) -> H2Script:
    """The first connection answers once and then nothing any more, not even a PING."""

    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream, 200, [(b"x-target", request.path or b"")], b"ok")
        peer.automatic = type(peer.automatic)(settings=None, ack_pings=False)
        await peer.wait_closed()

    return H2Script(script, answer_all)


def breaks(_: Case) -> H2Script:
    """The first connection is reset under its second request."""

    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream, 200, [(b"x-target", request.path or b"")], b"ok")
        await peer.head()
        await peer.wait(0.001)
        peer.wire.rst()

    return H2Script(script, answer_all)


# ---- what the victim does --------------------------------------------------------------------------------------------


async def get(client: penstock.Client, url: str) -> None:
    response = await client.get(f"{url}/victim")
    assert response.headers["x-target"] == "/victim"


async def read_by_and_by(client: penstock.Client, url: str) -> None:
    async with client.stream("GET", f"{url}/victim") as response:
        async for _ in response.aiter_bytes():
            await trio.sleep(0.001)


async def leave_early(client: penstock.Client, url: str) -> None:
    async with client.stream("GET", f"{url}/victim") as response:
        async for _ in response.aiter_bytes():
            break


async def stop_at_done(client: penstock.Client, url: str) -> None:
    async with client.sse("GET", f"{url}/victim", event_timeout=5) as events:
        await read_to_done(events)


async def upload(client: penstock.Client, url: str) -> None:
    await client.post(f"{url}/victim", content=by_and_by(), trailers={"x-sum": "1"})


async def upload_much(client: penstock.Client, url: str) -> None:
    await client.post(f"{url}/victim", content=bytes(40_000))


def pool_of(client: penstock.Client) -> penstock.Pool:
    assert client._pool is not None
    return client._pool


async def push(client: penstock.Client, url: str) -> None:
    await push_by_and_by(pool_of(client), url)


async def push_much(client: penstock.Client, url: str) -> None:
    await push_by_and_by(pool_of(client), url, piece=8000)


async def push_half(client: penstock.Client, url: str) -> None:
    await push_and_leave(pool_of(client), url)


async def upload_when_asked(client: penstock.Client, url: str) -> None:
    await client.post(f"{url}/victim", content=b"x" * 100, headers={"Expect": "100-continue"})


async def talk(client: penstock.Client, url: str) -> None:
    """Send a piece when the answer to the one before has come."""
    to_send, to_read = trio.open_memory_channel[bytes](1)

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in to_read:
            yield piece

    async with to_send, client.stream("POST", f"{url}/victim", content=pieces()) as response:
        echo = response.aiter_bytes()
        for _ in range(3):
            await to_send.send(bytes(100))
            await anext(echo)


class Case(NamedTuple):
    """One scenario.

    Attributes:
        serve: makes the server.
        work: what the victim does.
        tls: whether all of it runs over TLS, with ALPN.
        rivals: how many requests compete with the victim.
        streams: how many exchanges the server allows on each connection.
        connections: how many connections there may be.
        warm: whether there is a connection before.
        asleep: for how many seconds it was idle before.
    """

    serve: Serve
    work: Work
    tls: bool = False
    rivals: int = 2
    streams: int = 5
    connections: int = 1
    warm: bool = True
    asleep: float = 0.0


CASES = {
    "cold dial": Case(answers, get, warm=False),
    "cold dial over TLS": Case(answers, get, tls=True, warm=False),
    "settings that come late": Case(says_settings_late, get, warm=False),
    "small request": Case(answers, get),
    "waiting for room": Case(answers, get, streams=1, rivals=3),
    "waiting for room, on several connections": Case(answers, get, streams=1, rivals=4, connections=2, warm=False),
    "limit that moves": Case(changes_its_limit, get, streams=3, rivals=4),
    "body": Case(streams, read_by_and_by),
    "body over TLS": Case(streams, read_by_and_by, tls=True),
    "body left early": Case(streams, leave_early),
    "events": Case(streams_events, stop_at_done),
    "events with contention": Case(streams_events, stop_at_done, streams=1),
    "body with contention": Case(streams, read_by_and_by, streams=1),
    "upload": Case(echoes, upload),
    "upload through small windows": Case(echoes, upload_much),
    "upload refused early": Case(refuses_bodies, upload),
    "large upload refused early": Case(refuses_bodies, upload_much, streams=1),
    "push": Case(echoes, push),
    "push over TLS": Case(echoes, push, tls=True),
    "push through small windows": Case(echoes, push_much),
    "push refused early": Case(refuses_bodies, push_much, streams=1),
    "push left in the middle": Case(echoes, push_half),
    "upload that is asked for": Case(asks_for_bodies, upload_when_asked),
    "upload that is not asked for": Case(answers, upload_when_asked, rivals=1),
    "both directions": Case(echoes, talk),
    "both directions over TLS": Case(echoes, talk, tls=True),
    "sign of life": Case(answers, get, asleep=40),
    "no sign of life": Case(dies_in_its_sleep, get, asleep=40, rivals=1),
    "replay after a goodbye": Case(leaves, get),
    "replay after a refusal": Case(refuses_streams, get),
    "replay after a break": Case(breaks, get, rivals=1),
}


async def ask_as_rival(client: penstock.Client, url: str, number: int) -> None:
    response = await client.get(f"{url}/rival{number}")
    assert response.headers["x-target"] == f"/rival{number}"


def assert_nothing_left(pool: penstock.Pool, network: FakeNetwork, server: H2Server | H2Script, tasks: int) -> None:
    """Not in the books, not in the connections, not on the server, and no task."""
    assert_at_rest(pool, network)
    runner = pool._runner
    entries = list(runner.machine.connections())
    for entry in entries:
        assert (entry.in_use, entry.resetting) == (0, 0)
        connection = entry.handle
        assert not connection.session.streams
        assert not connection.blocked
        assert not connection._asking
        # Its writer, and no upload.
        assert len(connection._tasks.child_tasks) == 1
    assert runner._tasks is not None
    assert len(runner._tasks.child_tasks) == tasks + len(entries)
    if isinstance(server, H2Server):
        assert not any(peer.open for peer in server.peers if not peer.is_over)


async def fill(pool: penstock.Pool, client: penstock.Client, url: str, room: int) -> None:
    """As many leases at once as there is room for, then as many requests, and as many again."""
    holding = 0
    all_there = trio.Event()

    async def hold() -> None:
        nonlocal holding
        async with pool.acquire(url):
            holding += 1
            if holding == room:
                all_there.set()
            await all_there.wait()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(room):
                nursery.start_soon(hold)
        async with trio.open_nursery() as nursery:
            for number in range(2 * room):
                nursery.start_soon(ask_as_rival, client, url, number)


async def run_case(case: Case, sweep: Sweep, victims: int) -> None:
    url = "https://localhost" if case.tls else "http://localhost"
    config = penstock.PoolConfig(
        max_connections=case.connections,
        max_connections_per_host=case.connections,
        http1=False,
        tls=client_config(),
        http2_config=penstock.HTTP2Config(max_streams=case.streams),
    )
    async with FakeNetwork(latency=0.001, capacity=16384) as network:
        server = case.serve(case)
        secure = alpn_context("h2") if case.tls else None
        network.listen("localhost", 443 if case.tls else 80, server, tls=secure)
        pool = penstock.Pool(config, network=network, seed=sweep.seed)
        async with pool, penstock.Client(pool) as client:
            tasks = len(pool._runner._tasks.child_tasks)  # type: ignore[union-attr]
            if case.warm:
                await ask_as_rival(client, url, 100)
                await trio.sleep(case.asleep)

            async def victim() -> None:
                with sweep.victim_scope():
                    await case.work(client, url)

            async with trio.open_nursery() as nursery:
                for number in range(case.rivals):
                    nursery.start_soon(ask_as_rival, client, url, number)
                for _ in range(victims):
                    nursery.start_soon(victim)
            await trio.sleep(LONG_ENOUGH)
            assert_nothing_left(pool, network, server, tasks)
            await fill(pool, client, url, case.connections * case.streams)
            await trio.sleep(LONG_ENOUGH)
            assert_nothing_left(pool, network, server, tasks)
        assert network.open_connections == 0
        assert pool.statistics().total == 0


@pytest.mark.parametrize("name", CASES)
def test_a_cancelled_stream_leaves_nothing_behind(name: str) -> None:
    report = cancel_sweep(lambda sweep: run_case(CASES[name], sweep, 1), seeds=SEEDS, at_most=AT_MOST)
    assert report.points > 5


@pytest.mark.parametrize("name", CASES)
def test_two_cancelled_streams_leave_nothing_behind(name: str) -> None:
    cancel_sweep(lambda sweep: run_case(CASES[name], sweep, 2), seeds=SEEDS, at_most=0, pairs=PAIRS)
