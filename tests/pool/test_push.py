"""A request whose content the caller sends over a lease, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.testing import ScriptedPeer, head, serve_echo
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import Scene, assert_at_rest, scene, settle

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

    from penstock.testing import Handler


async def app(request: Incoming) -> Response:
    """Does what its path says."""
    if request.path == b"/early":
        return Response(413, body=b"too much")
    if request.path == b"/shut":
        await trio.sleep_forever()
    if request.path == b"/2xx":
        return Response(200, body=answer_behind(request))
    return Response(body=await request.body(), trailers=request.trailers)


async def answer_behind(request: Incoming) -> Any:
    """A head at once, content when the request has ended."""
    yield b"<"
    yield await request.body()
    yield b">"


async def peer_app(peer: ScriptedPeer) -> None:
    """The same over HTTP/1.1."""
    while True:
        request = await peer.expect_head()
        if request.target == b"/early":
            await peer.respond(413, body=b"too much")
            peer.fin()
            await peer.wait_closed()
            return
        if request.target == b"/shut":
            await peer.stall()
        elif request.target == b"/2xx":
            await peer.send(head(200, [(b"transfer-encoding", b"chunked")]) + b"1\r\n<\r\n")
            body = await peer.expect_body()
            await peer.send(b"%x\r\n%b>\r\n0\r\n\r\n" % (len(body) + 1, body))
        else:
            await peer.respond(200, body=await peer.expect_body())


def open_scene(protocol: str, **settings: Any) -> AbstractAsyncContextManager[Scene]:
    if protocol == "HTTP/2":
        return scene(H2Server(app), http1=False, **settings)
    return scene(peer_app, **settings)


async def read_all(lease: penstock.Lease) -> bytes:
    content = b""
    while piece := await lease.read():
        content += piece
    return content


async def test_pieces_arrive_and_the_connection_is_used_again(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        for _ in range(3):
            async with s.pool.acquire(s.url) as lease:
                request = await lease.start("POST", "/v1/audio", headers={"Content-Type": "audio/wav"})
                assert "being sent" in repr(request)
                for piece in (b"one ", bytearray(b"two "), b"", memoryview(b"three")):
                    assert await request.send(piece)  # type: ignore[arg-type]
                    await trio.sleep(0.1)
                answer = await request.finish()
                assert (answer.status, lease.http_version) == (200, protocol)
                assert "finished" in repr(request)
                assert await read_all(lease) == b"one two three"
                assert lease.is_released
        assert s.pool.statistics().counts.dials_started == 1
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_an_announced_length_is_kept(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        for sent, word in ((b"12345", ""), (b"1234", "fewer"), (b"123456", "more")):
            async with s.pool.acquire(s.url) as lease:
                request = await lease.start("PUT", "/", headers={"Content-Length": "5"})
                if not word:
                    await request.send(sent)
                    await request.finish()
                    assert await read_all(lease) == sent
                    continue
                with pytest.raises(penstock.LocalProtocolError, match=f"{word} than the 5 bytes announced"):
                    while await request.send(sent):
                        await request.finish()
                    await request.finish()
                assert lease.is_released
        await settle()
        assert_at_rest(s.pool, s.network)
        assert s.only_endpoint.failures == 0


async def test_trailers_follow_and_what_their_function_raises_leaves_as_itself(
    protocol: str, autojump_clock: MockClock
) -> None:
    async with open_scene(protocol) as s:
        sent: list[bytes] = []
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/", trailers=lambda: {"X-Sum": str(len(sent))})
            for _ in range(3):
                assert await request.send(b"x")
                sent.append(b"x")
            await request.finish()
            assert await read_all(lease) == b"xxx"
            if protocol == "HTTP/2":
                assert lease.trailers == [(b"x-sum", b"3")]
        if protocol == "HTTP/1.1":
            assert s.network.peers[0].received.endswith(b"0\r\nX-Sum: 3\r\n\r\n")

        def breaks() -> dict[str, str]:
            raise KeyError("mine")

        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/", trailers=breaks)
            await request.send(b"x")
            with pytest.raises(KeyError, match="mine"):
                await request.finish()
            assert lease.is_released
        # The pool lives on.
        assert (await s.client.post(s.url, content=b"y")).content == b"y"
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_there_is_back_pressure(protocol: str, autojump_clock: MockClock) -> None:
    """A server that takes nothing stops the sender, and the write limit ends it."""
    timeouts = penstock.Timeouts(write=3)
    async with open_scene(protocol) as s:
        sent = 0
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/shut", timeouts=timeouts)
            start = trio.current_time()
            with pytest.raises(penstock.WriteTimeout):
                while await request.send(bytes(10_000)):
                    sent += 1
                await request.finish()
            assert trio.current_time() == pytest.approx(start + 3)
            assert sent <= 30
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_who_thinks_is_not_timed_out_except_by_the_total(protocol: str, autojump_clock: MockClock) -> None:
    timeouts = penstock.Timeouts(write=1, read=1, first_byte=1)
    async with open_scene(protocol) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/", timeouts=timeouts)
            for _ in range(3):
                await trio.sleep(100)
                assert await request.send(b"x")
            await trio.sleep(100)
            assert (await request.finish()).status == 200
            assert await read_all(lease) == b"xxx"
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/", timeouts=penstock.Timeouts(total=5))
            await trio.sleep(10)
            with pytest.raises(penstock.TimeoutException, match="total_timeout of 5 s") as caught:
                await request.send(b"x")
            assert caught.value.origin == lease.origin
            assert lease.is_released
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_the_limits_on_the_answer_hold(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/shut", timeouts=penstock.Timeouts(first_byte=2))
            await request.send(b"x")
            start = trio.current_time()
            with pytest.raises(penstock.ReadTimeout, match="first_byte_timeout of 2 s"):
                await request.finish()
            assert trio.current_time() == pytest.approx(start + 2)
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("pause", [0, 1])
async def test_an_early_refusal_stops_the_sender(protocol: str, pause: float, autojump_clock: MockClock) -> None:
    async with open_scene(protocol, latency=0.01) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/early")
            sent = 0
            while await request.send(bytes(10_000)):
                sent += 1
                await trio.sleep(pause)
            assert sent < 20
            assert not await request.send(b"still")
            assert (await request.finish()).status == 413
            assert await read_all(lease) == b"too much"
        assert (await s.client.post(s.url, content=b"y")).content == b"y"
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_an_early_success_does_not(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol, latency=0.01) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/2xx")
            for _ in range(5):
                assert await request.send(b"x")
                await trio.sleep(1)
            with pytest.raises(penstock.LocalProtocolError, match="finish the request before its answer is read"):
                await lease.read()
            assert (await request.finish()).status == 200
            assert await read_all(lease) == b"<xxxxx>"
        await settle()
        assert_at_rest(s.pool, s.network)
        assert s.pool.statistics().counts.dials_started == 1


@pytest.mark.parametrize("limits", [{"write": 3}, {"write": None, "total": 3}], ids=["write", "total"])
async def test_after_an_early_success_limits_still_hold(
    protocol: str, limits: dict[str, Any], autojump_clock: MockClock
) -> None:
    async def only_a_head(request: Incoming) -> Response:
        async def never() -> Any:
            yield b"<"
            await trio.sleep_forever()

        return Response(200, body=never())

    async def only_a_head_too(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.send(head(200, [(b"transfer-encoding", b"chunked")]))
        await peer.stall()

    handler: Handler = H2Server(only_a_head) if protocol == "HTTP/2" else only_a_head_too
    async with scene(handler, http1=protocol == "HTTP/1.1") as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/", timeouts=penstock.Timeouts(**limits))
            start = trio.current_time()
            with pytest.raises(penstock.TimeoutException):
                while await request.send(bytes(10_000)):
                    pass
                await request.finish()
            assert trio.current_time() == pytest.approx(start + 3)
            assert lease.is_released
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_server_that_leaves(reset: bool, autojump_clock: MockClock) -> None:
    async def leaves(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        if reset:
            peer.rst()
        else:
            peer.close()

    async with scene(leaves) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/")
            with pytest.raises((penstock.ReadError, penstock.WriteError)) as caught:
                for _ in range(10):
                    await request.send(b"x")
                    await trio.sleep(0.1)
                await request.finish()
            assert caught.value.origin == lease.origin
            assert caught.value.request_sent == "partly"
            assert lease.is_released
            with pytest.raises((penstock.StreamClosed, penstock.LocalProtocolError)):
                await request.send(b"x")
        await settle()
        assert_at_rest(s.pool, s.network)


# ---- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/2xx", "/early", "/shut"])
@pytest.mark.parametrize("pieces", [0, 2])
async def test_leaving_without_finish_gives_it_up(
    protocol: str, path: str, pieces: int, autojump_clock: MockClock
) -> None:
    async with open_scene(protocol, latency=0.01) as s:
        tasks = count_tasks(s)
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", path)
            for _ in range(pieces):
                await request.send(b"x")
                await trio.sleep(0.1)
        assert lease.is_released
        assert s.pool.statistics().active == 0
        with pytest.raises(penstock.StreamClosed, match="given up"):
            await request.send(b"x")
        with pytest.raises(penstock.StreamClosed, match="given up"):
            await request.finish()
        await settle()
        assert_at_rest(s.pool, s.network)
        assert count_tasks(s) == tasks + s.pool.statistics().total * (protocol == "HTTP/2")
        if protocol == "HTTP/1.1":
            assert s.seen.close_reasons == ["discarded"]
        else:
            assert s.seen.close_reasons == []


def count_tasks(s: Scene) -> int:
    tasks = s.pool._runner._tasks
    assert tasks is not None
    return len(tasks.child_tasks)


@pytest.mark.parametrize("path", ["/", "/2xx", "/shut"])
async def test_a_dropped_lease_is_noticed(protocol: str, path: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        lease = await s.pool.acquire(s.url).__aenter__()
        request = await lease.start("POST", path)
        await request.send(b"x")
        await trio.sleep(0.1)
        held = [lease, request]
        del lease, request
        with pytest.warns(ResourceWarning, match=f"POST http://api.test{path} was dropped"):
            held.clear()
        await settle()
        assert_at_rest(s.pool, s.network)
        assert s.pool.statistics().active == 0


async def test_the_pool_closes_meanwhile(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s, s.pool.acquire(s.url) as lease, s.pool.acquire(s.url) as late:
        request = await lease.start("POST", "/")
        await request.send(b"x")
        await s.pool.aclose()
        with pytest.raises(penstock.PoolClosed):
            while await request.send(b"x"):
                pass
            await request.finish()
        with pytest.raises(penstock.RequestError):
            await late.start("POST", "/")


async def test_a_cancelled_sender_closes_the_exchange(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        for waits_in in ("send", "finish"):
            async with s.pool.acquire(s.url) as lease:
                request = await lease.start("POST", "/shut")
                with trio.move_on_after(1) as scope:
                    while waits_in == "send":
                        await request.send(bytes(10_000))
                    await request.finish()
                assert scope.cancelled_caught
                assert lease.is_released
            await settle()
            assert_at_rest(s.pool, s.network)
        if protocol == "HTTP/1.1":
            assert s.seen.close_reasons == ["cancelled_mid_exchange"] * 2


# ---- misuse ----------------------------------------------------------------------------------------------------------


async def test_misuse_is_refused(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        async with s.pool.acquire(s.url) as lease:
            with pytest.raises(penstock.LocalProtocolError, match="upgrade"):
                await lease.start("POST", "/", headers={"Upgrade": "x"})
            request = await lease.start("POST", "/")
            with pytest.raises(penstock.LocalProtocolError, match="one exchange"):
                await lease.start("POST", "/")
            with pytest.raises(penstock.LocalProtocolError, match="one exchange"):
                await lease.request("POST", "/")
            with pytest.raises(penstock.LocalProtocolError, match="finish the request"):
                await lease.read()
            with pytest.raises(TypeError, match="data must be bytes, not str"):
                await request.send("x")  # type: ignore[arg-type]
            assert await request.send(b"x")
            await request.finish()
            for call in (request.finish, lambda: request.send(b"x")):
                with pytest.raises(penstock.LocalProtocolError, match="was finished"):
                    await call()
            assert await read_all(lease) == b"x"
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_one_task_sends(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        async with s.pool.acquire(s.url) as lease, trio.open_nursery() as nursery:
            request = await lease.start("POST", "/shut")

            async def fill() -> None:
                while await request.send(bytes(10_000)):
                    pass

            nursery.start_soon(fill)
            await trio.sleep(1)
            with pytest.raises(penstock.LocalProtocolError, match="another task is sending"):
                await request.send(b"x")
            nursery.cancel_scope.cancel()
        await settle()
        assert_at_rest(s.pool, s.network)


async def test_a_method_without_content_has_none(autojump_clock: MockClock) -> None:
    async with scene(serve_echo()) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/")
            assert (await request.finish()).status == 200
            assert await read_all(lease) == b""
        assert_at_rest(s.pool, s.network)


async def test_an_expectation_holds_the_first_piece_back(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/early", headers={"Expect": "100-continue"})
            assert not await request.send(b"never sent")
            assert (await request.finish()).status == 413
            assert await read_all(lease) == b"too much"
        if protocol == "HTTP/1.1":
            assert b"never sent" not in s.network.peers[0].received
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize("expects", [False, True])
async def test_a_head_that_cannot_be_written_but_is_answered(
    expects: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has answered and gone before it was asked; nobody takes the content, and the sender hears of it."""

    async def answers_unasked(peer: ScriptedPeer) -> None:
        await peer.wait(0.5)
        await peer.send(head(413, [(b"content-length", b"3")]) + b"big")
        await peer.wait_closed()

    async with scene(answers_unasked, write_timeout=None) as s, s.pool.acquire(s.url) as lease:
        stream = lease.connection.stream
        refusals = [penstock.WriteError("reset", phase="write")]
        send = type(stream).try_send

        def try_send(self: Any, data: Any) -> int:
            if self is stream and refusals:
                raise refusals.pop()
            return send(self, data)

        monkeypatch.setattr(type(stream), "try_send", try_send)
        request = await lease.start("POST", "/", headers={"Expect": "100-continue"} if expects else {})
        await trio.sleep(1)
        with trio.fail_after(5):
            assert not await request.send(b"abc")
            assert (await request.finish()).status == 413
            assert await read_all(lease) == b"big"


async def test_one_task_sends_behind_an_early_2xx_too(protocol: str, autojump_clock: MockClock) -> None:
    async with open_scene(protocol, write_timeout=5.0) as s:
        async with s.pool.acquire(s.url) as lease:
            request = await lease.start("POST", "/2xx", headers={"Content-Length": "4000001"})
            await request.send(b"a")
            await trio.sleep(1)

            sending = trio.Event()

            async def fill() -> None:
                sending.set()
                for _ in range(8):
                    assert await request.send(bytes(500_000))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(fill)
                await sending.wait()
                if protocol == "HTTP/2":
                    with pytest.raises(penstock.LocalProtocolError, match="another task is sending"):
                        await request.send(b"x")
                    with pytest.raises(penstock.LocalProtocolError, match="another task is sending"):
                        await request.finish()
            assert (await request.finish()).status == 200
            assert len(await read_all(lease)) == 4_000_003
        await settle()
        assert_at_rest(s.pool, s.network)
