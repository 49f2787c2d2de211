"""A hundred megabytes against a server that says 413 at once: the caller has its answer, and the upload ends early.

Early means: what is under way in the kernel's buffers, and no more. Whatever the server does with its connection, the
answer came first, and counts.
"""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

import penstock
from tests.support.certificates import client_config, server_context
from tests.support.nginx import http2_nginx as http2_nginx
from tests.support.server import ScriptServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from penstock.testing import Handler, ScriptedPeer
    from tests.support.nginx import Nginx

SIZE = 100_000_000
PIECE = bytes(65536)

#: What a loopback connection may swallow: the sender's and the receiver's buffers, as large as Linux lets them grow.
SWALLOWED = 16_000_000

#: What the upload may keep: a few pieces, and what runs beside it.
KEPT = 4_000_000

CONTENTS = ["pieces", "file", "bytes", "files", "push"]
WAYS = ["plain", "tls", "h2", "h2 over tls"]
EXPECT = {"Expect": "100-continue"}


class Source:
    """The content in one of its forms, and how much of it was taken."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.produced = 0
        self.finished = False
        path = directory / "speech.wav"
        with path.open("wb") as file:
            # No block of it is on the disk.
            file.truncate(SIZE)
        self.file = path.open("rb")
        self.bytes = bytes(SIZE) if kind == "bytes" else b""

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while self.produced < SIZE:
                self.produced += len(PIECE)
                yield PIECE
        finally:
            self.finished = True

    async def post(self, pool: penstock.Pool, url: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send it; returns the status and the content of the answer."""
        if self.kind == "push":
            return await self.push(pool, url, path, headers)
        options: dict[str, dict[str, Any]] = {
            "pieces": {"content": self.pieces()},
            "file": {"content": self.file},
            "bytes": {"content": self.bytes},
            "files": {"files": {"file": self.file}, "data": {"model": "whisper-1"}},
        }
        async with penstock.Client(pool) as client:
            answer = await client.post(url + path, headers=headers, **options[self.kind])
        if self.kind in ("file", "files"):
            self.produced = self.file.tell()
        return answer.status_code, answer.content

    async def push(self, pool: penstock.Pool, url: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        async with pool.acquire(url) as lease:
            request = await lease.start("POST", path, headers=headers)
            while self.produced < SIZE and await request.send(PIECE):
                self.produced += len(PIECE)
            answer = await request.finish()
            content = b""
            while piece := await lease.read():
                content += piece
            return answer.status, content


@contextmanager
def memory_that_stays_small() -> Iterator[None]:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        assert tracemalloc.get_traced_memory()[1] - before < KEPT
    finally:
        tracemalloc.stop()


def open_pool(**settings: Any) -> penstock.Pool:
    return penstock.Pool(penstock.PoolConfig(tls=client_config(), **settings))


def origin(nginx: Nginx, way: str) -> str:
    return {"plain": nginx.url, "h2": nginx.h2c_url}.get(way, nginx.tls_url)


async def check(  # noqa: PLR0917
    source: Source, pool: penstock.Pool, url: str, path: str, said: bytes, headers: dict[str, str] | None = None
) -> None:
    with memory_that_stays_small(), trio.fail_after(20):
        status, content = await source.post(pool, url, path, headers or {})
    assert status == 413
    assert said in content
    assert source.produced <= SWALLOWED
    assert source.finished == (source.kind == "pieces" and source.produced > 0)
    assert pool.statistics().active == 0
    assert pool.statistics().endpoints[0].failures == 0


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("way", WAYS)
async def test_nginx(http2_nginx: Nginx, tmp_path: Path, way: str, kind: str) -> None:
    url = origin(http2_nginx, way)
    source = Source(kind, tmp_path)
    with source.file:
        async with open_pool(http1=way != "h2", http2=way.startswith("h2")) as pool:
            await check(source, pool, url, "/early", b"413 Request Entity Too Large")
            async with penstock.Client(pool) as client:
                assert (await client.get(url + "/small")).status_code == 200
            # Over HTTP/2 the connection is as good as before; over HTTP/1.1 it cannot be.
            assert pool.statistics().counts.dials_ok == (1 if way.startswith("h2") else 2)


def refuses(leave: str) -> Handler:
    """Says 413 when it has the head, and leaves without having read the rest."""

    async def handler(peer: ScriptedPeer) -> None:
        await peer.expect_head()
        await peer.respond(413, [(b"connection", b"close")], b"too large")
        if leave == "close":
            # With so much unread, the kernel makes a reset of it.
            peer.close()
        elif leave == "reset":
            await peer.wait(0.05)
            peer.rst()
        elif leave == "half":
            peer.fin()
            await peer.stall()
        else:
            await peer.stall()

    return handler


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("leave", ["close", "reset", "half", "stay"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_server_that_leaves(tmp_path: Path, leave: str, kind: str, *, tls: bool) -> None:
    source = Source(kind, tmp_path)
    with source.file:
        async with ScriptServer(refuses(leave), tls=server_context() if tls else None) as server, open_pool() as pool:
            await check(source, pool, server.url, "/", b"too large")
            assert pool.statistics().total == 0


@pytest.mark.parametrize("kind", ["file", "bytes", "files"])
@pytest.mark.parametrize("way", WAYS)
async def test_who_asks_first_sends_nothing(http2_nginx: Nginx, tmp_path: Path, way: str, kind: str) -> None:
    """nginx says 413 in place of 100 (Continue), where it is told the length."""
    url = origin(http2_nginx, way)
    source = Source(kind, tmp_path)
    with source.file:
        async with open_pool(http1=way != "h2", http2=way.startswith("h2")) as pool:
            await check(source, pool, url, "/early", b"413 Request Entity Too Large", headers=EXPECT)
            assert source.produced == 0


@pytest.mark.parametrize("way", WAYS)
async def test_who_asks_first_and_may(http2_nginx: Nginx, way: str) -> None:
    url = origin(http2_nginx, way)
    async with open_pool(http1=way != "h2", http2=way.startswith("h2")) as pool, penstock.Client(pool) as client:
        for _ in range(2):
            assert (await client.post(url + "/upload", content=bytes(1000), headers=EXPECT)).status_code == 200
        assert pool.statistics().counts.dials_ok == 1
