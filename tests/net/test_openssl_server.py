"""What only another implementation's server does: renegotiation (TLS 1.2) and key updates (TLS 1.3)."""

from __future__ import annotations

import io
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from penstock._errors import ReadError
from penstock._net.stream import ByteStream, look, send_all
from penstock._net.tls import TLSProfile, TLSStream, start_tls
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.openssl_server import OpenSSLServer, needs_openssl, serve_openssl

Connect = Callable[[int], Awaitable[ByteStream]]
pytestmark = needs_openssl


class Dam:
    """Lets nothing out while it is shut."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.shut = False

    def try_send(self, data: bytes | memoryview) -> int:
        return 0 if self.shut else self._stream.try_send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def receive_line(stream: TLSStream) -> bytes:
    line = b""
    with trio.fail_after(10):
        while not line.endswith(b"\n"):
            data = stream.try_receive(100)
            if data is None:
                await stream.wait_readable()
            else:
                assert data
                line += data
    return line


async def wait_until_it_says(server: OpenSSLServer, word: bytes, times: int) -> None:
    said = b""
    assert isinstance(server.process.stdout, io.BufferedReader)
    with trio.fail_after(10):
        while said.count(word) < times:
            more = await trio.to_thread.run_sync(server.process.stdout.read1, 4096, abandon_on_cancel=True)
            assert more, said
            said += more


async def open_tls_1_2(connect: Connect, server: OpenSSLServer, *, renegotiation: bool) -> TLSStream:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    forge.root().configure_trust(trust)
    trust.options |= ssl.OP_NO_RENEGOTIATION
    profile = TLSProfile(TLSConfig(trust=trust, minimum_version="TLSv1.2"))
    if renegotiation:
        trust.options &= ~ssl.OP_NO_RENEGOTIATION
    return await start_tls(await connect(server.port), profile, host=forge.HOST, port=server.port)


async def test_renegotiation_is_refused(connect: Connect) -> None:
    with serve_openssl(forge.leaf(), "-tls1_2") as server:
        stream = await open_tls_1_2(connect, server, renegotiation=False)
        server.type(b"before")
        assert await receive_line(stream) == b"before\n"
        server.type(b"r")
        with pytest.raises(ReadError, match="ALERT_HANDSHAKE_FAILURE"):
            await receive_line(stream)
        stream.close()


async def test_a_refusal_that_got_stuck_leaves_with_the_next_write(connect: Connect) -> None:
    with serve_openssl(forge.leaf(), "-tls1_2") as server:
        dam: Any = Dam(await connect(server.port))
        profile = TLSProfile(TLSConfig(trust=forge.root_file(), minimum_version="TLSv1.2"))
        stream = await start_tls(dam, profile, host=forge.HOST, port=server.port)
        server.type(b"before")
        assert await receive_line(stream) == b"before\n"
        server.type(b"r")
        await stream.wait_readable()
        dam.shut = True
        assert look(stream) is None
        assert stream.try_send(b"ping") == 0
        dam.shut = False
        await send_all(stream, b"ping")
        with pytest.raises(ReadError, match="ALERT_HANDSHAKE_FAILURE"):
            await receive_line(stream)
        stream.close()


async def test_without_the_refusal_the_same_server_would_renegotiate(connect: Connect) -> None:
    with serve_openssl(forge.leaf(), "-tls1_2") as server:
        stream = await open_tls_1_2(connect, server, renegotiation=True)
        server.type(b"r")
        # The server takes what it reads at once as one line: the next must wait until this one has worked.
        await stream.wait_readable()
        server.type(b"after")
        assert await receive_line(stream) == b"after\n"
        stream.close()


async def test_a_key_update_is_answered_and_data_goes_on(connect: Connect) -> None:
    with serve_openssl(forge.leaf(), "-tls1_3", "-num_tickets", "0") as server:
        profile = TLSProfile(TLSConfig(trust=forge.root_file()))
        stream = await start_tls(await connect(server.port), profile, host=forge.HOST, port=server.port)
        for number in range(3):
            server.type(b"K")
            await stream.wait_readable()
            assert look(stream) is None
            await send_all(stream, b"ping\n")
            server.type(b"line %d" % number)
            assert await receive_line(stream) == b"line %d\n" % number
        await wait_until_it_says(server, b"ping", 3)
        stream.close()
