"""Content that the caller's own code makes while it is sent: when it is run, stopped and finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, head
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

SIZE = 100_000_000


async def app(request: Incoming) -> Response:
    """Does what its path says."""
    if request.path == b"/early":
        await trio.sleep(0.1)
        return Response(413, body=b"too much")
    if request.path == b"/shut":
        await trio.sleep_forever()
    if request.path == b"/2xx":
        return Response(200, body=b"enough")
    return Response(body=b"%d" % len(await request.body()))


async def peer_app(peer: ScriptedPeer) -> None:
    """The same over HTTP/1.1."""
    while True:
        request = await peer.expect_head()
        if request.target == b"/early":
            await peer.wait(0.1)
            await peer.respond(413, body=b"too much")
            await peer.stall()
        if request.target == b"/shut":
            await peer.stall()
        if request.target == b"/2xx":
            await peer.send(head(200, [(b"content-length", b"6")]) + b"enough")
            await peer.expect_body()
        else:
            await peer.respond(200, body=b"%d" % len(await peer.expect_body()))


def open_scene(protocol: str, **settings: Any) -> AbstractAsyncContextManager[Scene]:
    if protocol == "HTTP/2":
        return scene(H2Server(app), http1=False, **settings)
    return scene(peer_app, **settings)


class Source:
    """Pieces in every form there is, and a record of what was done with them."""

    def __init__(self, count: int, *, pause: float = 0.0, size: int = 10_000) -> None:
        self.count = count
        self.pause = pause
        self.piece = bytes(size)
        self.produced = 0
        self.said: list[str] = []

    async def agenerate(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self.count):
                await trio.sleep(self.pause)
                self.produced += 1
                yield self.piece
        except BaseException as error:
            self.said.append(type(error).__name__)
            raise
        finally:
            self.said.append("finished")

    def generate(self) -> Iterator[bytes]:
        try:
            for _ in range(self.count):
                self.produced += 1
                yield self.piece
        finally:
            self.said.append("finished")

    def iterate(self) -> AsyncIterator[bytes]:
        return ByHand(self)


class ByHand:
    """An async iterator that is no generator, and that can be closed."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __aiter__(self) -> ByHand:
        return self

    async def __anext__(self) -> bytes:
        source = self._source
        if source.produced == source.count:
            raise StopAsyncIteration
        await trio.sleep(source.pause)
        source.produced += 1
        return source.piece

    async def aclose(self) -> None:
        self._source.said.append("finished")


FORMS = ["agenerate", "generate", "iterate"]


