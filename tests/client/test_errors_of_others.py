"""A request's content that raises one of Penstock's own errors: it tells of another exchange, and leaves as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.testing import serve_echo, serve_ok
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from trio.testing import MockClock

    from penstock.testing import Handler, ScriptedPeer

KINDS: list[Callable[[], penstock.RequestError]] = [
    lambda: penstock.ReadError("the other broke"),
    lambda: penstock.WriteError("the other broke"),
    lambda: penstock.ReadTimeout("the other is late"),
    lambda: penstock.ConnectError("the other is down"),
    lambda: penstock.RemoteProtocolError("the other is mad", reason=penstock.ProtocolReason.FRAMING),
    lambda: penstock.LocalProtocolError("the other was asked for nonsense"),
]


async def takes_all(request: Incoming) -> Response:
    await request.body()
    return Response(200, body=b"x")


def server(http1: bool) -> Handler:
    handler: Any = serve_echo() if http1 else H2Server(takes_all)
    return handler


def facts(error: penstock.RequestError) -> tuple[object, ...]:
    return (
        error.origin,
        error.phase,
        error.attempt,
        error.request_sent,
        error.retries,
        error.retry_refusal,
        error.__cause__,
    )


async def pieces(error: Exception) -> AsyncIterator[bytes]:
    yield b"a"
    raise error


def plain_pieces(error: Exception) -> Iterator[bytes]:
    yield b"a"
    raise error


class NotEvenBegun:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise self.error


class BadFile:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int) -> bytes:
        raise self.error


class BadSeek(BadFile):
    """One that can be measured, and fails when it is to be read from its start."""

    seeks = 0

    def tell(self) -> int:
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.seeks += 1
        if self.seeks > 2:
            raise self.error
        return 10


def as_content(make: Callable[[Exception], Any]) -> Callable[[Exception], dict[str, Any]]:
    return lambda error: {"content": make(error)}


def raising(error: Exception) -> Callable[[], Any]:
    def fields() -> Any:
        raise error

    return fields


class SecondTime:
    """Trailers that are there for the first request, and raise for the next."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    def __call__(self) -> dict[str, str]:
        self.asked += 1
        if self.asked == 2:
            raise self.error
        return {"x-sum": "1"}


WAYS: dict[str, Callable[[Exception], dict[str, Any]]] = {
    "an async generator": as_content(pieces),
    "a generator": as_content(plain_pieces),
    "an iterable that does not begin": as_content(NotEvenBegun),
    "a file": as_content(BadFile),
    "a file that does not seek": as_content(BadSeek),
    "a part of a form": lambda error: {"files": {"f": ("name", pieces(error))}},
    "trailers": lambda error: {"content": [b"a"], "trailers": raising(error)},
    "trailers of a large body": lambda error: {"content": b"a" * 100_000, "trailers": raising(error)},
}


@pytest.mark.parametrize("retry", [None, penstock.RetryPolicy()])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("http1", [True, False])
async def test_it_leaves_as_itself_and_counts_against_nobody(
    http1: bool, way: str, retry: penstock.RetryPolicy | None, autojump_clock: MockClock
) -> None:
    async with scene(server(http1), http1=http1) as s:
        for make in KINDS:
            error = make()
            before = facts(error)
            with pytest.raises(penstock.RequestError) as caught:
                await s.client.put(s.url, retry=retry, **WAYS[way](error))
            assert caught.value is error
            assert facts(error) == before
        await settle()
        assert "io_error" not in s.seen.close_reasons
        assert "protocol_error" not in s.seen.close_reasons
        assert s.pool.statistics().counts.retries_refused == 0
        assert s.only_endpoint.failures == 0
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("http1", [True, False])
async def test_so_it_does_over_a_lease(http1: bool, autojump_clock: MockClock) -> None:
    async with scene(server(http1), http1=http1) as s:
        for make in KINDS:
            for way in (pieces, NotEvenBegun):
                error = make()
                before = facts(error)
                with pytest.raises(penstock.RequestError) as caught:
                    async with s.pool.acquire(s.url) as lease:
                        await lease.request("PUT", "/", content=way(error))
                assert caught.value is error
                with pytest.raises(penstock.RequestError) as caught:
                    await s.pool.exchange(s.url, "PUT", "/", content=way(error))
                assert caught.value is error
                assert facts(error) == before


