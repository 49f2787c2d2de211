"""A server that crosses a limit is counted, by the name of the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import penstock
from penstock import events
from tests.support.h2_peer import H2Peer, H2Script, serve
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

OK = [(b":status", b"200")]


async def many_settings(peer: H2Peer, stream: int) -> None:
    await peer.frame("SETTINGS", payload=b"\0\5\0\0\100\0" * 33)


async def wide_head(peer: H2Peer, stream: int) -> None:
    await peer.headers(stream, [*OK, *((b"x-%d" % number, b"") for number in range(300))])


@pytest.mark.parametrize(
    ("attack", "limit", "costs_the_connection"),
    [(many_settings, "max_settings", True), (wide_head, "max_head_fields", False)],
)
async def test_each_crossing_is_counted_once_and_told(
    attack: Callable[[H2Peer, int], Awaitable[None]],
    limit: str,
    costs_the_connection: bool,
    autojump_clock: MockClock,
) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        await attack(peer, request.stream)
        await serve(peer)

    server = H2Script(script, serve)
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match=limit) as failed:
            await s.client.post(s.url, content=b"once")
        assert failed.value.reason is penstock.ProtocolReason.LIMIT
        assert failed.value.limit == limit
        assert (await s.client.get(s.url)).content == b"ok"
        await settle()
        (endpoint,) = s.pool.statistics().endpoints
        assert endpoint.limits_crossed == {limit: 1}
        assert [event.limit for event in s.seen.of(events.LimitCrossed)] == [limit]
        assert server.connections == (2 if costs_the_connection else 1)
        assert_at_rest(s.pool, s.network)
