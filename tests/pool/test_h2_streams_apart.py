"""What happens to one stream happens to no other one on its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.h2_alpn import alpn_context
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.h2_server import CANCEL, H2Server, Incoming, Reset, Response
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


async def mixed(request: Incoming) -> Response:
    """Never answers to "/quiet", stops in the body of "/stops", sends for 10 s on "/busy", 20 MB on "/large"."""
    path = request.path

    async def busy() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(1000)
            await trio.sleep(0.05)

    async def stops() -> AsyncIterator[bytes]:
        yield b"some"
        await trio.sleep_forever()

    if path == b"/quiet":
        await trio.sleep_forever()
    if path == b"/stops":
        return Response(body=stops())
    if path == b"/busy":
        return Response(body=busy())
    return Response(body=bytes(20 << 20) if path == b"/large" else b"ok")


async def test_a_reader_who_does_not_read_holds_up_nobody(autojump_clock: MockClock) -> None:
    server = H2Server(mixed)
    config = penstock.HTTP2Config(stream_window=65535, connection_window=65535)
    async with scene(server, http1=False, max_connections_per_host=1, http2_config=config) as s:
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(hold_unread, s)
            await settle()
            assert [stream.sent for stream in server.streams] == [65535] * 30
            assert len((await s.client.get(f"{s.url}/busy")).content) == 200_000
            assert len((await s.client.get(f"{s.url}/large")).content) == 20 << 20
            nursery.cancel_scope.cancel()
        assert server.connections == 1


async def hold_unread(s: Scene) -> None:
    async with s.client.stream("GET", f"{s.url}/large"):
        await trio.sleep_forever()


async def test_what_a_slow_reader_leaves_lying_is_bounded_by_the_window_of_its_stream(
    autojump_clock: MockClock,
) -> None:
    server = H2Server(mixed)
    config = penstock.HTTP2Config(stream_window=100_000)
    async with scene(server, http1=False, http2_config=config) as s:
        got = 0
        async with s.client.stream("GET", f"{s.url}/large") as response:
            async for piece in response.aiter_bytes():
                await trio.sleep(1)
                got += len(piece)
                assert server.streams[0].sent - got <= 100_000
                if got > 1_000_000:
                    break


@pytest.mark.parametrize("path", ["quiet", "stops"])
async def test_a_quiet_stream_times_out_on_time_beside_a_busy_one(path: str, autojump_clock: MockClock) -> None:
    server = H2Server(mixed)
    async with scene(server, http1=False, max_connections_per_host=1) as s:
        busy: list[int] = []

        async def read_busy() -> None:
            busy.append(len((await s.client.get(f"{s.url}/busy", timeout=penstock.Timeouts(read=0.1))).content))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_busy)
            await trio.sleep(0.123)
            start = trio.current_time()
            with pytest.raises(penstock.ReadTimeout):
                await s.client.get(f"{s.url}/{path}", timeout=penstock.Timeouts(read=0.5))
            assert trio.current_time() == pytest.approx(start + 0.5, abs=1e-6)
        assert busy == [200_000]
        assert server.resets == [CANCEL]
        assert server.connections == 1
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_total_limit_ends_its_own_stream_only(autojump_clock: MockClock) -> None:
    server = H2Server(mixed)
    async with scene(server, http1=False, max_connections_per_host=1) as s:
        ended: list[float] = []

        async def limited(seconds: float) -> None:
            with pytest.raises(penstock.ReadTimeout):
                await s.client.get(f"{s.url}/busy", timeout=penstock.Timeouts(total=seconds))
            ended.append(trio.current_time())

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(1, 6):
                nursery.start_soon(limited, number * 0.7)
            assert len((await s.client.get(f"{s.url}/busy")).content) == 200_000
        assert ended == pytest.approx([start + number * 0.7 for number in range(1, 6)])
        assert server.connections == 1


async def test_a_stream_that_the_server_resets_takes_no_other_with_it(autojump_clock: MockClock) -> None:
    async def app(request: Incoming) -> Response:
        if request.path != b"/broken":
            return await mixed(request)

        async def body() -> AsyncIterator[bytes]:
            yield b"some"
            await trio.sleep(1)
            raise Reset(2)

        return Response(body=body())

    server = H2Server(app)
    async with scene(server, http1=False, max_connections_per_host=1) as s:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.client.get, f"{s.url}/busy")
            with pytest.raises(penstock.RemoteProtocolError, match="INTERNAL_ERROR") as caught:
                await s.client.get(f"{s.url}/broken")
        assert caught.value.request_sent == "fully"
        assert server.connections == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_cancel_in_the_middle_of_a_blocked_write_cuts_no_frame(*, tls: bool, autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        first = await peer.request()
        await peer.window_update(0, 1 << 24)
        peer.stop_reading()
        await peer.respond(first.stream, body=b"ok")
        await peer.wait(5)
        peer.go_on_reading()
        async with trio.open_nursery() as nursery:
            while True:
                request = await peer.head()
                nursery.start_soon(answer, peer, request.stream)

    async def answer(peer: H2Peer, stream: int) -> None:
        request = await peer.request(stream)
        await peer.respond(stream, body=b"%d" % len(request.body))

    server = H2Script(script, settings={"initial_window_size": 1 << 20})
    secure = alpn_context("h2") if tls else False
    async with scene(server, http1=False, tls=secure, capacity=2000, max_connections_per_host=1) as s:
        await s.client.get(s.url)
        answers: list[bytes] = []

        async def upload(size: int) -> None:
            answers.append((await s.client.post(s.url, content=bytes(size))).content)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload, 150_000)
            with trio.move_on_after(1):
                await upload(150_001)
            with trio.move_on_after(1):
                await upload(150_002)
            with trio.move_on_after(1):
                await s.client.get(s.url)
            nursery.start_soon(upload, 150_003)
        assert sorted(answers) == [b"150000", b"150003"]
        assert (await s.client.get(s.url)).content == b"0"
        assert server.connections == 1
        # Also those of which nothing had left: their heads were on their way.
        assert len(server.peers[0].of("RST_STREAM")) == 3
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("end", ["reset", "end", "garbage"])
async def test_when_a_connection_breaks_each_stream_has_an_error_of_its_own_with_the_cause(
    end: str, autojump_clock: MockClock
) -> None:
    async def script(peer: H2Peer) -> None:
        for number in range(10):
            request = await peer.request()
            if number % 2:
                await peer.headers(request.stream, [(b":status", b"200")])
                await peer.data(request.stream, b"some")
        await peer.wait(1)
        match end:
            case "reset":
                peer.wire.rst()
            case "end":
                peer.wire.fin()
            case "garbage":
                await peer.send(b"\xff" * 100)
        await peer.wait_closed()

    async with scene(H2Script(script), http1=False) as s:

        async def fail() -> BaseException:
            with pytest.raises(penstock.TransportError) as caught:
                await s.client.post(s.url)
            return caught.value

        errors = await at_once(10, fail)
        assert len({id(error) for error in errors}) == 10
        assert {type(error) for error in errors} == {
            penstock.RemoteProtocolError if end == "garbage" else penstock.ReadError
        }
        (cause,) = {error.__cause__ for error in errors if isinstance(error, BaseException)}
        assert isinstance(cause, penstock.TransportError)
        assert {(error.request_sent, error.attempt) for error in errors} == {("fully", 1)}  # type: ignore[attr-defined]
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_late_frames_of_a_stream_that_has_ended_are_no_error(autojump_clock: MockClock) -> None:
    """Everything a server may still send on a stream that was reset: fields, data, trailers, credit, its own reset."""

    async def script(peer: H2Peer) -> None:
        for ending in range(4):
            request = await peer.head()
            await peer.expect("RST_STREAM", request.stream)
            await peer.window_update(request.stream, 1000)
            if ending:
                await peer.headers(request.stream, [(b":status", b"200"), (b"x-late", b"1")])
                await peer.data(request.stream, b"late")
            if ending == 1:
                await peer.headers(request.stream, [(b"x-sum", b"1")], end_stream=True)
            elif ending == 2:
                await peer.data(request.stream, end_stream=True)
            elif ending == 3:
                await peer.rst(request.stream, 0x7)
            request = await peer.request()
            # The table of field names is in step on both sides.
            await peer.respond(request.stream, 200, [(b"x-late", b"1"), (b"x-new", b"%d" % ending)])
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False, latency=0.01, max_connections_per_host=1) as s:
        for number in range(4):
            with trio.move_on_after(1):
                await s.client.get(s.url)
            await settle()
            response = await s.client.get(s.url)
            assert (response.headers["x-late"], response.headers["x-new"]) == ("1", str(number))
        assert server.connections == 1
        await settle()
        assert [entry.resetting for entry in s.only_endpoint.connections] == [0]
