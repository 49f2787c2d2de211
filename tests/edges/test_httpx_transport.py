"""The transport under httpx, httpx2 and httpxyz: what they ask arrives, what comes back is theirs, nothing is left."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import types
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.httpx import PenstockTransport
from penstock.httpx._library import find_library
from penstock.testing import (
    ScriptedPeer,
    chunk,
    head,
    serve_chunked,
    serve_echo,
    serve_ok,
    serve_raw,
    serve_then_close,
    stall,
)
from tests.support.h2_server import H2Server, Incoming, Response
from tests.support.scene import Scene, assert_at_rest, scene, settle
from tests.support.sweep import Sweep, cancel_sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from trio.testing import MockClock

    from penstock.testing import Handler

LIBRARIES = ["httpx", "httpx2", "httpxyz"]

#: Where their own generators are left unfinished they leave them to the garbage collector, and trio says so.
LEFT_BEHIND = pytest.mark.filterwarnings(r"ignore:Async generator '(httpx|httpx2|httpxyz)\..*:ResourceWarning")


@pytest.fixture(params=LIBRARIES)
def lib(request: pytest.FixtureRequest) -> Any:
    """Each of the libraries in turn."""
    return importlib.import_module(request.param)


@asynccontextmanager
async def client_of(
    lib: Any, handler: Handler | None = None, *, transport: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[Any, Scene]]:
    """A client of the library over a pool, at the end of which nothing is in use."""
    async with scene(handler, **settings) as s:
        async with lib.AsyncClient(transport=PenstockTransport(s.pool, **transport or {}), base_url=s.url) as client:
            yield client, s
        gc.collect()
        await settle()
        assert_at_rest(s.pool, s.network)


async def keep_head(peer: ScriptedPeer) -> None:
    """Answers with the bytes of the request's head."""
    while True:
        start = len(peer.received)
        await peer.expect_request()
        await peer.respond(200, (), bytes(peer.received[start:]).partition(b"\r\n\r\n")[0])


# ---- what is asked ---------------------------------------------------------------------------------------------------


async def test_a_request_arrives_as_it_was_asked(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, keep_head) as (client, _):
        response = await client.get("/a%2Fb;c?q=%7e&x=a+b", headers=[("X-One", "1"), ("x-one", "2")])

    lines = response.text.split("\r\n")
    assert lines[0] == "GET /a%2Fb;c?q=%7e&x=a+b HTTP/1.1"
    assert [line for line in lines if line.startswith("X-One")] == ["X-One: 1", "X-One: 2"]
    assert [line for line in lines if line.startswith("Host")] == ["Host: api.test"]


async def test_the_answer_is_one_of_the_library(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_ok(b"hello", headers=[(b"x-a", b"1"), (b"x-a", b"2")])) as (client, s):
        response = await client.get("/")

        assert isinstance(response, lib.Response)
        assert (response.status_code, response.text) == (200, "hello")
        assert (response.http_version, response.reason_phrase) == ("HTTP/1.1", "OK")
        assert response.headers.get_list("x-a") == ["1", "2"]
        assert response.extensions["penstock"] == {
            "connection_id": 1,
            "attempt": 1,
            "retries": (),
            "retry_refusal": None,
        }
        assert response.extensions["network_stream"].get_extra_info("ssl_object") is None
        assert response.extensions["network_stream"].get_extra_info("nonsense") is None
        await client.get("/")
        assert s.requests_per_connection == [2]


async def test_content_in_memory_is_announced_with_its_length(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_echo()) as (client, s):
        assert (await client.post("/", json={"a": 1})).json() == {"a": 1}
        assert (await client.post("/", files={"file": b"audio"}, data={"model": "m"})).status_code == 200

    plain, form = s.network.peers[0].requests
    assert plain.header(b"content-length") == b"%d" % len(plain.body)
    assert form.header(b"content-length") == b"%d" % len(form.body)
    assert b"audio" in form.body


async def test_a_stream_is_sent_in_chunks(lib: Any, autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"two"):
            await trio.sleep(1)
            yield piece

    async with client_of(lib, serve_echo()) as (client, s):
        assert (await client.post("/", content=pieces())).text == "one two"

    assert s.network.peers[0].requests[0].header(b"transfer-encoding") == b"chunked"


