"""Streams of one profile share two memory BIOs: none sees another's bytes, and none keeps a buffer."""

from __future__ import annotations

import random

import pytest
import trio

from penstock._errors import NetworkError
from penstock._net.stream import send_all
from penstock._net.tls import TLSProfile, TLSStream, start_tls
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.tls_peer import TLSPeer

DATA = random.Random(2).randbytes(100_000)


def make_profile() -> TLSProfile:
    return TLSProfile(TLSConfig(trust=forge.root_file()))


def assert_empty(profile: TLSProfile) -> None:
    assert profile.bios.incoming.pending == profile.bios.outgoing.pending == 0


async def receive_all(stream: TLSStream, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = stream.try_receive(65536)
        if piece is None:
            await stream.wait_readable()
        else:
            received += piece
    return received


@pytest.mark.parametrize("segment", [1, 50, 1000, 65536])
async def test_handshakes_at_once_do_not_mix(segment: int) -> None:
    profile, context = make_profile(), forge.server(forge.leaf())
    streams: dict[int, TLSStream] = {}
    peers = [TLSPeer(context, segment=segment, hesitant=True) for _ in range(5)]

    async def shake(number: int) -> None:
        streams[number] = await start_tls(peers[number], profile, host=forge.HOST, port=443)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(shake, number)
    assert_empty(profile)
    for number, peer in enumerate(peers):
        await send_all(streams[number], b"hello from %d" % number)
        assert peer.received == b"hello from %d" % number
        streams[number].close()


@pytest.mark.parametrize("max_bytes", [1000, 16384, 65536])
async def test_each_call_leaves_nothing_to_the_next_stream(max_bytes: int) -> None:
    profile, context = make_profile(), forge.server(forge.leaf())
    chance = random.Random(3)
    peers = [TLSPeer(context) for _ in range(3)]
    streams = [await start_tls(peer, profile, host=forge.HOST, port=443) for peer in peers]
    received = [b"", b"", b""]
    for peer in peers:
        peer.send(DATA)
        peer.segment = chance.randrange(1, 30_000)
    while any(len(got) < len(DATA) for got in received):
        number = chance.randrange(3)
        received[number] += streams[number].try_receive(max_bytes) or b""
        assert_empty(profile)
        assert streams[number].try_send(b"more") == 4
        assert_empty(profile)
    assert received == [DATA] * 3
    assert {bytes(peer.received).replace(b"more", b"") for peer in peers} == {b""}
    streams[0].close()
    assert_empty(profile)


@pytest.mark.parametrize("bytes_left", [b"\x17\x03\x03\x00\x20" + bytes(32), b"no record"])
async def test_what_an_interrupt_left_behind_reaches_no_other_stream(bytes_left: bytes) -> None:
    profile, context = make_profile(), forge.server(forge.leaf())
    peer = TLSPeer(context)

    def interrupt() -> None:
        profile.bios.incoming.write(bytes_left)
        profile.bios.outgoing.write(bytes_left)

    interrupt()
    stream = await start_tls(peer, profile, host=forge.HOST, port=443)
    for _ in range(2):
        interrupt()
        assert stream.try_send(b"request") == 7
        peer.send(b"answer")
        interrupt()
        assert stream.try_receive(100) == b"answer"
    assert peer.received == b"request" * 2
    interrupt()
    stream.close()
    assert peer.alert is None
    assert_empty(profile)


async def test_a_failed_handshake_leaves_nothing() -> None:
    profile = make_profile()
    peer = TLSPeer(forge.server(forge.leaf()))
    peer.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(NetworkError):
        await start_tls(peer, profile, host=forge.HOST, port=443)
    assert_empty(profile)


class Tunnel:
    """A proxy that speaks TLS itself, and passes what it hears to a server behind it."""

    def __init__(self, proxy: TLSPeer, server: TLSPeer) -> None:
        self.proxy, self.server = proxy, server
        self.ended_cleanly = False

    def try_receive(self, max_bytes: int) -> bytes | None:
        return self.proxy.try_receive(max_bytes)

    def try_send(self, data: bytes | memoryview) -> int:
        taken = self.proxy.try_send(data)
        heard = bytes(self.proxy.received)
        self.proxy.received.clear()
        if heard:
            self.server.try_send(heard)
        if answer := self.server.take_all():
            self.proxy.send(answer)
        return taken

    async def wait_readable(self) -> None:
        await self.proxy.wait_readable()

    async def wait_writable(self) -> None:
        await self.proxy.wait_writable()

    def close(self) -> None:
        self.proxy.close()

    def fileno(self) -> int:
        return -1


async def test_tls_inside_tls_of_the_same_profile() -> None:
    profile, context = make_profile(), forge.server(forge.leaf())
    tunnel = Tunnel(TLSPeer(context), TLSPeer(context))
    outer = await start_tls(tunnel, profile, host=forge.HOST, port=443)
    inner = await start_tls(outer, profile, host=forge.HOST, port=444)
    await send_all(inner, DATA)
    assert tunnel.server.received == DATA
    tunnel.server.tls.write(b"answer")
    tunnel.server._pass_on()
    tunnel.proxy.send(tunnel.server.take_all())
    assert await receive_all(inner, 6) == b"answer"
    inner.close()
    assert_empty(profile)


async def test_what_the_outer_tls_has_taken_off_the_wire_is_seen_from_the_inner_one() -> None:
    """A proxy that ends its TLS right behind an answer: nothing more comes in that a watcher could see."""
    context = forge.server(forge.leaf())
    tunnel = Tunnel(TLSPeer(context), TLSPeer(context))
    outer = await start_tls(tunnel, make_profile(), host=forge.HOST, port=443)
    inner = await start_tls(outer, make_profile(), host=forge.HOST, port=444)
    await send_all(inner, b"request")
    tunnel.server.tls.write(b"answer")
    tunnel.server._pass_on()
    answer = tunnel.server.take_all()
    tunnel.proxy.tls.write(answer)
    tunnel.proxy.send_close_notify()
    assert await receive_all(inner, 6) == b"answer"
    assert inner.is_ready
    assert not inner.is_quiet()
    assert inner.try_receive(1) == b""
    inner.close()
