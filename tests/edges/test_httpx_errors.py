"""What goes wrong is an error of the library that asked, with ours as its cause."""

from __future__ import annotations

import errno
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from penstock.httpx import PenstockTransport
from penstock.httpx._library import find_library
from penstock.testing import ScriptedPeer, chunk, head, serve_raw, stall
from tests.support.library_clients import client_of
from tests.support.scene import scene

if TYPE_CHECKING:
    from trio.testing import MockClock

    from penstock.testing import Handler

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
