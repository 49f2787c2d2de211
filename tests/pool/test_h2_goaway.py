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
from tests.support.h2_frames import MAX_WINDOW
from tests.support.h2_peer import H2Peer, H2Request, H2Script
from tests.support.scene import assert_at_rest, scene

if TYPE_CHECKING:
    from collections.abc import Callable

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
