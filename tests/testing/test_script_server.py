"""The scripted server plays its scripts on real sockets."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from penstock._errors import NetworkError, WriteError
from penstock._net.network import Address, SocketNetwork, SocketOptions
from penstock._net.stream import ByteStream, send_all
from penstock._net.tls import TLSProfile, start_tls
from penstock.testing import FakeNetwork, Handler, check_byte_stream, head, serve_early, serve_in_turn, serve_ok
from tests.support.certificates import client_config, server_context
from tests.support.server import (
    ScriptServer,
    SocketPeerStream,
    closes_mid_body,
    closes_mid_chunk,
    closes_mid_head,
    closes_while_uploading,
    closes_without_answer,
    drips,
    hints_keep_alive,
    sends_informational,
    times_out_idle,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def connect(server: ScriptServer) -> ByteStream:
    address = Address(socket.AF_INET, ("127.0.0.1", server.port))
    return await SocketNetwork().connect(address, options=SocketOptions())


async def hear(stream: ByteStream) -> tuple[bytes, type[BaseException] | None]:
    """Everything until the end, and the error if that was none in good order."""
    data = b""
    try:
        while True:
            while (piece := stream.try_receive(65536)) is None:
                await stream.wait_readable()
            if not piece:
                return data, None
            data += piece
    except NetworkError as error:
        return data, type(error.__cause__ or error)


async def hear_exactly(stream: ByteStream, expected: bytes) -> None:
    data = b""
    while len(data) < len(expected):
        while (piece := stream.try_receive(len(expected) - len(data))) is None:
            await stream.wait_readable()
        assert piece, data
        data += piece
    assert data == expected


async def test_connections_and_requests_are_counted() -> None:
    async with ScriptServer(serve_ok()) as server:
        first, second = await connect(server), await connect(server)
        for stream in (first, first, second, first):
            await send_all(stream, REQUEST)
            await hear_exactly(stream, OK)
        assert server.connections == 2
        assert server.requests_per_connection == [3, 1]
        assert server.url == f"http://127.0.0.1:{server.port}"
        first.close()
        second.close()


async def test_tls() -> None:
    async with ScriptServer(serve_ok(), tls=server_context()) as server:
        transport = await connect(server)
        stream = await start_tls(transport, TLSProfile(client_config()), host="localhost", port=server.port)
        await send_all(stream, REQUEST)
        await hear_exactly(stream, OK)
        assert server.url == f"https://localhost:{server.port}"
        stream.close()


MID_BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nxxxxxxxxxx"


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("script", "heard"),
    [
        (closes_mid_head, b"HTTP/1.1 200 OK\r\nContent-Le"),
        (closes_mid_body, MID_BODY),
        (closes_mid_chunk, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n01234"),
        (closes_without_answer, b""),
    ],
)
@pytest.mark.parametrize("where", ["socket", "fake"])
async def test_a_server_that_leaves_early_does_so_on_both_networks(
    script: Callable[..., Handler], heard: bytes, where: str, *, reset: bool
) -> None:
    expected = heard, ConnectionResetError if reset else None
    handler = script(reset=reset)
    if where == "socket":
        async with ScriptServer(handler) as server:
            stream = await connect(server)
            await send_all(stream, REQUEST)
            assert await hear(stream) == expected
            stream.close()
    else:
        async with FakeNetwork() as network:
            network.listen("localhost", 80, handler)
            (address,) = await network.resolve("localhost", 80)
            fake = await network.connect(address, options=SocketOptions())
            await send_all(fake, REQUEST)
            assert await hear(fake) == expected


@pytest.mark.parametrize("reset", [False, True])
async def test_a_server_that_leaves_during_an_upload(*, reset: bool) -> None:
    async with ScriptServer(closes_while_uploading(reset=reset), receive_buffer=4096) as server:
        stream = await connect(server)
        upload = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n" + bytes(50_000_000)
        with pytest.raises(WriteError) as error:
            await send_all(stream, upload)
        assert isinstance(error.value.__cause__, ConnectionResetError | BrokenPipeError)
        stream.close()


async def test_an_early_refusal_is_there_before_the_body() -> None:
    async with ScriptServer(serve_early(413)) as server:
        stream = await connect(server)
        await send_all(stream, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
        await hear_exactly(stream, head(413, [(b"content-length", b"0")]))
        await send_all(stream, b"12345")
        stream.close()


async def test_a_408_comes_while_idle() -> None:
    async with ScriptServer(times_out_idle(0.0)) as server:
        stream = await connect(server)
        await send_all(stream, REQUEST)
        heard, error = await hear(stream)
        assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n\r\nHTTP/1.1 408 Request Timeout\r\nconnection: close\r\n" in heard
        assert error is None
        stream.close()


async def test_hints_drips_and_informational_answers(autojump_clock: MockClock) -> None:
    async with FakeNetwork() as network:
        network.listen("x", 80, serve_in_turn(hints_keep_alive(b"timeout=5"), drips(1.0), sends_informational(3)))
        (address,) = await network.resolve("x", 80)
        streams = [await network.connect(address, options=SocketOptions()) for _ in range(3)]
        for stream in streams:
            await send_all(stream, REQUEST)
        await hear_exactly(streams[0], b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nok")
        start = trio.current_time()
        await hear_exactly(streams[1], OK)
        assert trio.current_time() - start == pytest.approx(len(OK) - 1)
        await hear_exactly(streams[2], b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n" * 3 + OK)


async def test_a_mistake_in_a_script_is_heard() -> None:
    async def broken(peer: object) -> None:
        raise ZeroDivisionError

    async def use() -> None:
        async with ScriptServer(broken) as server:
            stream = await connect(server)
            try:
                await trio.sleep_forever()
            finally:
                stream.close()

    with pytest.raises(ZeroDivisionError):
        await use()


async def test_nothing_is_left_when_it_ends() -> None:
    async with ScriptServer(serve_ok()) as server:
        stream = await connect(server)
        await send_all(stream, REQUEST)
        await hear_exactly(stream, OK)
    assert await hear(stream) in ((b"", None), (b"", ConnectionResetError))
    stream.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED


async def test_the_peers_own_stream_conforms_except_that_a_cancelled_write_may_go_on() -> None:
    class Strict(SocketPeerStream):
        """Adds the one rule that scripts do not need."""

        broken = False

        async def wait_writable(self) -> None:
            try:
                await super().wait_writable()
            except trio.Cancelled:
                self.broken = True
                raise

        def try_send(self, data: bytes | memoryview) -> int:
            if self.broken:
                raise WriteError("an earlier write was cut short")
            return super().try_send(data)

    async def pair() -> tuple[Strict, Strict]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            one = socket.create_connection(listener.getsockname())
            other, _ = listener.accept()
        return Strict(one), Strict(other)

    await check_byte_stream(pair)
