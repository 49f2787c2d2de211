"""The hypercorn that other tests rely on serves what it promises, over every protocol."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from tests.support.h2_client import alpn_client, h2_client
from tests.support.hypercorn_app import SMALL
from tests.support.hypercorn_server import Hypercorn, hypercorn, run_hypercorn

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["hypercorn"]


@pytest.mark.parametrize("tls", [False, True], ids=["prior knowledge", "tls"])
async def test_it_serves_what_it_promises(hypercorn: Hypercorn, *, tls: bool) -> None:
    port = hypercorn.https_port if tls else hypercorn.http_port
    async with h2_client(port, tls=alpn_client("h2", "http/1.1") if tls else None) as client:
        assert (await client.get(b"/small")).body == SMALL
        assert (await client.get(b"/slow/0.05")).body == SMALL
        assert (await client.get(b"/bytes/1000000")).body == b"x" * 1_000_000
        assert (await client.get(b"/drip/3")).body == b"..."
        assert (await client.get(b"/events/2")).body == b"data: event 0\n\ndata: event 1\n\n"
        assert (await client.get(b"/about")).body == b"2 %s GET /about" % (b"https" if tls else b"http")
        assert (await client.post(b"/echo", b"u" * 300_000)).body == b"u" * 300_000
        for status in (204, 404, 503):
            assert (await client.get(b"/status/%d" % status)).status == status
        assert (await client.get(b"/missing")).status == 404
        assert client.h2.remote_settings.max_concurrent_streams == 100
    assert "Traceback" not in hypercorn.log()


def test_a_client_that_offers_only_http1_gets_it(hypercorn: Hypercorn) -> None:
    for client in (
        http.client.HTTPSConnection("localhost", hypercorn.https_port, timeout=10, context=alpn_client("http/1.1")),
        http.client.HTTPConnection("127.0.0.1", hypercorn.http_port, timeout=10),
    ):
        client.request("GET", "/about")
        assert client.getresponse().read().startswith(b"1.1 ")
        client.close()


async def test_its_limits_are_adjustable_and_it_ends_in_good_order(tmp_path: Path) -> None:
    with run_hypercorn(tmp_path, max_concurrent_streams=3, keep_alive_max_requests=2) as own:
        async with h2_client(own.http_port) as client:
            for _ in range(2):
                await client.get(b"/small")
            await client.begin(b"GET", b"/small")
            assert client.h2.remote_settings.max_concurrent_streams == 3
            await client.until(lambda: bool(client.goaways))
            assert client.goaways == [(5, 0)]
    assert own.process.returncode == 0
    assert "Traceback" not in own.log()
