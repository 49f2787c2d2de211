"""Names, addresses, delays and servers of the network in memory."""

from __future__ import annotations

import errno
import socket
import ssl
from math import inf

import pytest
import trio
from trio.testing import MockClock

from penstock._errors import CertificateError, ConnectError, NameResolutionError, ReadError
from penstock._net.dialer import Dialer
from penstock._net.network import Network, SocketOptions, is_resource_exhaustion
from penstock._net.resolver import Resolver
from penstock._net.stream import send_all
from penstock._net.tls import TLSProfile, start_tls
from penstock.testing import FakeNetwork, FakeStream, ScriptedPeer, serve_ok, stall
from tests.support.certificates import client_config, server_context

OPTIONS = SocketOptions()


def as_network(network: FakeNetwork) -> Network:
    """The type checker's word that the fake is a network."""
    return network


async def dial(network: FakeNetwork, host: str, port: int) -> FakeStream:
    address, *_ = await network.resolve(host, port)
    return await network.connect(address, options=OPTIONS)


async def receive_until(stream: FakeStream, ending: bytes) -> bytes:
    data = b""
    while not data.endswith(ending):
        while (piece := stream.try_receive(65536)) is None:
            await stream.wait_readable()
        assert piece, data
        data += piece
    return data


async def test_a_request_and_its_response_take_a_round_trip_each_way(autojump_clock: MockClock) -> None:
    async with FakeNetwork(latency=10.0) as network:
        network.listen("api.test", 80, serve_ok(b"hello", delay=1.0))
        start = trio.current_time()
        stream = await dial(as_network(network), "api.test", 80)  # type: ignore[arg-type]
        assert trio.current_time() - start == pytest.approx(20)
        await send_all(stream, b"GET / HTTP/1.1\r\nhost: api.test\r\n\r\n")
        assert await receive_until(stream, b"hello") == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
        assert trio.current_time() - start == pytest.approx(41)
        assert (network.resolves, network.connects, network.open_connections) == (1, 1, 1)
        stream.close()
        assert network.open_connections == 0


