"""A slow way to the server is no slow server: while the request is leaving, the limit on writing holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import penstock
from tests.support.h2_peer import H2Peer, H2Script
from tests.support.h2_server import H2Server, Incoming, Response, echo
from tests.support.scene import scene

if TYPE_CHECKING:
    from trio.testing import MockClock


def many_bytes(size: int) -> bytes:
    return b"u" * size


@pytest.mark.parametrize("size", [60_000, 400_000])
async def test_a_request_that_is_still_leaving_does_not_wait_for_its_answer(
    size: int, autojump_clock: MockClock
) -> None:
    """20 kB a second: the content takes up to twenty seconds, and no pause in it is longer than a second."""
    async with scene(H2Server(echo), http1=False, bandwidth=20_000, capacity=4096, read_timeout=5.0) as s:
        response = await s.client.post(s.url, content=many_bytes(size))
        assert response.content == many_bytes(size)


async def test_a_server_that_stops_reading_is_late_by_the_limit_on_writing(autojump_clock: MockClock) -> None:
    async def deaf(peer: H2Peer) -> None:
        await peer.head()
        peer.stop_reading()
        await trio.sleep_forever()

    timeouts = penstock.Timeouts(read=60, write=3)
    async with scene(H2Script(deaf, settings={"initial_window_size": 1 << 20}), http1=False, capacity=4096) as s:
        with pytest.raises(penstock.WriteTimeout):
            await s.client.post(s.url, content=many_bytes(60_000), timeout=timeouts)
        assert autojump_clock.current_time() == pytest.approx(3)


async def test_the_limit_on_the_first_byte_begins_when_the_request_has_left(autojump_clock: MockClock) -> None:
    async def thinks(request: Incoming) -> Response:
        await request.body()
        await trio.sleep(3)
        return Response()

    timeouts = penstock.Timeouts(first_byte=2, read=60)
    async with scene(H2Server(thinks), http1=False, bandwidth=20_000, capacity=4096) as s:
        with pytest.raises(penstock.ReadTimeout, match="first_byte_timeout"):
            await s.client.post(s.url, content=many_bytes(100_000), timeout=timeouts)
        assert autojump_clock.current_time() > 5
