"""Proxies of a `FakeNetwork`: they relay to another `FakeNetwork`, which the pool itself never sees."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from penstock._errors import ConnectError, NetworkError
from penstock._net.network import SocketOptions
from penstock._net.stream import send_all
from penstock.testing import ClientGone, ScriptedPeer

if TYPE_CHECKING:
    from penstock.testing import FakeNetwork
    from penstock.testing._peer import PeerRequest
    from penstock.testing._stream import FakeStream

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class FakeProxy:
    """Passes on to `behind` what it is asked to.

    Attributes:
        requests: what HTTP asked of it.
        tunnels: where SOCKS and CONNECT led.
        methods: what SOCKS clients offered.
    """

    def __init__(
        self,
        behind: FakeNetwork,
        *,
        authorization: bytes | None = None,
        credentials: tuple[bytes, bytes] | None = None,
        opened: bytes = OPENED,
    ) -> None:
        self.behind = behind
        self.authorization = authorization
        self.credentials = credentials
        self.opened = opened
        self.requests: list[PeerRequest] = []
        self.tunnels: list[tuple[str, int]] = []
        self.methods: list[bytes] = []

    async def http(self, peer: ScriptedPeer) -> None:
        """Speak HTTP: tunnels for CONNECT, answers of its own for everything else."""
        while True:
            request = await peer.expect_request()
            self.requests.append(request)
            if self.authorization is not None and request.header(b"proxy-authorization") != self.authorization:
                await peer.respond(407, [(b"proxy-authenticate", b"Basic")], b"who are you?")
            elif request.method == b"CONNECT":
                host, _, port = request.target.decode().rpartition(":")
                await self._tunnel(peer, host.strip("[]"), int(port), self.opened)
                return
            else:
                await peer.respond(200, [(b"x-target", request.target)], request.body or b"forwarded")

    async def socks(self, peer: ScriptedPeer) -> None:
        """Speak SOCKS5."""
        count = (await exactly(peer, 2))[1]
        offered = await exactly(peer, count)
        self.methods.append(offered)
        if self.credentials is None:
            await peer.send(b"\x05\x00")
        else:
            await peer.send(b"\x05\x02" if 2 in offered else b"\x05\xff")
            name = await exactly(peer, (await exactly(peer, 2))[1])
            password = await exactly(peer, (await exactly(peer, 1))[0])
            right = (name, password) == self.credentials
            await peer.send(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        kind = (await exactly(peer, 4))[3]
        if kind == 3:
            host = (await exactly(peer, (await exactly(peer, 1))[0])).decode()
        else:
            host = str(ip_address(await exactly(peer, {1: 4, 4: 16}[kind])))
        port = int.from_bytes(await exactly(peer, 2), "big")
        # In three pieces, and with a name, which no real one sends.
        await self._tunnel(peer, host, port, b"\x05\x00\x00\x03\x04name\x00\x50", pieces=3)

    async def _tunnel(
        self, peer: ScriptedPeer, host: str, port: int, opened: bytes, *, pieces: int | None = None
    ) -> None:
        self.tunnels.append((host, port))
        try:
            found = await self.behind.resolve(host, port)
            stream = await self.behind.connect(found[0], options=SocketOptions())
        except ConnectError:
            if opened.startswith(b"HTTP"):
                await peer.respond(502, (), b"no such host")
            else:
                await peer.send(b"\x05\x04\x00\x01" + bytes(6))
            return
        try:
            await peer.send(opened, pieces=pieces)
            await relay(peer, stream)
        finally:
            stream.close()


async def relay(peer: ScriptedPeer, stream: FakeStream) -> None:
    """Pass bytes both ways until one side ends."""

    async def up() -> None:
        with suppress(ClientGone, NetworkError):
            while data := await peer.receive():
                await send_all(stream, data)
        nursery.cancel_scope.cancel()

    async def down() -> None:
        with suppress(ClientGone, NetworkError):
            while (data := stream.try_receive(65536)) != b"":
                if data is None:
                    await stream.wait_readable()
                else:
                    await peer.send(data)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(up)
        nursery.start_soon(down)


async def exactly(peer: ScriptedPeer, size: int) -> bytes:
    """So many bytes from the client."""
    got = b""
    while len(got) < size:
        data = await peer.receive(size - len(got))
        if not data:
            raise ClientGone("in the middle of SOCKS")
        got += data
    return got