async def test_what_a_body_raises_leaves_as_itself(lib: Any, autojump_clock: MockClock) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise KeyError("mine")

    async with client_of(lib, serve_echo()) as (client, _):
        with pytest.raises(KeyError, match="mine"):
            await client.post("/", content=broken())


@pytest.mark.parametrize("http1", [True, False])
async def test_so_does_one_of_ours_that_a_body_raises(lib: Any, http1: bool, autojump_clock: MockClock) -> None:
    async def takes_all(request: Incoming) -> Response:
        await request.body()
        return Response(200, body=b"x")

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        raise error

    class NotEvenBegun(lib.AsyncByteStream):  # type: ignore[misc]
        def __aiter__(self) -> AsyncIterator[bytes]:
            raise error

    class BadAtTheEnd(lib.AsyncByteStream):  # type: ignore[misc]
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            raise error

    handler: Any = serve_echo() if http1 else H2Server(takes_all)
    async with client_of(lib, handler, http1=http1, transport={"retry": penstock.RetryPolicy()}) as (client, s):
        for error in (penstock.ReadError("of another"), penstock.ReadTimeout("of another"), penstock.InvalidURL("x")):
            for options in ({"content": body()}, {"stream": NotEvenBegun()}, {"stream": BadAtTheEnd()}):
                with pytest.raises(penstock.PenstockError) as caught:
                    await client.send(lib.Request("PUT", s.url, **options))
                assert caught.value is error
                assert caught.value.__cause__ is None
        assert s.pool.statistics().counts.retries_refused == 0


async def busy_once(peer: ScriptedPeer) -> None:
    """Answers 503 to the first request it hears, and says how long the others were."""
    while True:
        request = await peer.expect_request()
        if len(peer.requests) > 1:
            await peer.respond(200, (), b"%d" % len(request.body))
        else:
            await peer.respond(503, [(b"retry-after", b"1")], b"")


