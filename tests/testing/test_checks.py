"""The conformance checks accept what is right, and name what is wrong."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from penstock._net.stream import SocketStream
from penstock._net.tls import TLSProfile, TLSStream, start_tls
from penstock._net.watcher import SelectorWatcher
from penstock.testing import (
    FakeStream,
    FakeWatcher,
    TLSServerStream,
    check_byte_stream,
    check_idle_watcher,
    fake_stream_pair,
)
from tests.support.certificates import client_config, server_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from penstock._net.stream import ByteStream


async def fake_pair() -> tuple[ByteStream, ByteStream]:
    return fake_stream_pair()


async def slow_fake_pair() -> tuple[ByteStream, ByteStream]:
    return fake_stream_pair(latency=0.001, bandwidth=1e9, capacity=100_000)


async def unix_pair() -> tuple[ByteStream, ByteStream]:
    one, other = socket.socketpair()
    return SocketStream(one), SocketStream(other)


async def tcp_pair() -> tuple[ByteStream, ByteStream]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return SocketStream(one), SocketStream(other)


async def tls_pair() -> tuple[TLSStream, TLSServerStream]:
    ours, theirs = fake_stream_pair()
    server = TLSServerStream(theirs, server_context())
    client: TLSStream | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handshake)
        client = await start_tls(ours, TLSProfile(client_config()), host="localhost", port=443)
    return client, server


async def test_tls_stream_conforms(autojump_clock: MockClock) -> None:
    await check_byte_stream(tls_pair)


async def test_fake_watcher_looks_below_tls(autojump_clock: MockClock) -> None:
    client, server = await tls_pair()
    # The server's session tickets have arrived already: they are fed to TLS, and say nothing to anybody.
    assert client.try_receive(10) is None
    watcher = FakeWatcher()
    watcher.watch(client, "idle")
    with trio.move_on_after(10) as scope:
        await watcher.wait()
    assert scope.cancelled_caught
    server.close()
    assert await watcher.wait() == ["idle"]
    assert client.try_receive(10) == b""
    assert client.ended_cleanly


async def test_fake_stream_conforms(autojump_clock: MockClock) -> None:
    await check_byte_stream(fake_pair)


async def test_fake_stream_with_latency_keeps_everything_but_immediacy(autojump_clock: MockClock) -> None:
    await check_idle_watcher(FakeWatcher, slow_fake_pair)


@pytest.mark.parametrize("maker", [unix_pair, tcp_pair])
async def test_socket_stream_conforms(maker: Callable[[], Awaitable[tuple[ByteStream, ByteStream]]]) -> None:
    await check_byte_stream(maker)


async def test_fake_watcher_conforms(autojump_clock: MockClock) -> None:
    await check_idle_watcher(FakeWatcher, fake_pair)


async def test_selector_watcher_conforms() -> None:
    await check_idle_watcher(SelectorWatcher, tcp_pair)


class Faulty(FakeStream):
    """A stream with one fault, chosen by subclass."""


class Greedy(Faulty):
    def try_receive(self, max_bytes: int) -> bytes | None:
        return super().try_receive(max_bytes + 1)


class Forgetful(Faulty):
    def try_send(self, data: bytes | memoryview) -> int:
        taken = super().try_send(data[:65535])
        return taken and min(taken + 1, len(data))


class Bottomless(Faulty):
    def try_send(self, data: bytes | memoryview) -> int:
        return super().try_send(data) or len(data)


class Hasty(Faulty):
    async def wait_readable(self) -> None:
        if self.try_receive_would_say_nothing():
            await super().wait_readable()

    def try_receive_would_say_nothing(self) -> bool:
        return self.is_closed or self.inbound.readable_at() > trio.current_time()


class Immortal(Faulty):
    def close(self) -> None:
        self.send_end()


class Calm(Faulty):
    def is_quiet(self) -> bool:
        return True


class Deaf(Faulty):
    async def wait_readable(self) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Greedy, "max_bytes"),
        (Forgetful, "did not end|the stream ended"),
        (Bottomless, "back-pressure"),
        (Hasty, "checkpoint|yield"),
        (Immortal, "closed stream"),
        (Calm, "is_quiet must be False"),
        (Deaf, "did not end"),
    ],
)
async def test_a_fault_is_found(fault: type[Faulty], message: str, autojump_clock: MockClock) -> None:
    async def maker() -> tuple[ByteStream, ByteStream]:
        one, other = fake_stream_pair()
        return fault(one.inbound, other.inbound), fault(other.inbound, one.inbound)

    with pytest.RaisesGroup(
        pytest.RaisesExc(AssertionError, match=message), flatten_subgroups=True, allow_unwrapped=True
    ):
        await check_byte_stream(maker)
