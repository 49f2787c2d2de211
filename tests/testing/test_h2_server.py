"""The HTTP/2 server in good order answers, counts, waits for windows and leaves in good order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h2.exceptions
import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from penstock.testing import FakeNetwork
from tests.support.h2_alpn import alpn_context
from tests.support.h2_client import Answer, H2Client, alpn_client, h2_client
from tests.support.h2_server import H2Server, Incoming, Reset, Response, answer, echo
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("where", ["memory", "socket"])
async def test_it_answers_on_both_networks(where: str, *, tls: bool) -> None:
    server = H2Server(echo, max_concurrent_streams=100)
    secure = alpn_context("h2") if tls else None
    client_tls = alpn_client("h2") if tls else None
    async with FakeNetwork() as network, ScriptServer(server, tls=secure) as sockets:
        network.listen("localhost", 443, server, tls=secure)
        port, where_to = (443, network) if where == "memory" else (sockets.port, None)
        for _ in range(2):
            async with h2_client(port, network=where_to, tls=client_tls) as client:
                assert (await client.get(b"/x")).fields[b"x-path"] == b"/x"
                # Both windows are smaller than this, each way.
                assert (await client.post(b"/y", b"y" * 500_000)).body == b"y" * 500_000
    assert server.connections == 2
    assert server.streams_per_connection == [2, 2]
    assert server.open_connections == 0
    assert [(stream.received, stream.sent, stream.status) for stream in server.streams[:2]] == [
        (0, 0, 200),
        (500_000, 500_000, 200),
    ]


async def test_thousands_of_streams_at_once(autojump_clock: MockClock) -> None:
    server = H2Server(answer(b"x" * 100, delay=5), max_concurrent_streams=2000)
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            await client.until(lambda: client.h2.remote_settings.max_concurrent_streams == 2000)
            streams = [await client.begin(b"GET") for _ in range(2000)]
            for stream in streams:
                assert (await client.answer(stream)).body == b"x" * 100
    assert server.peak_streams == 2000
    assert trio.current_time() < 6


async def test_ten_thousand_cancelled_streams_leave_nothing_behind() -> None:
    server = H2Server(answer(delay=1e6))
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            for _ in range(100):
                for stream in [await client.begin(b"GET") for _ in range(100)]:
                    client.h2.reset_stream(stream, 8)
                await client.flush()
                client.h2.ping(b"12345678")
                await client.flush()
                await client.read()
            await wait_all_tasks_blocked()
            (peer,) = server.peers
            assert not peer.open
            # The network's own nursery, the reader, the writer, and this test; no stream has a task left.
            assert trio.lowlevel.current_statistics().tasks_living < 20
    assert server.resets == [8] * 10_000
    assert server.pings == 100


async def test_bodies_stream_with_delays_and_trailers(autojump_clock: MockClock) -> None:
    async def slow(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            await trio.sleep(60)
            yield b"piece"

    async def app(request: Incoming) -> Response:
        await request.inform(103, [(b"link", b"</a>")])
        return Response(201, body=slow(10), trailers=[(b"x-sum", b"10")])

    server = H2Server(app)
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            reply = await client.get()
    assert (reply.status, reply.body, reply.trailers) == (201, b"piece" * 10, {b"x-sum": b"10"})
    assert reply.informational == [b"103"]
    assert 600 <= trio.current_time() < 601


async def test_an_upload_stops_where_the_app_does_not_read() -> None:
    async def app(request: Incoming) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    server = H2Server(app, initial_window_size=1000)
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            await client.read()
            stream = await client.begin(b"POST", end_stream=False)
            with trio.move_on_after(0.1) as scope:
                await client.send_body(stream, b"z" * 5000)
            assert scope.cancelled_caught
    assert server.streams[0].received == 1000


@pytest.mark.parametrize("reset_rest", [False, True])
async def test_an_early_answer_gives_the_windows_back(*, reset_rest: bool) -> None:
    async def app(request: Incoming) -> Response:
        return Response(413, body=b"too much", reset_rest=reset_rest)

    server = H2Server(app)
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            for _ in range(5):
                reply = await client.post(b"/", b"z" * 100_000)
                assert (reply.status, reply.body, reply.is_ended) == (413, b"too much", True)
                if reset_rest:
                    await client.until(lambda reply=reply: reply.reset_code == 0)
    assert [stream.own_reset_code for stream in server.streams] == [0 if reset_rest else None] * 5


async def test_an_app_may_reset_before_and_within_its_answer() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise Reset(2)

    async def app(request: Incoming) -> Response:
        if request.path == b"/refused":
            raise Reset(7)
        return Response(body=broken())

    async with FakeNetwork() as network:
        network.listen("localhost", 80, H2Server(app))
        async with h2_client(80, network=network) as client:
            assert (await client.get(b"/refused")).reset_code == 7
            reply = await client.get()
            assert (reply.status, reply.body, reply.reset_code) == (200, b"some", 2)


async def test_streams_above_a_limit_nobody_knows_yet_are_refused() -> None:
    server = H2Server(answer(delay=0.01), max_concurrent_streams=1)
    async with FakeNetwork() as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            early = [await client.begin(b"GET") for _ in range(3)]
            codes = [(await client.answer(stream)).reset_code for stream in early]
            assert codes == [None, 7, 7]
            assert server.refused == 2
            server.update_settings(max_concurrent_streams=0)
            await client.until(lambda: client.h2.remote_settings.max_concurrent_streams == 0)
            with pytest.raises(h2.exceptions.TooManyStreamsError):
                await client.begin(b"GET")
    assert server.peak_streams == 1


async def test_no_limit_is_sent_where_none_is_set() -> None:
    async with FakeNetwork() as network:
        network.listen("localhost", 80, H2Server(answer()))
        async with h2_client(80, network=network) as client:
            await client.get()
            assert client.h2.remote_settings.max_concurrent_streams > 1 << 31


async def test_it_leaves_once_its_streams_are_done(autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=30))
    async with FakeNetwork(latency=0.1) as network:
        network.listen("localhost", 80, server)
        async with h2_client(80, network=network) as client:
            first = await client.begin(b"GET")
            await trio.sleep(1)
            server.announce_goaway()
            server.goaway(debug=b"bye")
            assert (await client.answer(first)).body == b"ok"
            await client.until_gone()
            assert client.goaways == [(2**31 - 1, 0), (first, 0)]
            assert trio.current_time() == pytest.approx(30.2, abs=0.5)
        await trio.sleep(1)
    assert server.open_connections == 0


async def test_a_client_that_breaks_the_protocol_fails_the_test() -> None:
    async def use() -> None:
        async with FakeNetwork() as network:
            network.listen("localhost", 80, H2Server(answer(delay=100)))
            async with h2_client(80, network=network) as client:
                await client.begin(b"GET")
                await client.stream.send_all(b"\0\0\0\0\0\0\0\0\0")
                await client.until_gone()

    with pytest.raises(h2.exceptions.ProtocolError):
        await use()


async def test_parallel_uploads_and_answers_share_one_connection_over_tls() -> None:
    server = H2Server(echo, max_concurrent_streams=100)
    size = 30_000
    async with (
        ScriptServer(server, tls=alpn_context("h2")) as sockets,
        h2_client(sockets.port, tls=alpn_client("h2")) as client,
    ):
        replies = await _interleaved(client, count=50, body=b"x" * size)
    assert [len(reply.body) for reply in replies] == [size] * 50
    assert server.connections == 1


async def _interleaved(client: H2Client, *, count: int, body: bytes) -> list[Answer]:
    streams = [await client.begin(b"POST", end_stream=False) for _ in range(count)]
    for start in range(0, len(body), 10_000):
        for stream in streams:
            ends = start + 10_000 >= len(body)
            await client.send_body(stream, body[start : start + 10_000], end_stream=ends)
    return [await client.answer(stream) for stream in streams]
