"""A pool, a client and a network in memory, put up in one line.

async with scene(serve_ok(), max_connections=1) as s:
    assert (await s.client.get(s.url)).text == "ok"
    assert s.requests_per_connection == [1]
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import trio

import penstock
from penstock import events
from penstock.testing import FakeNetwork, serve_ok
from tests.support.certificates import client_config, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from penstock.testing import Handler

E = TypeVar("E")


class Recorder:
    """An instrument that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def event(self, event: events.Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def close_reasons(self) -> list[str]:
        """Why connections were closed, in order."""
        return [event.reason.value for event in self.of(events.ConnectionClosed)]


class Scene(NamedTuple):
    """What a test works with.

    Attributes:
        network: where everything happens; the origin of `url` is served there.
        pool: open, with a `Recorder` attached from the start.
        client: over the pool.
        url: the origin that is served, without a path.
        seen: what the pool told its instruments.
    """

    network: FakeNetwork
    pool: penstock.Pool
    client: penstock.Client
    url: str
    seen: Recorder

    @property
    def requests_per_connection(self) -> list[int]:
        """How many requests were heard on each connection, in order."""
        return [len(peer.requests) for peer in self.network.peers]

    @property
    def only_endpoint(self) -> penstock.EndpointStatistics:
        """The statistics of the one endpoint there is."""
        (endpoint,) = self.pool.statistics().endpoints
        return endpoint

    def serve(self, host: str, handler: Handler) -> str:
        """Put a plain server on another host; returns its origin."""
        self.network.listen(host, 80, handler)
        return f"http://{host}"


@asynccontextmanager
async def scene(
    handler: Handler | None = None,
    *,
    tls: bool | ssl.SSLContext = False,
    latency: float = 0.0,
    bandwidth: float | None = None,
    capacity: int = 65536,
    seed: int | None = 0,
    upstreams: Sequence[penstock.Upstream | str] = (),
    **settings: Any,
) -> AsyncIterator[Scene]:
    """Serve `handler` as api.test, or localhost over TLS, and open a pool with these settings beside it.

    With `http1=False` HTTP/2 is spoken, also without TLS.
    """
    url = "https://localhost" if tls else "http://api.test"
    config = penstock.PoolConfig(**({"tls": client_config()} if tls else {}), **settings)
    async with FakeNetwork(latency=latency, bandwidth=bandwidth, capacity=capacity) as network:
        network.listen(
            url.partition("://")[2],
            443 if tls else 80,
            handler or serve_ok(),
            tls=server_context() if tls is True else tls or None,
        )
        pool = penstock.Pool(config, network=network, upstreams=upstreams, seed=seed)
        async with pool, penstock.Client(pool) as client:
            seen = Recorder()
            pool.add_instrument(seen)
            yield Scene(network, pool, client, url, seen)
        assert network.open_connections == 0


async def settle(seconds: float = 1.0) -> None:
    """Let everything end that ends by itself: bodies that are drained, ends that are noticed, dials nobody wants."""
    await trio.sleep(seconds)


def assert_at_rest(pool: penstock.Pool, network: FakeNetwork) -> None:
    """Nothing is in use, nobody waits, and the books agree with the network and with themselves."""
    books = pool.statistics()
    assert (books.active, books.waiting, books.dialing) == (0, 0, 0)
    assert books.total == books.idle == network.open_connections
    assert books.total <= books.max_connections
    assert pool.explain() == []
    assert_books_add_up(books)


def assert_books_add_up(books: penstock.Statistics) -> None:
    """What has begun has ended or is still there."""
    counts = books.counts
    ended = counts.delivered - counts.refused + counts.failed + counts.timed_out + counts.cancelled + counts.rejected
    assert counts.acquires == ended + books.waiting
    assert counts.dials_started == counts.dials_ok + counts.dials_failed + counts.dials_given_up + books.dialing
    assert counts.dials_started == counts.closed + books.total
    assert books.total == sum(len(endpoint.connections) for endpoint in books.endpoints)
    for endpoint in books.endpoints:
        assert len(endpoint.connections) <= endpoint.max_connections


async def at_once(count: int, work: Callable[[], Awaitable[object]]) -> list[object]:
    """Run `work` so many times at once and return what came out, in order of ending."""
    results: list[object] = []

    async def one() -> None:
        results.append(await work())

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return results