class NoSeek:
    """A file that can be read once."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)
        self.read = self._file.read

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("kind", ["bytes", "in memory", "on disk"])
async def test_a_form_with_files_is_sent_again(lib: Any, kind: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "audio"
    path.write_bytes(b"audio" * 50_000)
    file: Any = b"audio" if kind == "bytes" else io.BytesIO(path.read_bytes())
    with path.open("rb") as opened:
        await post_twice(lib, opened if kind == "on disk" else file)


async def post_twice(lib: Any, file: Any) -> None:
    async with client_of(lib, busy_once, transport={"retry": penstock.RetryPolicy()}) as (client, s):
        response = await client.post("/", files={"file": ("a.wav", file)}, data={"model": "m"})
        assert response.status_code == 200
        (record,) = response.extensions["penstock"]["retries"]
        assert (record.attempt, record.reason.value, record.status) == (1, "status", 503)
        first, second = s.network.peers[0].requests
        assert first.body == second.body
        assert len(first.body) > 200


async def test_content_that_can_be_read_once_is_not(lib: Any, autojump_clock: MockClock) -> None:
    async def generator() -> AsyncIterator[bytes]:
        yield b"a"

    async def busy(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.respond(503, (), b"")

    async with client_of(lib, busy, transport={"retry": penstock.RetryPolicy()}) as (client, _):
        for options in (
            {"content": generator()},
            {"files": {"file": NoSeek(b"a")}},
            {"files": {"file": types.SimpleNamespace(read=io.BytesIO(b"a").read)}},
        ):
            response = await client.post("/", **options)
            told = response.extensions["penstock"]
            assert (response.status_code, told["retries"]) == (503, ())
            assert told["retry_refusal"] is penstock.events.RetryRefusal.BODY_CONSUMED


async def test_a_form_of_a_library_that_hides_its_class_is_sent_once(
    lib: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.delattr(f"{lib.__name__}._multipart.MultipartStream")
    monkeypatch.setattr("penstock.httpx._library._libraries", {})
    async with client_of(lib, busy_once, transport={"retry": penstock.RetryPolicy()}) as (client, _):
        assert (await client.post("/", files={"file": b"audio"})).status_code == 503


async def test_content_in_memory_is_replayed_on_a_connection_that_went_stale(
    lib: Any, autojump_clock: MockClock
) -> None:
    async def goes_stale(peer: ScriptedPeer) -> None:
        await peer.expect_request()
        await peer.respond(200, (), b"ok")
        if len(peer.requests) == 1 and peer is s.network.peers[0]:
            await peer.expect_head()
            peer.rst()
        else:
            await peer.wait_closed()

    async with client_of(lib, goes_stale) as (client, s):
        await client.put("/", content=b"one")
        response = await client.put("/", content=b"two")

        assert response.text == "ok"
        assert response.extensions["penstock"]["attempt"] == 2


async def test_redirects_and_cookies_are_the_librarys(lib: Any, autojump_clock: MockClock) -> None:
    async def redirects(peer: ScriptedPeer) -> None:
        while True:
            request = await peer.expect_request()
            if request.target == b"/there":
                await peer.respond(200, (), request.header(b"cookie") or b"none")
            else:
                await peer.respond(302, [(b"location", b"/there"), (b"set-cookie", b"a=b")])

    async with client_of(lib, redirects) as (client, s):
        assert (await client.get("/here", follow_redirects=True)).text == "a=b"
        assert s.requests_per_connection == [2]


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_a_coded_body_is_decoded_by_the_library(lib: Any, coding: str, autojump_clock: MockClock) -> None:
    import gzip

    body = gzip.compress(b"plain") if coding == "gzip" else b"plain"
    async with client_of(lib, serve_ok(body, headers=[(b"content-encoding", coding.encode())])) as (client, _):
        assert (await client.get("/")).text == "plain"


@pytest.mark.parametrize(
    ("method", "status", "body"), [("HEAD", 200, b""), ("GET", 204, b""), ("GET", 304, b""), ("GET", 200, b"")]
)
async def test_answers_without_content(
    lib: Any, method: str, status: int, body: bytes, autojump_clock: MockClock
) -> None:
    async def handler(peer: ScriptedPeer) -> None:
        while True:
            await peer.expect_request()
            await peer.respond(status, (), body)

    async with client_of(lib, handler) as (client, s):
        for _ in range(2):
            assert (await client.request(method, "/")).content == b""
        assert s.requests_per_connection == [2]


# ---- streams ---------------------------------------------------------------------------------------------------------


async def test_a_stream_comes_piece_by_piece(lib: Any, autojump_clock: MockClock) -> None:
    times: list[tuple[bytes, float]] = []
    async with client_of(lib, serve_chunked([b"a", b"b", b"c"], every=1)) as (client, s):
        for _ in range(2):
            async with client.stream("GET", "/") as response:
                times += [(piece, trio.current_time()) async for piece in response.aiter_bytes()]
        assert s.requests_per_connection == [2]

    assert [piece for piece, _ in times] == [b"a", b"b", b"c"] * 2
    assert times[2][1] - times[0][1] == pytest.approx(2)


@LEFT_BEHIND
async def test_a_stream_that_is_left_gives_its_connection_up(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([bytes(1000)] * 1000, every=1)) as (client, s):
        async with client.stream("GET", "/") as response:
            pieces = response.aiter_raw()
            await anext(pieces)
            await pieces.aclose()
        await settle()
        assert s.pool.statistics().total == 0


async def test_closing_in_a_cancelled_scope_gives_the_connection_up_at_once(
    lib: Any, autojump_clock: MockClock
) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 1000, every=1)) as (client, s):
        response = await client.send(client.build_request("GET", "/"), stream=True)
        with trio.CancelScope() as scope:
            scope.cancel()
            await response.aclose()
        await settle()
        assert s.pool.statistics().active == 0


async def test_a_stream_that_was_closed_is_not_taken_for_one_that_ended(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 10, every=1)) as (client, s):
        request = client.build_request("GET", "/")
        response = await PenstockTransport(s.pool).handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, lib.AsyncByteStream)
        assert aiter(stream) is stream
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
        with pytest.raises(lib.LocalProtocolError, match="nothing to read"):
            await anext(stream)


async def test_a_stream_that_is_forgotten_warns_and_names_its_request(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 1000, every=1)) as (client, s):
        request = client.build_request("GET", "/log?key=secret")
        with pytest.warns(ResourceWarning, match=r"^GET http://api.test/log was dropped without being closed"):  # noqa: PT031
            await PenstockTransport(s.pool).handle_async_request(request)
            gc.collect()
        await settle()
        assert s.only_endpoint.closed_by_reason == {"leaked": 1}


async def test_fifty_streams_at_once(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, serve_chunked([b"x"] * 20, every=0.01), max_connections_per_host=50) as (client, s):

        async def one() -> None:
            async with client.stream("GET", "/") as response:
                assert await response.aread() == b"x" * 20

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(one)
        assert len(s.network.peers) <= 50


# ---- errors ----------------------------------------------------------------------------------------------------------

#: Each of our errors, and what the libraries call it.
ERRORS = {
    penstock.ConnectTimeout: "ConnectTimeout",
    penstock.ReadTimeout: "ReadTimeout",
    penstock.WriteTimeout: "WriteTimeout",
    penstock.PoolTimeout: "PoolTimeout",
    penstock.ConnectError: "ConnectError",
    penstock.NameResolutionError: "ConnectError",
    penstock.TLSError: "ConnectError",
    penstock.CertificateError: "ConnectError",
    penstock.PinMismatch: "ConnectError",
    penstock.AddressNotAllowed: "ConnectError",
    penstock.ReadError: "ReadError",
    penstock.WriteError: "WriteError",
    penstock.CloseError: "CloseError",
    penstock.LocalProtocolError: "LocalProtocolError",
    penstock.ProxyError: "ProxyError",
    penstock.UnsupportedProtocol: "UnsupportedProtocol",
    penstock.PoolClosed: "TransportError",
    penstock.PoolFull: "PoolTimeout",
    penstock.CircuitOpen: "TransportError",
    penstock.DecodingError: "DecodingError",
    penstock.TooManyRedirects: "TooManyRedirects",
    penstock.InvalidURL: "LocalProtocolError",
    penstock.StreamConsumed: "LocalProtocolError",
    penstock.StreamClosed: "LocalProtocolError",
}


@pytest.mark.parametrize("ours", ERRORS, ids=lambda ours: ours.__name__)
def test_each_error_has_one_of_the_library(lib: Any, ours: type[penstock.PenstockError]) -> None:
    request = lib.Request("GET", "http://api.test")

    error = find_library(type(request)).translate(ours("what went wrong"), request)

    assert type(error) is getattr(lib, ERRORS[ours])
    assert str(error) == "what went wrong"
    assert error.request is request  # type: ignore[attr-defined]


def every_error(kind: type[penstock.PenstockError] = penstock.PenstockError) -> set[type[penstock.PenstockError]]:
    return {kind}.union(*map(every_error, kind.__subclasses__()))


def test_no_error_is_one_that_a_transport_does_not_raise(lib: Any) -> None:
    library = find_library(lib.Request)

    assert all(issubclass(library._find_kind(ours), lib.RequestError) for ours in every_error())


async def cut_off(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    await peer.send(head(200, [(b"transfer-encoding", b"chunked")]) + chunk(b"one"))
    peer.fin()


async def reset(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    await peer.send(head(200, [(b"transfer-encoding", b"chunked")]) + chunk(b"one"))
    await peer.wait(1)
    peer.rst()


async def stalls_in_the_body(peer: ScriptedPeer) -> None:
    await peer.expect_request()
    await peer.send(head(200, [(b"transfer-encoding", b"chunked")]) + chunk(b"one"))
    await peer.stall()


@pytest.mark.parametrize(
    ("handler", "name", "ours"),
    [
        (stall, "ReadTimeout", penstock.ReadTimeout),
        (stalls_in_the_body, "ReadTimeout", penstock.ReadTimeout),
        (cut_off, "RemoteProtocolError", penstock.RemoteProtocolError),
        (reset, "ReadError", penstock.ReadError),
        (serve_raw(b"what?\r\n\r\n"), "RemoteProtocolError", penstock.RemoteProtocolError),
    ],
)
async def test_a_failed_exchange_is_an_error_of_the_library(
    lib: Any, handler: Handler, name: str, ours: type[Exception], autojump_clock: MockClock
) -> None:
    async with client_of(lib, handler) as (client, _):
        with pytest.raises(getattr(lib, name)) as caught:
            await client.get("/")

        assert type(caught.value) is getattr(lib, name)
        assert type(caught.value.__cause__) is ours
        assert caught.value.request.url == "http://api.test/"


async def test_a_refused_connection_and_a_host_without_an_address(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, s):
        s.network.route("198.18.0.1", errno=errno.ECONNREFUSED)
        with pytest.raises(lib.ConnectError, match="refused") as refused:
            await client.get("/")
        with pytest.raises(lib.ConnectError) as unknown:
            await client.get("http://nowhere.test")

    assert type(refused.value.__cause__) is penstock.ConnectError
    assert type(unknown.value.__cause__) is penstock.NameResolutionError


async def test_a_dial_that_takes_too_long(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, s):
        s.network.route("198.18.0.1", delay=inf)
        start = trio.current_time()
        with pytest.raises(lib.ConnectTimeout):
            await client.get("/", timeout=lib.Timeout(30, connect=2))

        assert trio.current_time() - start == pytest.approx(2)


async def test_a_pool_without_room(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, max_connections=1, max_connections_per_host=1, max_waiters=1) as (client, _):

        async def fail(error: type[Exception], limits: Any) -> None:
            with pytest.raises(error):
                await client.get("/", timeout=limits)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, lib.ReadTimeout, 5)
            await trio.sleep(0.1)
            nursery.start_soon(fail, lib.PoolTimeout, lib.Timeout(30, pool=1))
            await trio.sleep(0.1)
            with pytest.raises(lib.PoolTimeout) as full:
                await client.get("/")
            assert type(full.value.__cause__) is penstock.PoolFull


async def test_a_pool_that_is_closed(lib: Any, autojump_clock: MockClock) -> None:
    async with scene() as s, lib.AsyncClient(transport=PenstockTransport(s.pool), base_url=s.url) as client:
        await s.pool.aclose()
        with pytest.raises(lib.TransportError) as caught:
            await client.get("/")

    assert type(caught.value.__cause__) is penstock.PoolClosed


@pytest.mark.parametrize(
    ("url", "headers", "name"),
    [
        ("ftp://api.test/", {}, "UnsupportedProtocol"),
        ("/relative", {}, "UnsupportedProtocol"),
        ("http://1.2.3/", {}, "LocalProtocolError"),
        ("http://api.test/", {"x": "a\r\nb: c"}, "LocalProtocolError"),
        ("http://api.test/", {"upgrade": "websocket"}, "LocalProtocolError"),
    ],
)
async def test_what_must_not_be_sent_is_not(
    lib: Any, url: str, headers: dict[str, str], name: str, autojump_clock: MockClock
) -> None:
    async with client_of(lib) as (_, s):
        request = lib.Request("GET", url, headers=headers)
        with pytest.raises(getattr(lib, name)):
            await PenstockTransport(s.pool).handle_async_request(request)

        assert s.network.peers == []


# ---- extensions ------------------------------------------------------------------------------------------------------


async def test_the_timeouts_are_those_of_the_request(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall) as (client, _):
        for seconds in (2, 7):
            start = trio.current_time()
            with pytest.raises(lib.ReadTimeout):
                await client.get("/", timeout=lib.Timeout(60, read=seconds))
            assert trio.current_time() - start == pytest.approx(seconds)


async def test_the_pools_total_and_first_byte_timeouts_hold_besides(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, first_byte_timeout=3) as (client, _):
        start = trio.current_time()
        with pytest.raises(lib.ReadTimeout):
            await client.get("/", timeout=600)
        assert trio.current_time() - start == pytest.approx(3)
    async with client_of(lib, serve_chunked([b"x"] * 100, every=1), total_timeout=5) as (client, _):
        start = trio.current_time()
        with pytest.raises(lib.TimeoutException):
            await client.get("/", timeout=None)
        assert trio.current_time() - start == pytest.approx(5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("connect", "ConnectTimeout"), ("read", "ReadTimeout"), ("write", "WriteTimeout"), ("pool", "PoolTimeout")],
)
async def test_a_limit_of_zero_passes_at_once(lib: Any, name: str, expected: str, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, max_connections=1, latency=0.1, capacity=1024) as (client, s):
        client.timeout = lib.Timeout(5, **{name: 0})
        async with s.pool.acquire(s.url) if name == "pool" else nullcontext():
            started = trio.current_time()
            with pytest.raises(getattr(lib, expected)):
                await client.post("/", content=b"x" * (200_000 if name == "write" else 10))
            assert trio.current_time() - started < 0.5


async def test_no_wait_for_the_pool_is_enough_for_a_connection_that_is_there(
    lib: Any, autojump_clock: MockClock
) -> None:
    async with client_of(lib, serve_ok()) as (client, _):
        assert (await client.get("/")).status_code == 200
        client.timeout = lib.Timeout(5, pool=0)
        assert (await client.get("/")).status_code == 200


async def test_none_is_no_limit(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, read_timeout=1.0) as (client, _):
        client.timeout = lib.Timeout(None)
        with trio.move_on_after(1000) as scope:
            await client.get("/")
        assert scope.cancelled_caught


@pytest.mark.parametrize("limits", [5.0, [1], "5"])
async def test_a_timeout_that_is_no_mapping_is_refused(lib: Any, limits: object, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, _):
        with pytest.raises(TypeError, match='the extension "timeout" must be a mapping'):
            await client.get("/", extensions={"timeout": limits})


async def test_a_name_for_tls_must_not_be_empty(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, tls=True) as (client, _):
        with pytest.raises(lib.LocalProtocolError, match="server_name must not be empty"):
            await client.get("/", extensions={"sni_hostname": ""})


async def test_a_proxy_of_the_client_goes_around_the_transport(lib: Any) -> None:
    """Documented, because nothing can be done about it: the library asks this transport for nothing."""
    heard: list[bytes] = []

    async def proxy(stream: trio.SocketStream) -> None:
        heard.append(await stream.receive_some(4096))
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nproxy")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), proxy, 0)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with penstock.Pool() as pool:
            for options in ({"proxy": url}, {"mounts": {"all://": lib.AsyncHTTPTransport(proxy=url)}}):
                async with lib.AsyncClient(transport=PenstockTransport(pool), **options) as client:
                    response = await client.get("http://nowhere.invalid/x")
                assert response.text == "proxy"
                assert "penstock" not in response.extensions
            assert pool.statistics().counts.acquires == 0
        nursery.cancel_scope.cancel()
    assert len(heard) == 2


async def test_a_request_without_timeouts_has_the_pools(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, stall, read_timeout=4) as (_, s):
        start = trio.current_time()
        with pytest.raises(lib.ReadTimeout):
            await PenstockTransport(s.pool).handle_async_request(lib.Request("GET", s.url))
        assert trio.current_time() - start == pytest.approx(4)


async def test_limits_are_remembered_within_bounds(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, s):
        for seconds in range(1, 100):
            await client.get("/", timeout=seconds)
        assert len(client._transport._known_limits) <= 64
        with pytest.raises(ValueError, match="read must be more than 0"):
            await client.get("/", timeout=lib.Timeout(5, read=-1))
        assert s.requests_per_connection == [99]


async def test_a_target_goes_out_as_it_is(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib, keep_head) as (client, _):
        odd = await client.get("/x", extensions={"target": b"/a//../b?%zz"})
        every = await client.options("/", extensions={"target": b"*"})

    assert odd.text.startswith("GET /a//../b?%zz HTTP/1.1\r\n")
    assert every.text.startswith("OPTIONS * HTTP/1.1\r\n")


async def test_extensions_that_nobody_knows_are_ignored(lib: Any, autojump_clock: MockClock) -> None:
    async with client_of(lib) as (client, _):
        response = await client.get("/", extensions={"nobody": "knows", "sni_hostname": "without.tls.test"})

        assert response.status_code == 200


async def test_a_place_in_the_queue_is_the_transports_or_the_requests(lib: Any, autojump_clock: MockClock) -> None:
    place = {"priority": 5, "tenant": "acme", "affinity": "talk"}
    async with client_of(lib, serve_ok(delay=4), transport=place, max_connections=1) as (client, s):

        async def ask(**extensions: Any) -> None:
            await client.get("/", timeout=None, extensions=extensions)

        async with trio.open_nursery() as nursery:
            for extensions in ({}, {}, {"penstock": {"priority": -1, "tenant": "other"}}):
                nursery.start_soon(partial(ask, **extensions))
                await trio.sleep(1)
            assert [(one.priority, one.tenant) for one in s.pool.explain()] == [(-1, "other"), (5, "acme")]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ({"priority": 101}, ValueError),
        ({"priority": "1"}, TypeError),
        ({"tenant": 1}, TypeError),
        ({"affinity": 1}, TypeError),
        ({"prioriti": 1}, TypeError),
        (["priority"], TypeError),
    ],
)
async def test_a_wrong_place_is_refused(
    lib: Any, place: Any, error: type[Exception], autojump_clock: MockClock
) -> None:
    async with client_of(lib) as (client, s):
        with pytest.raises(error, match=r"priority|tenant|affinity"):
            await client.get("/", extensions={"penstock": place})
        if isinstance(place, dict):
            with pytest.raises(error):
                PenstockTransport(s.pool, **place)


async def test_a_trace_is_told_how_it_goes(lib: Any, autojump_clock: MockClock) -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append((name, info))

    async with client_of(lib, serve_chunked([b"x"] * 3, every=1)) as (client, s):
        await client.get("/", extensions={"trace": trace})
        assert [name for name, _ in told] == [
            "penstock.exchange.started",
            "penstock.exchange.complete",
            "http11.receive_response_headers.complete",
            "http11.receive_response_body.started",
            "http11.receive_response_body.complete",
            "http11.response_closed.started",
            "http11.response_closed.complete",
        ]
        version, status, reason, headers = dict(told)["http11.receive_response_headers.complete"]["return_value"]
        assert (version, status, reason, headers) == (b"HTTP/1.1", 200, b"OK", [(b"transfer-encoding", b"chunked")])
        s.network.route("192.0.2.2", errno=errno.ECONNREFUSED)
        told.clear()
        with pytest.raises(lib.ConnectError):
            await client.get("http://nowhere.test", extensions={"trace": trace})
        assert [name for name, _ in told] == ["penstock.exchange.started", "penstock.exchange.failed"]


@LEFT_BEHIND
@pytest.mark.parametrize(
    "at", ["penstock.exchange.complete", "http11.receive_response_body.started", "http11.response_closed.started"]
)
async def test_a_trace_that_raises_leaves_nothing_behind(lib: Any, at: str, autojump_clock: MockClock) -> None:
    async def trace(name: str, _: dict[str, Any]) -> None:
        if name == at:
            raise KeyError("mine")

    async with client_of(lib, serve_chunked([b"x"] * 100, every=1)) as (client, s):
        with pytest.raises(KeyError, match="mine"):
            async with client.stream("GET", "/", extensions={"trace": trace}) as response:
                pieces = response.stream.__aiter__()
                if hasattr(pieces, "aclose"):
                    async for _ in pieces:
                        break
        gc.collect()
        await settle()
        assert s.pool.statistics().active == 0


# ---- life ------------------------------------------------------------------------------------------------------------


async def test_closing_a_client_leaves_the_pool_to_others(lib: Any, autojump_clock: MockClock) -> None:
    async with scene() as s:
        transport = PenstockTransport(s.pool)
        for _ in range(2):
            async with lib.AsyncClient(transport=transport, base_url=s.url) as client:
                assert (await client.get("/")).text == "ok"
        assert s.requests_per_connection == [2]


async def test_closing_a_client_closes_the_pool_where_that_is_wanted(lib: Any, autojump_clock: MockClock) -> None:
    async with scene() as s:
        async with lib.AsyncClient(transport=PenstockTransport(s.pool, close_pool=True), base_url=s.url) as client:
            await client.get("/")
        assert s.pool.statistics().phase == "closed"


async def test_one_transport_serves_all_libraries_at_once(autojump_clock: MockClock) -> None:
    async with scene() as s:
        transport = PenstockTransport(s.pool)
        for name in LIBRARIES:
            async with importlib.import_module(name).AsyncClient(transport=transport) as client:
                assert (await client.get(s.url)).text == "ok"
        assert s.requests_per_connection == [3]
        assert "over <Pool" in repr(transport)


async def test_subclasses_of_a_librarys_requests_are_served_and_strangers_are_not(
    lib: Any, autojump_clock: MockClock
) -> None:
    class Mine(lib.Request):  # type: ignore[misc]
        pass

    async with scene() as s:
        transport = PenstockTransport(s.pool)
        response = await transport.handle_async_request(Mine("GET", s.url))
        assert await response.aread() == b"ok"
        with pytest.raises(TypeError, match="one of httpx, httpx2 or httpxyz"):
            await transport.handle_async_request(object())


@pytest.mark.parametrize(
    "arguments", [{"pool": None}, {"pool": "http://api.test"}, {"close_pool": 1}, {"retry": 3}, {"priority": 1.5}]
)
async def test_a_wrong_argument_is_refused(arguments: dict[str, Any], autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(TypeError, match=next(iter(arguments))):
            PenstockTransport(**{"pool": s.pool, **arguments})


async def test_a_retry_policy_is_used_where_it_is_given(lib: Any, autojump_clock: MockClock) -> None:
    async def refuses_once(peer: ScriptedPeer) -> None:
        for status in (503, 200, 503):
            await peer.expect_request()
            await peer.respond(status, (), b"")

    async with client_of(lib, refuses_once, transport={"retry": penstock.RetryPolicy()}) as (client, _):
        response = await client.get("/")
        assert response.status_code == 200
        assert response.extensions["penstock"]["attempt"] == 2
        plain = lib.AsyncClient(transport=PenstockTransport(client._transport._pool))
        assert (await plain.get("http://api.test/")).status_code == 503


async def test_over_http2(lib: Any, autojump_clock: MockClock) -> None:
    from tests.support.h2_peer import H2Peer, H2Script

    async def answers(peer: H2Peer) -> None:
        for _ in range(2):
            request = await peer.request()
            await peer.headers(request.stream, [(b":status", b"200")])
            await peer.data(request.stream, bytes(request.body) or b"none", end_stream=True)
        await peer.wait_closed()

    script = H2Script(answers)
    told: list[str] = []

    async def trace(name: str, _: dict[str, Any]) -> None:
        told.append(name)

    async with client_of(lib, script, http1=False) as (client, _):
        response = await client.get("/", extensions={"trace": trace})
        assert (response.http_version, response.text) == ("HTTP/2", "none")
        assert response.reason_phrase == "OK"
        assert (await client.post("/", json=1)).text == "1"

    assert "http2.receive_response_headers.complete" in told
    fields = dict(script.peers[0].requests[1].fields)
    assert fields[b":authority"] == b"api.test"
    assert b"connection" not in fields


# ---- cancellation ----------------------------------------------------------------------------------------------------


async def get(client: Any) -> None:
    assert (await client.get("/victim")).status_code == 200


async def read_by_and_by(client: Any) -> None:
    async with client.stream("GET", "/victim") as response:
        stream = response.stream
        try:
            async for _ in response.aiter_raw():
                await trio.sleep(0.001)
        finally:
            await stream.aclose()


async def upload(client: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.sleep(0.001)
            yield bytes(1000)

    await client.post("/victim", content=pieces())


async def traced(client: Any) -> None:
    async def trace(_name: str, _info: dict[str, Any]) -> None:
        await trio.sleep(0.001)

    await client.get("/victim", extensions={"trace": trace})


SWEPT: dict[str, tuple[Handler, Callable[[Any], Awaitable[None]]]] = {
    "whole answer": (serve_ok(delay=0.01), get),
    "connections that end": (serve_then_close(1), get),
    "stream": (serve_chunked([b"x"] * 3, every=0.01), read_by_and_by),
    "upload": (serve_ok(), upload),
    "trace": (serve_chunked([b"x"] * 2, every=0.01), traced),
}


@LEFT_BEHIND
@pytest.mark.parametrize("case", SWEPT)
def test_a_cancel_at_any_step_leaves_nothing_behind(case: str) -> None:
    import httpx2

    handler, work = SWEPT[case]

    async def scenario(sweep: Sweep) -> None:
        async with (
            scene(handler, max_connections=1, max_connections_per_host=1) as s,
            httpx2.AsyncClient(transport=PenstockTransport(s.pool), base_url=s.url) as client,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, "/rival")
                with sweep.victim_scope():
                    await work(client)
            gc.collect()
            await settle()
            assert_at_rest(s.pool, s.network)
            with trio.fail_after(10):
                assert (await client.get("/after")).status_code == 200

    cancel_sweep(scenario, seeds=range(1), at_most=120)
