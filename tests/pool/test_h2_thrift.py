"""What HTTP/2 costs on the wire: few frames, few writes, and a table that both sides share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import penstock
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.scene import at_once, scene

if TYPE_CHECKING:
    from trio.testing import MockClock


class Counting:
    """Counts in how many pieces the client writes."""

    def __init__(self, peer: H2Peer) -> None:
        self.pieces = 0
        self._receive = peer._receive
        peer._receive = self.receive  # type: ignore[method-assign]

    async def receive(self) -> bytes:
        data = await self._receive()
        self.pieces += 1
        return data


async def test_credit_is_given_in_large_portions(autojump_clock: MockClock) -> None:
    size = 10 << 20

    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream, body=bytes(size))
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False, latency=0.001) as s:
        assert len((await s.client.get(s.url)).content) == size
    (peer,) = server.peers
    updates = [seen for seen in peer.of("WINDOW_UPDATE") if seen.at > peer.of("HEADERS")[0].at]
    half = penstock.HTTP2Config().stream_window // 2
    assert all(seen.frame.window_increment >= half for seen in updates)  # type: ignore[attr-defined]
    # 640 frames of data came in.
    assert len(updates) <= 2 * size // half


async def test_the_requests_of_one_moment_leave_in_one_write(autojump_clock: MockClock) -> None:
    pieces: list[int] = []

    async def script(peer: H2Peer) -> None:
        count = Counting(peer)
        await serve_one(peer)
        # One piece is being waited for outside the count.
        before = count.pieces
        requests = [await peer.request() for _ in range(50)]
        pieces.append(count.pieces - before)
        async with peer.together():
            for request in requests:
                await peer.respond(request.stream, body=b"ok")
        await peer.wait_closed()

    async def serve_one(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request.stream)

    async with scene(H2Script(script), http1=False, latency=0.01) as s:
        await s.client.get(s.url)
        await trio.sleep(1)
        await at_once(50, lambda: s.client.post(s.url, content=b"body"))
    assert pieces[0] <= 2


async def test_resets_of_one_moment_share_a_ping(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        for _ in range(50):
            await peer.request()
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False, latency=0.01) as s:
        with trio.move_on_after(1):
            await at_once(50, lambda: s.client.get(s.url))
        await trio.sleep(1)
        (peer,) = server.peers
        assert len(peer.of("RST_STREAM")) == 50
        assert len(peer.of("PING")) <= 2


async def test_a_small_request_is_two_frames_and_a_repeated_head_is_small(autojump_clock: MockClock) -> None:
    server = H2Script(serve)
    async with scene(server, http1=False) as s:
        for _ in range(2):
            await s.client.post(f"{s.url}/some/path", content=b"body", headers={"x-long": "x" * 500})
    (peer,) = server.peers
    first, second = peer.of("HEADERS")
    assert len(first.frame.data) > 200  # type: ignore[attr-defined]
    assert len(second.frame.data) < 40  # type: ignore[attr-defined]
    assert [seen.kind for seen in peer.seen if seen.stream] == ["HEADERS", "DATA"] * 2
