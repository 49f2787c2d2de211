"""A client with two requests on one connection, and a server that turns on it.

The victim's request is the first one, on stream 1, the neighbour's the second, on stream 3. A third one, made after all
that, shows whether the connection was kept or another one was opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import trio
from hyperframe import frame as hf

import penstock
from tests.support.h2_peer import H2Peer, H2Script, Seen, serve
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Attack = Callable[[H2Peer], Awaitable[object]]


class Aftermath(NamedTuple):
    """What came of it.

    Attributes:
        victim: the response, or the error.
        neighbour: the same.
        heads: requests heard on each connection; the last one is made afterwards and must be answered.
        goaway: the code of our GOAWAY on the first connection; None if there was none.
        resets: our resets there: stream and code.
        close_reasons: why connections were closed before the pool was.
        took: seconds until victim and neighbour had their results.
    """

    victim: penstock.Response | penstock.TransportError
    neighbour: penstock.Response | penstock.TransportError
    heads: list[int]
    goaway: int | None
    resets: list[tuple[int, int]]
    close_reasons: list[str]
    took: float


def code_of(seen: Seen) -> int:
    """The error code of a GOAWAY or RST_STREAM frame."""
    assert isinstance(seen.frame, hf.GoAwayFrame | hf.RstStreamFrame)
    return seen.frame.error_code


class ByByte:
    """A wire that sends each byte on its own."""

    def __init__(self, wire: object) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> object:
        return getattr(self._wire, name)

    async def send(self, data: bytes) -> None:
        for at in range(len(data)):
            await self._wire.send(data[at : at + 1])  # type: ignore[attr-defined]


async def turned_on(
    attack: Attack, *, method: str = "GET", by_byte: bool = False, saves_neighbour: bool = False, **settings: Any
) -> Aftermath:
    """Let a server hear two requests, `attack`, answer the neighbour if it is there still, and serve from then on.

    Args:
        attack: what the server does once it has heard both.
        method: of the victim's request.
        by_byte: whether the attack arrives in pieces of one byte.
        saves_neighbour: whether the server is to answer the neighbour and serve on after the attack.
        **settings: of the pool.
    """

    async def script(peer: H2Peer) -> None:
        await peer.request(1)
        await peer.request(3)
        if by_byte:
            peer.wire = ByByte(peer.wire)  # type: ignore[assignment]
        await attack(peer)
        if saves_neighbour:
            await peer.respond(3, body=b"neighbour")
            await serve(peer)
        await peer.wait_closed()

    server = H2Script(script, serve)
    results: dict[str, penstock.Response | penstock.TransportError] = {}
    async with scene(server, http1=False, latency=0.01, **settings) as s:

        async def ask(name: str, verb: str) -> None:
            try:
                results[name] = await s.client.request(verb, f"{s.url}/{name}")
            except penstock.TransportError as error:
                results[name] = error

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "victim", method)
            # The second one joins the connection of the first, on the stream after it.
            await trio.sleep(0.5)
            nursery.start_soon(ask, "neighbour", "GET")
        took = trio.current_time() - start
        await settle()
        assert (await s.client.get(f"{s.url}/afterwards")).content == b"ok"
        await settle()
        assert_at_rest(s.pool, s.network)
        reasons = s.seen.close_reasons
    first = server.peers[0]
    goaways = first.of("GOAWAY")
    return Aftermath(
        results["victim"],
        results["neighbour"],
        [len(peer.requests) for peer in server.peers],
        code_of(goaways[0]) if goaways and reasons else None,
        [(seen.stream, code_of(seen)) for seen in first.of("RST_STREAM")],
        reasons,
        took,
    )
