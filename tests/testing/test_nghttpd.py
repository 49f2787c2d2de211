"""The nghttpd that other tests rely on serves what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.h2_client import alpn_client, h2_client
from tests.support.nghttpd import Nghttpd, nghttpd, run_nghttpd
from tests.support.nginx import SMALL, large_body

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["nghttpd"]


async def test_it_serves_what_it_promises(nghttpd: Nghttpd) -> None:
    async with h2_client(nghttpd.port, tls=alpn_client("h2") if nghttpd.tls else None) as client:
        assert (await client.get(b"/small")).body == SMALL
        assert (await client.get(b"/large")).body == large_body()
        assert (await client.get(b"/empty")).body == b""
        assert (await client.get(b"/missing")).status == 404
        assert (await client.post(b"/", b"u" * 300_000)).body == b"u" * 300_000
        assert client.h2.remote_settings.max_concurrent_streams == 100


async def test_its_options_are_adjustable(tmp_path: Path) -> None:
    with run_nghttpd(tmp_path, max_concurrent_streams=2, trailer="x-sum: 1", verbose=True) as own:
        async with h2_client(own.port) as client:
            assert (await client.get(b"/small")).trailers == {b"x-sum": b"1"}
            assert client.h2.remote_settings.max_concurrent_streams == 2
        assert own.url == f"http://127.0.0.1:{own.port}"
        assert "recv HEADERS frame" in own.log()
    assert own.process.returncode is not None