@pytest.mark.parametrize("form", FORMS)
async def test_content_that_was_sent_is_finished_once(protocol: str, form: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        source = Source(20)
        assert (await s.client.post(s.url, content=getattr(source, form)())).content == b"200000"
        assert source.said == ["finished"]
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("form", FORMS)
async def test_a_hundred_megabytes_end_with_an_early_refusal(
    protocol: str, form: str, autojump_clock: MockClock
) -> None:
    async with open_scene(protocol) as s:
        source = Source(SIZE // 10_000)
        response = await s.client.post(f"{s.url}/early", content=getattr(source, form)())
        assert (response.status_code, response.content) == (413, b"too much")
        # What the connection holds, and a piece in hand.
        assert source.produced <= 30
        assert "finished" in source.said
        assert s.pool.statistics().active == 0
        await settle()
        assert_at_rest(s.pool, s.network)
        assert s.only_endpoint.failures == 0


async def test_a_hundred_megabytes_in_memory_end_with_an_early_refusal(
    protocol: str, autojump_clock: MockClock
) -> None:
    async with open_scene(protocol) as s:
        response = await s.client.post(f"{s.url}/early", content=bytes(SIZE))
        assert (response.status_code, response.content) == (413, b"too much")
        assert s.network.peers[0].received.count(0) < 200_000
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("form", FORMS)
async def test_content_is_finished_when_the_caller_is_cancelled(
    protocol: str, form: str, autojump_clock: MockClock
) -> None:
    async with open_scene(protocol) as s:
        source = Source(1000)
        with trio.move_on_after(1) as scope:
            await s.client.post(f"{s.url}/shut", content=getattr(source, form)())
        assert scope.cancelled_caught
        assert source.said[-1] == "finished"
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("form", FORMS)
async def test_content_is_finished_when_a_limit_passes(protocol: str, form: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        source = Source(1000)
        with pytest.raises(penstock.WriteTimeout):
            await s.client.post(f"{s.url}/shut", content=getattr(source, form)(), timeout=penstock.Timeouts(write=2))
        assert source.said[-1] == "finished"
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_slow_content_meets_no_limit_but_the_total(protocol: str, autojump_clock: MockClock) -> None:
    limits = penstock.Timeouts(write=1, read=1, first_byte=1)
    async with open_scene(protocol) as s:
        source = Source(5, pause=100)
        assert (await s.client.post(s.url, content=source.agenerate(), timeout=limits)).content == b"50000"
        source = Source(5, pause=100)
        with pytest.raises(penstock.TimeoutException, match="total_timeout"):
            await s.client.post(s.url, content=source.agenerate(), timeout=penstock.Timeouts(total=250))
        assert (source.produced, source.said[-1]) == (2, "finished")
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("after", [0, 3])
async def test_what_a_generator_raises_leaves_as_itself(protocol: str, after: int, autojump_clock: MockClock) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        for _ in range(after):
            yield b"x"
            await trio.sleep(0.1)
        raise KeyError("mine")

    def breaks_at_once() -> Iterator[bytes]:
        yield from [b"x"] * after
        raise KeyError("mine")

    async with open_scene(protocol) as s:
        for content in (breaks(), breaks_at_once()):
            with pytest.raises(KeyError, match="mine"):
                await s.client.post(s.url, content=content)
        assert (await s.client.post(s.url, content=b"x")).content == b"1"
        await settle()
        assert_at_rest(s.pool, s.network)
        assert s.only_endpoint.failures == 0


async def test_what_a_generator_raises_beside_its_yields_hides_no_answer(
    protocol: str, autojump_clock: MockClock
) -> None:
    """It was stopped for the answer, and complains about that."""

    async def complains() -> AsyncIterator[bytes]:
        try:
            while True:
                await trio.sleep(0.01)
                yield b"x"
        finally:
            raise RuntimeError("not now")

    async def goes_on() -> AsyncIterator[bytes]:
        while True:
            try:
                await trio.sleep(0.01)
                yield b"x"
            except GeneratorExit:
                yield b"y"

    async with open_scene(protocol) as s:
        for content in (complains(), goes_on()):
            assert (await s.client.post(f"{s.url}/early", content=content)).status_code == 413
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_generator_may_wait_for_what_another_request_brings(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:

        async def relayed() -> AsyncIterator[bytes]:
            for _ in range(3):
                response = await s.client.post(s.url, content=b"12345")
                yield response.content

        assert (await s.client.post(s.url, content=relayed())).content == b"3"
        assert_at_rest(s.pool, s.network)


async def test_content_that_was_read_is_not_sent_again(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        for make in (Source(2).agenerate, Source(2).generate):
            content: Any = make()
            await s.client.post(s.url, content=content)
            # It would pass for an empty body.
            with pytest.raises(penstock.StreamConsumed, match="a generator that has ended"):
                await s.client.post(s.url, content=content)
            with pytest.raises(penstock.StreamConsumed, match="a generator that has ended"):
                await s.client.post(s.url, files={"file": ("f", content)})


async def test_a_form_with_files_goes_over_both_protocols(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        source = Source(50)
        files: Any = {"file": ("speech.wav", source.agenerate()), "more": b"x" * 300_000}
        response = await s.client.post(s.url, data={"model": "whisper-1"}, files=files)
        assert int(response.content) > 800_000
        assert source.said == ["finished"]
        source = Source(SIZE // 10_000)
        response = await s.client.post(f"{s.url}/early", files={"file": ("speech.wav", source.agenerate())})
        assert response.status_code == 413
        assert source.produced <= 30
        assert source.said[-1] == "finished"
        await settle()
        assert_at_rest(s.pool, s.network)


async def bring_a_cancellation() -> trio.Cancelled:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep(1)
        except trio.Cancelled as cancelled:
            brought_along = cancelled
            raise
    return brought_along


async def test_a_cancellation_that_content_brings_along_ends_its_request(
    protocol: str, autojump_clock: MockClock
) -> None:
    """As generators do that leave a cancel scope in another task than the one in which they entered it."""

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise await bring_a_cancellation()

    async with open_scene(protocol) as s:
        with trio.move_on_after(60) as limit, pytest.raises(trio.Cancelled):
            await s.client.post(s.url, content=body())
        assert not limit.cancel_called
        assert (await s.client.post(s.url, content=b"x")).content == b"1"
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_cancellation_that_trailers_bring_along_ends_their_request(
    protocol: str, autojump_clock: MockClock
) -> None:
    brought_along = await bring_a_cancellation()

    def trailers() -> dict[str, str]:
        raise brought_along

    async with open_scene(protocol) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/", trailers=trailers)
            assert await request.send(b"x")
            with trio.move_on_after(60) as limit, pytest.raises(trio.Cancelled):
                await request.finish()
            assert not limit.cancel_called
            assert lease.is_released
        assert (await s.client.post(s.url, content=b"x")).content == b"1"
        await settle()
        assert_at_rest(s.pool, s.network)


class Untidy:
    """Content whose clean-up fails."""

    def __aiter__(self) -> Untidy:
        return self

    async def __anext__(self) -> bytes:
        return b"x"

    async def aclose(self) -> None:
        raise ValueError("the clean-up failed")


@pytest.mark.parametrize("answered", [False, True])
async def test_a_failing_clean_up_hides_nothing_where_the_head_could_not_be_written(
    answered: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(peer: ScriptedPeer) -> None:
        await peer.wait(0.5)
        if answered:
            await peer.send(head(413, [(b"content-length", b"3")]) + b"big")
        await peer.stall()

    async with scene(leave) as s, s.pool.acquire(s.url) as lease:
        stream = lease.connection.stream
        send = type(stream).try_send

        def refuse(self: Any, data: Any) -> int:
            if self is stream:
                raise penstock.WriteError("reset", phase="write")
            return send(self, data)

        monkeypatch.setattr(type(stream), "try_send", refuse)
        timeouts = penstock.Timeouts(read=5)
        if answered:
            assert (await lease.request("POST", "/", content=Untidy(), timeouts=timeouts)).status == 413
        else:
            with pytest.raises(penstock.TransportError):
                await lease.request("POST", "/", content=Untidy(), timeouts=timeouts)
