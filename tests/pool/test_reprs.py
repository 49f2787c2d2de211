"""What a debugger shows: states and counts, and no secret."""

from __future__ import annotations

import pytest

import penstock
from penstock.testing import serve_ok
from tests.support.scene import scene


async def test_pool_and_client_show_their_state() -> None:
    pool = penstock.Pool()
    assert repr(pool) == "<Pool, not open>"
    client = penstock.Client(base_url="https://api.test/v1", headers={"Authorization": "secret"})
    assert repr(client) == "<Client at https://api.test/v1, new, with a pool of its own>"
    async with client:
        assert ", open, " in repr(client)
    assert ", closed, " in repr(client)


async def test_a_pool_shows_its_counts() -> None:
    async with scene(serve_ok()) as s:
        await s.client.get(s.url)
        assert repr(s.pool) == "<Pool, running, 1 connections, 0 waiting>"
        assert repr(penstock.Client(s.pool)) == f"<Client, new, with {s.pool!r}>"


async def test_a_client_is_entered_once_whoever_owns_its_pool() -> None:
    async with scene(serve_ok()) as s:
        for client in (penstock.Client(), penstock.Client(s.pool)):
            async with client:
                with pytest.raises(RuntimeError, match="entered once"):
                    await client.__aenter__()
            with pytest.raises(RuntimeError, match="entered once"):
                await client.__aenter__()


async def test_a_lease_shows_how_far_it_is() -> None:
    async with scene(serve_ok()) as s, s.pool.acquire(s.url) as lease:
        assert repr(lease) == f"<Lease of connection 1 to {s.url}, held>"
        await lease.request("GET", "/?secret")
        while await lease.read():
            pass
        assert repr(lease) == f"<Lease of connection 1 to {s.url}, given back>"
