"""Servers on real sockets that leave at the wrong moment."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, head, serve_in_turn, serve_ok, serve_then_close_idle, serve_then_say
from tests.support.certificates import client_config, server_context
from tests.support.server import (
    ScriptServer,
    closes_mid_body,
    closes_mid_chunk,
    closes_mid_head,
    closes_while_uploading,
    closes_without_answer,
    times_out_idle,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from penstock.testing import Handler


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return server_context() if request.param == "tls" else None


def open_client(**settings: object) -> penstock.Client:
    return penstock.Client(config=penstock.PoolConfig(tls=client_config(), **settings))  # type: ignore[arg-type]


async def check_recovers(client: penstock.Client, server: ScriptServer) -> None:
    """The pool is at rest, and the next request is answered."""
    assert client._pool is not None
    assert client._pool.statistics().total == 0
    assert (await client.get(server.url)).text == "ok"


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("leave", [closes_without_answer, closes_mid_head])
async def test_in_the_head(leave: type, reset: bool, tls: ssl.SSLContext | None) -> None:
    async with ScriptServer(serve_in_turn(leave(reset=reset), serve_ok()), tls=tls) as server, open_client() as client:
        with pytest.raises(penstock.ReadError) as caught:
            await client.get(server.url)
        assert (caught.value.request_sent, caught.value.attempt) == ("fully", 1)
        assert str(caught.value.origin) == server.url
        await check_recovers(client, server)
        assert server.requests_per_connection == [1, 1]


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("leave", [closes_mid_body, closes_mid_chunk])
async def test_in_the_body(leave: type, reset: bool, tls: ssl.SSLContext | None) -> None:
    async with ScriptServer(serve_in_turn(leave(reset=reset), serve_ok()), tls=tls) as server, open_client() as client:
        # A FIN in the middle is a message cut short, a reset a connection that broke.
        expected = penstock.ReadError if reset else penstock.RemoteProtocolError
        with pytest.raises(expected) as caught:
            await client.get(server.url)
        if isinstance(caught.value, penstock.RemoteProtocolError):
            assert caught.value.reason is penstock.ProtocolReason.TRUNCATED
        assert str(caught.value.origin) == server.url
        await check_recovers(client, server)
        assert server.requests_per_connection == [1, 1]


async def test_a_body_that_ends_with_the_connection(tls: ssl.SSLContext | None) -> None:
    async def ends(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(head(200) + b"all of it")
        peer.fin()
        await peer.wait_closed()

    async with ScriptServer(ends, tls=tls) as server, open_client() as client:
        assert (await client.get(server.url)).text == "all of it"


async def test_a_body_that_somebody_else_may_have_cut() -> None:
    """Over TLS an end without close_notify is not the server's word (RFC 9112 §9.8)."""

    async def ends(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.send(head(200) + b"all of it?")
        peer.fin(close_notify=False)
        await peer.wait_closed()

    async with ScriptServer(ends, tls=server_context()) as server, open_client() as client:
        with pytest.raises(penstock.RemoteProtocolError) as caught:
            await client.get(server.url)
        assert caught.value.reason is penstock.ProtocolReason.TRUNCATED


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_while_the_request_is_being_sent(reset: bool, tls: ssl.SSLContext | None) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    handler = serve_in_turn(closes_while_uploading(reset=reset), serve_ok())
    async with ScriptServer(handler, tls=tls) as server, open_client() as client:
        with trio.fail_after(10), pytest.raises((penstock.ReadError, penstock.WriteError)) as caught:
            await client.post(server.url, content=endless())
        assert caught.value.request_sent == "partly"
        await check_recovers(client, server)


async def test_an_answer_before_the_server_stops_reading(tls: ssl.SSLContext | None) -> None:
    async def refuses(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.respond(413, [(b"connection", b"close")], b"too large")
        # Wait for the client to be stuck, then for it to leave.
        await peer.wait_closed()

    async with ScriptServer(refuses, tls=tls, receive_buffer=4096) as server, open_client() as client:
        with trio.fail_after(10):
            response = await client.post(server.url, content=bytes(5_000_000))
        assert (response.status_code, response.text) == (413, "too large")


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (serve_then_close_idle(0.0), "peer_closed"),
        (serve_then_close_idle(0.3), "peer_closed"),
        (serve_then_close_idle(0.3, reset=True), "io_error"),
        (times_out_idle(0), "unsolicited_data"),
        (times_out_idle(0.3), "unsolicited_data"),
        (serve_then_say(b"\r\n"), "unsolicited_data"),
    ],
    ids=["fin at once", "fin", "rst", "408 at once", "408", "stray line"],
)
async def test_while_idle(ending: Handler, reason: str, tls: ssl.SSLContext | None) -> None:
    handler = serve_in_turn(ending, serve_ok())
    async with ScriptServer(handler, tls=tls) as server, open_client() as client:
        await client.get(server.url)
        pool = client._pool
        assert pool is not None
        # Nobody asks for anything: the pool notices by itself.
        await wait_until(lambda: not pool.statistics().total)
        (endpoint,) = pool.statistics().endpoints
        assert endpoint.closed_by_reason == {reason: 1}
        await check_recovers(client, server)


async def test_many_requests_while_the_server_closes_at_random_moments(tls: ssl.SSLContext | None) -> None:
    """Every connection ends after a few answers without a word; idempotent requests never notice."""
    numbers = iter(range(1, 1000))

    async def fickle(peer: ScriptedPeer) -> None:
        number = next(numbers)
        for _ in range(1 + number % 4):
            request = await peer.expect_request()
            await peer.respond(200, body=request.target)
        if number % 2:
            await trio.sleep(0.001 * (number % 3))
        peer.fin()

    async with ScriptServer(fickle, tls=tls) as server, open_client(max_connections=5) as client:

        async def ask(number: int) -> None:
            for turn in range(10):
                assert (await client.get(f"{server.url}/{number}-{turn}")).text == f"/{number}-{turn}"

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, number)
