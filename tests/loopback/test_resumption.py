"""A second connection resumes the session of the first, and its pins count as checked."""

from __future__ import annotations

import ssl

import penstock
from tests.support import forge
from tests.support.tls_server import serve_tls


def answer(tls: ssl.SSLSocket) -> None:
    while tls.recv(65536):
        tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def test_a_second_connection_resumes_the_session_with_its_pin_verdict() -> None:
    pin = forge.leaf_pin(forge.leaf("localhost"))
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=forge.root_file(), pins={"localhost": [pin]}))
    with serve_tls(forge.server(forge.leaf("localhost")), answer) as server:
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
            for _ in range(2):
                assert (await client.get(f"https://localhost:{server.port}/")).text == "ok"
                pool.renew()
        assert server.reused == [False, True]