async def test_look_ups_follow_the_table(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.add_host("both.test", "2001:db8::1", "192.0.2.7", delay=3.0)
        network.add_host("gone.test", error=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        network.add_host("full.test", error=OSError(errno.EMFILE, "Too many open files"))
        start = trio.current_time()
        assert await network.resolve("both.test", 443) == [
            (socket.AF_INET6, ("2001:db8::1", 443, 0, 0)),
            (socket.AF_INET, ("192.0.2.7", 443)),
        ]
        assert trio.current_time() - start == pytest.approx(3.0)
        for unknown in ("gone.test", "never-heard-of.test"):
            with pytest.raises(NameResolutionError) as name_error:
                await network.resolve(unknown, 443)
            assert isinstance(name_error.value.__cause__, socket.gaierror)
        with pytest.raises(ConnectError) as connect_error:
            await network.resolve("full.test", 443)
        assert is_resource_exhaustion(connect_error.value)
        assert network.resolves == 4


async def test_connects_follow_the_table(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("192.0.2.1", 80, stall)
        network.route("192.0.2.1", errno=errno.ENETUNREACH, delay=2.0, times=1)
        start = trio.current_time()
        with pytest.raises(ConnectError) as error:
            await dial(network, "192.0.2.1", 80)
        assert isinstance(error.value.__cause__, OSError)
        assert error.value.__cause__.errno == errno.ENETUNREACH
        assert trio.current_time() - start == pytest.approx(2.0)
        await dial(network, "192.0.2.1", 80)
        with pytest.raises(ConnectError) as error:
            await dial(network, "192.0.2.1", 81)
        assert isinstance(error.value.__cause__, ConnectionRefusedError)
        assert [(attempt.address, attempt.port) for attempt in network.attempts] == [
            ("192.0.2.1", 80),
            ("192.0.2.1", 80),
            ("192.0.2.1", 81),
        ]


async def test_a_black_hole_never_answers(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("192.0.2.1", 80, stall)
        network.route("192.0.2.1", delay=inf)
        with trio.move_on_after(1e6) as scope:
            await dial(network, "192.0.2.1", 80)
        assert scope.cancelled_caught
        assert network.open_connections == 0
        assert network.peers == []


async def test_a_server_may_leave_its_port(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("api.test", 80, stall)
        await dial(network, "api.test", 80)
        network.stop_listening("api.test", 80)
        with pytest.raises(ConnectError):
            await dial(network, "api.test", 80)


async def test_unix_sockets_are_paths() -> None:
    async with FakeNetwork() as network:
        network.listen_unix("/run/api.sock", serve_ok(b"unix"))
        stream = await network.connect_unix("/run/api.sock")
        await send_all(stream, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await receive_until(stream, b"unix")).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ConnectError) as error:
            await network.connect_unix("/run/other.sock")
        assert isinstance(error.value.__cause__, FileNotFoundError)


async def test_the_dialer_races_on_virtual_time(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.add_host("dual.test", "2001:db8::1", "192.0.2.1")
        network.listen("dual.test", 443, stall)
        network.route("2001:db8::1", delay=inf)
        network.route("192.0.2.1", delay=0.1)
        resolver = Resolver(network, ttl=60.0)
        dialer = Dialer(network, resolver, options=OPTIONS, happy_eyeballs_delay=0.25)
        start = trio.current_time()
        dialled = await dialer.dial("dual.test", 443)
        assert trio.current_time() - start == pytest.approx(0.35)
        assert [round(attempt.at - start, 3) for attempt in network.attempts] == [0.0, 0.25]
        assert network.open_connections == 1
        dialled.stream.close()
        assert network.open_connections == 0


async def test_tls_is_shaken_before_the_handler_runs(autojump_clock: MockClock) -> None:
    async with FakeNetwork(latency=1.0) as network:
        network.listen("localhost", 443, serve_ok(b"secret"), tls=server_context())
        transport = await dial(network, "localhost", 443)
        start = trio.current_time()
        stream = await start_tls(transport, TLSProfile(client_config()), host="localhost", port=443)
        assert trio.current_time() - start == pytest.approx(2.0), "TLS 1.3 takes one round trip"
        assert stream.version == "TLSv1.3"
        await send_all(stream, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await receive_until(stream, b"secret")).startswith(b"HTTP/1.1 200 ")  # type: ignore[arg-type]
        (peer,) = network.peers
        assert peer.received.startswith(b"GET / ")
        assert peer.tls is not None
        assert peer.tls.version() == "TLSv1.3"


async def test_a_refused_certificate_is_noted_and_harms_nobody_else() -> None:
    async with FakeNetwork() as network:
        network.listen("other.test", 443, serve_ok(), tls=server_context("localhost"))
        transport = await dial(network, "other.test", 443)
        with pytest.raises(CertificateError):
            await start_tls(transport, TLSProfile(client_config()), host="other.test", port=443)
        transport.close()
        await trio.testing.wait_all_tasks_blocked()
        (peer,) = network.peers
        assert isinstance(peer.tls_error, ssl.SSLError)
        assert peer.received == b""


async def test_a_failing_handler_is_heard() -> None:
    async def broken(peer: ScriptedPeer) -> None:
        raise ZeroDivisionError("a mistake in the script")

    async def use() -> None:
        async with FakeNetwork() as network:
            network.listen("api.test", 80, broken)
            await dial(network, "api.test", 80)
            await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError):
        await use()


async def test_an_exception_of_the_body_leaves_as_itself() -> None:
    async def use() -> None:
        async with FakeNetwork() as network:
            network.listen("api.test", 80, stall)
            await dial(network, "api.test", 80)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()


async def test_leaving_ends_handlers_and_resets_nobody_silently() -> None:
    async with FakeNetwork() as network:
        network.listen("api.test", 80, stall)
        stream = await dial(network, "api.test", 80)
    assert stream.try_receive(1) == b""
    with pytest.raises(RuntimeError, match="async with"):
        await dial(network, "api.test", 80)


async def test_a_client_that_leaves_ends_its_handler() -> None:
    async with FakeNetwork() as network:
        network.listen("api.test", 80, serve_ok())
        stream = await dial(network, "api.test", 80)
        stream.abort()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ReadError):
            stream.try_receive(1)