@pytest.mark.parametrize("http1", [True, False])
async def test_so_it_does_from_the_trailers_of_content_that_is_pushed(http1: bool, autojump_clock: MockClock) -> None:
    async with scene(server(http1), http1=http1) as s:
        error = penstock.ReadError("the other broke")
        before = facts(error)
        with pytest.raises(penstock.ReadError) as caught:
            async with s.pool.acquire(s.url) as lease:
                request = await lease.start("PUT", "/", trailers=raising(error))
                await request.send(b"a")
                await request.finish()
        assert caught.value is error
        assert facts(error) == before


async def test_so_it_does_beside_an_answer_that_has_begun(autojump_clock: MockClock) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await trio.sleep(20)
        yield b"x"

    async def answers_early(_: Incoming) -> Response:
        return Response(body=slowly())

    error = penstock.ReadError("the other broke")
    before = facts(error)

    async def late() -> AsyncIterator[bytes]:
        yield b"a"
        await trio.sleep(5)
        raise error

    handler: Any = H2Server(answers_early)
    async with scene(handler, http1=False) as s:
        async with s.client.stream("PUT", s.url, content=late()) as response:
            with pytest.raises(penstock.ReadError) as caught:
                async for _ in response.aiter_raw():
                    pass
        assert caught.value is error
        assert facts(error) == before


async def test_so_it_does_after_a_redirect(autojump_clock: MockClock) -> None:
    async def moves(peer: ScriptedPeer) -> None:
        while True:
            request = await peer.expect_request()
            if request.target == b"/old":
                await peer.respond(307, [(b"location", b"/new")], b"")
            else:
                await peer.respond(200, (), b"")

    error = penstock.ReadError("the other broke")
    before = facts(error)
    fields = SecondTime(error)

    async with scene(moves) as s:
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.put(s.url + "/old", content=b"a", trailers=fields, follow_redirects=True)
        assert caught.value is error
        assert fields.asked == 2
        assert facts(error) == before


async def test_so_it_does_on_the_way_through_a_proxy(autojump_clock: MockClock) -> None:
    async with scene(proxy="http://proxy.test:3128") as s:
        s.network.listen("proxy.test", 3128, serve_echo())
        for options in WAYS.values():
            error = penstock.ReadError("the other broke")
            before = facts(error)
            with pytest.raises(penstock.ReadError) as caught:
                await s.client.put(s.url, retry=penstock.RetryPolicy(), **options(error))
            assert caught.value is error
            assert facts(error) == before
        assert s.network.peers


async def test_so_it_does_from_the_clean_up_of_a_body_that_is_stopped(autojump_clock: MockClock) -> None:
    """Unless an answer is there, which is what was asked for."""

    async def refuses(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.respond(413, [(b"connection", b"close")], b"")

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"a" * 1000
                await trio.sleep(1)
        finally:
            raise penstock.ReadError("the other broke")

    async with scene(refuses) as s:
        assert (await s.client.put(s.url, content=endless(), retry=penstock.RetryPolicy())).status_code == 413


async def test_it_is_no_reason_to_ask_for_an_event_stream_again(autojump_clock: MockClock) -> None:
    async def events(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.respond(200, [(b"content-type", b"text/event-stream")], b"id: 1\ndata: x\n\n")

    error = penstock.ReadError("the other broke")
    fields = SecondTime(error)

    async with scene(events) as s:
        options: Any = {"content": b"a", "trailers": fields, "reconnect": penstock.Reconnect(max_attempts=5)}
        async with s.client.sse("POST", s.url, **options) as stream:
            assert (await anext(stream)).data == "x"
            with pytest.raises(penstock.ReadError) as caught:
                await anext(stream)
        assert caught.value is error
        assert fields.asked == 2


@pytest.mark.parametrize("http1", [True, False])
async def test_what_is_wrong_with_the_content_itself_is_told_as_ever(http1: bool, autojump_clock: MockClock) -> None:
    async def wrong() -> Any:
        yield b"a"
        yield "b"

    async with scene(server(http1), http1=http1) as s:
        for options in (
            {"content": wrong()},
            {"content": [b"a"], "headers": {"content-length": "2"}},
            {"content": [b"a"], "trailers": lambda: {"host": "x"}},
        ):
            with pytest.raises(penstock.LocalProtocolError) as caught:
                await s.client.put(s.url, **options)
            assert str(caught.value.origin) == s.url
            assert caught.value.request_sent == "partly"


async def test_an_exchange_that_went_well_before_does_not_matter(autojump_clock: MockClock) -> None:
    async with scene(serve_ok()) as s:
        assert (await s.client.get(s.url)).status_code == 200
        error = penstock.ReadError("the other broke")
        with pytest.raises(penstock.ReadError) as caught:
            await s.client.put(s.url, content=pieces(error))
        assert caught.value is error
        assert error.origin is None
