"""GOAWAY: what the server finishes is delivered, what it did not process is sent again, and nothing is done twice.

The grid plays every position × last stream × code × number of streams × method on virtual time. The server counts which
requests it processed, and where.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

import penstock
from penstock import events
from penstock.testing import serve_echo
from tests.support.h2_alpn import alpn_context, serve_by_alpn
from tests.support.h2_frames import MAX_WINDOW
from tests.support.h2_peer import H2Peer, H2Request, H2Script
from tests.support.h2_server import H2Server, Incoming, Response, answer
from tests.support.scene import Scene, assert_at_rest, at_once, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

NO_ERROR, PROTOCOL_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 0x0, 0x1, 0xB, 0xD

POSITIONS = ["before headers", "after headers", "in the bodies", "between streams", "right behind the last", "idle"]
CODES = [NO_ERROR, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, HTTP_1_1_REQUIRED]
LAST: dict[str, Callable[[int], int]] = {
    "none": lambda _: 0,
    "middle": lambda count: max(0, 2 * (count // 2) - 1),
    "last": lambda count: 2 * count - 1,
    "any": lambda _: MAX_WINDOW,
}


class Cell(NamedTuple):
    """One cell of the grid."""

    position: str
    last: str
    code: int
    count: int
    method: str


class Executions:
    """Plays both connections, and counts what each of them has processed."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._last = LAST[cell.last](cell.count)
        self.on_first: Counter[bytes | None] = Counter()
        self.on_others: Counter[bytes | None] = Counter()
        #: Which request came first on its connection.
        self.very_first: bytes | None = None
        self.too_late: list[H2Request] = []

    async def first(self, peer: H2Peer) -> None:
        position = self._cell.position
        requests = [await peer.request() for _ in range(self._cell.count)]
        requests.sort(key=lambda request: request.stream)
        self.very_first = requests[0].path
        served = requests if position == "idle" else [one for one in requests if one.stream <= self._last]
        for request in served:
            self.on_first[request.path] += 1
        before = {"between streams": len(served) // 2, "right behind the last": len(served), "idle": len(served)}
        early, later = served[: before.get(position, 0)], served[before.get(position, 0) :]
        async with peer.together():
            for request in early:
                await self._head(peer, request)
                await self._body(peer, request)
            if position in ("after headers", "in the bodies"):
                for request in later:
                    await self._head(peer, request)
                    if position == "in the bodies":
                        await peer.data(request.stream, b"1st")
            if position != "idle":
                await peer.goaway(self._last, self._cell.code, b"so there")
        if position == "idle":
            await peer.wait(1)
            await peer.goaway(self._last, self._cell.code, b"so there")
        for request in later:
            await peer.wait(0.01)
            if position not in ("after headers", "in the bodies"):
                await self._head(peer, request)
            await self._body(peer, request, begun=position == "in the bodies")
        # Nothing new may come here; what comes is not processed, and would hang.
        self.too_late.append(await peer.head())

    async def others(self, peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            self.on_others[request.path] += 1
            await peer.respond(request.stream, body=b"2nd")

    async def _head(self, peer: H2Peer, request: H2Request) -> None:
        await peer.headers(request.stream, [(b":status", b"200")])

    async def _body(self, peer: H2Peer, request: H2Request, *, begun: bool = False) -> None:
        await peer.data(request.stream, b"" if begun else b"1st", end_stream=True)


async def play(cell: Cell) -> None:
    executions = Executions(cell)
    server = H2Script(executions.first, executions.others)
    async with scene(server, http1=False, latency=0.001, max_connections_per_host=2) as s:
        answers: dict[bytes, bytes] = {}
        errors: dict[bytes, penstock.RequestError] = {}

        async def ask(number: int) -> None:
            path = f"/{number}"
            try:
                response = await s.client.request(cell.method, s.url + path)
                answers[path.encode()] = response.content
            except penstock.RequestError as error:
                errors[path.encode()] = error

        async with trio.open_nursery() as nursery:
            for number in range(cell.count):
                nursery.start_soon(ask, number)
        await trio.sleep(2)
        await ask(1000)
        check(cell, executions, answers, errors)
        assert server.connections == 2
        assert s.seen.close_reasons in (["goaway"], ["http1_required"])
        assert_at_rest(s.pool, s.network)


def check(
    cell: Cell, executions: Executions, answers: dict[bytes, bytes], errors: dict[bytes, penstock.RequestError]
) -> None:
    paths = {b"/%d" % number for number in range(cell.count)} | {b"/1000"}
    # A server that refuses the first stream with an error would refuse the next first one too: it is told to somebody.
    means_it = cell.position != "idle" and LAST[cell.last](cell.count) == 0
    if means_it and cell.code not in (NO_ERROR, HTTP_1_1_REQUIRED):
        assert errors.keys() == {executions.very_first}
        (error,) = errors.values()
        assert isinstance(error, penstock.RemoteProtocolError)
        assert (error.reason, error.attempt) == (penstock.ProtocolReason.GOAWAY, 1)
        assert "so there" in str(error)
    else:
        assert errors == {}
    assert answers.keys() | errors.keys() == paths
    # Whoever was answered was processed once, and there; who was not, nowhere.
    assert executions.on_first == Counter(path for path, content in answers.items() if content == b"1st")
    assert executions.on_others == Counter(path for path, content in answers.items() if content == b"2nd")
    assert executions.too_late == []


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("position", POSITIONS)
async def test_nothing_is_lost_and_nothing_done_twice(position: str, code: int, autojump_clock: MockClock) -> None:
    for last in LAST:
        for count in (1, 2, 5, 50):
            for method in ("POST",) if count == 50 else ("GET", "POST"):
                cell = Cell(position, last, code, count, method)
                try:
                    await play(cell)
                except Exception as error:
                    raise AssertionError(str(cell)) from error


async def test_a_server_that_says_goodbye_in_two_steps_loses_nothing(autojump_clock: MockClock) -> None:
    """First "open no more streams", then, a round trip later, which was the last."""
    server = H2Server(answer(delay=0.05))
    async with scene(server, http1=False, latency=0.01) as s:

        async def leave_again_and_again() -> None:
            while True:
                await trio.sleep(0.333)
                peers = [peer for peer in server.peers if not peer.is_over]
                for peer in peers:
                    peer.announce_goaway()
                await trio.sleep(0.05)
                for peer in peers:
                    peer.goaway()

        await under_load(s, server, leave_again_and_again)
        assert len(server.streams) == 300


@pytest.mark.parametrize("last", ["none", "middle", "last"])
async def test_a_server_that_says_goodbye_at_once_loses_nothing(last: str, autojump_clock: MockClock) -> None:
    server = H2Server(answer(delay=0.05))
    async with scene(server, http1=False, latency=0.01) as s:

        async def leave_again_and_again() -> None:
            while True:
                await trio.sleep(0.333)
                for peer in [peer for peer in server.peers if not peer.is_over]:
                    streams = sorted(peer.open)
                    middle = streams[len(streams) // 2] if streams else None
                    peer.goaway(last={"none": 0, "middle": middle}.get(last))

        await under_load(s, server, leave_again_and_again)


async def under_load(s: Scene, server: H2Server, disturb: Callable[[], object]) -> None:
    """Three hundred POSTs, some always in flight; each is processed once."""
    numbers = iter(range(300))

    async def work() -> None:
        for number in numbers:
            assert (await s.client.post(f"{s.url}/{number}", content=b"x")).content == b"ok"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(disturb)  # type: ignore[arg-type]
        await at_once(10, work)
        nursery.cancel_scope.cancel()
    processed = Counter(stream.path for stream in server.streams if stream.status == 200)
    assert processed == Counter(b"/%d" % number for number in range(300))
    assert server.connections > 2
    await settle()
    assert_at_rest(s.pool, s.network)


async def test_streams_finish_long_after_the_goodbye(autojump_clock: MockClock) -> None:
    """Also uploads, and windows and PINGs go on as before."""

    async def app(request: Incoming) -> Response:
        async def body() -> AsyncIterator[bytes]:
            async for piece in request.pieces():
                yield piece

        return Response(body=body())

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(20):
            await trio.sleep(1)
            yield bytes(50_000)

    server = H2Server(app)
    async with scene(server, http1=False, latency=0.01) as s:
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                assert len((await s.client.post(s.url, content=slowly())).content) == 1_000_000

            for _ in range(3):
                nursery.start_soon(upload)
            await trio.sleep(5.5)
            server.goaway()
            await trio.sleep(0.1)
            assert [entry.state for entry in s.only_endpoint.connections] == ["draining"]
            await s.client.get(s.url)
        assert server.streams_per_connection == [3, 1]
        assert server.resets == []
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_later_goodbye_may_take_back_streams(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        for _ in range(3):
            await peer.request()
        for last in (MAX_WINDOW, 5, 3, 1, 5):
            await peer.goaway(last)
            await peer.wait(1)
        await peer.respond(1, body=b"1st")
        await peer.wait_closed()

    async def others(peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            await peer.respond(request.stream, body=b"2nd")

    async with scene(H2Script(script, others), http1=False) as s:
        responses = await at_once(3, lambda: s.client.post(s.url))
        assert [response.content for response in responses] == [b"2nd", b"2nd", b"1st"]  # type: ignore[attr-defined]


async def test_a_body_that_cannot_be_produced_again_is_not_sent_again(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.goaway(0)
        await peer.wait_closed()

    async def once() -> AsyncIterator[bytes]:
        yield b"only once"

    async with scene(H2Script(script), http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="without processing") as caught:
            await s.client.post(s.url, content=once())
        assert (caught.value.reason, caught.value.request_sent) == (penstock.ProtocolReason.GOAWAY, "fully")
        assert s.network.connects == 1


async def test_a_server_that_refuses_everything_with_an_error_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.goaway(0, ENHANCE_YOUR_CALM, b"too_many_requests")
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="too_many_requests"):
            await s.client.get(s.url)
        assert server.connections == 1


@pytest.mark.parametrize("code", [NO_ERROR, HTTP_1_1_REQUIRED])
async def test_nor_is_one_that_refuses_everything_politely(code: int, autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        await peer.goaway(0, code)
        await peer.wait_closed()

    server = H2Script(script)
    async with scene(server, http1=False) as s:
        with pytest.raises(penstock.RemoteProtocolError, match="without processing"):
            await s.client.get(s.url)
        assert server.connections == 2


@pytest.mark.parametrize("way", ["goaway", "reset"])
async def test_a_server_that_wants_http_1_1_gets_it_from_then_on(way: str, autojump_clock: MockClock) -> None:
    async def script(peer: H2Peer) -> None:
        request = await peer.request()
        if way == "goaway":
            await peer.goaway(0, HTTP_1_1_REQUIRED)
        else:
            await peer.rst(request.stream, HTTP_1_1_REQUIRED)
        await peer.wait_closed()

    handler = serve_by_alpn({"h2": H2Script(script), "http/1.1": serve_echo()})
    async with scene(handler, tls=alpn_context("h2", "http/1.1")) as s:
        for _ in range(3):
            response = await s.client.post(s.url, content=b"body")
            assert (response.content, response.http_version) == (b"body", "HTTP/1.1")
        assert s.network.connects == 2
        assert [event.reason for event in s.seen.of(events.ConnectionClosed)] == [events.CloseReason.HTTP1_REQUIRED]
