"""What the tests of the SDKs share: a provider, a pool, and what must hold when they are done."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

import penstock
from tests.support.fake_provider import FakeProvider, running_provider
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider of its own for every test."""
    with running_provider() as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[penstock.Pool]:
    """An open pool; at the end of the test nothing of it is in use."""
    config = penstock.PoolConfig(max_connections=64, max_connections_per_host=64)
    async with penstock.Pool(config) as running:
        yield running
        await assert_nothing_is_in_use(running)


async def assert_nothing_is_in_use(pool: penstock.Pool) -> None:
    gc.collect()
    await wait_until(lambda: not pool.statistics().active)
    books = pool.statistics()
    assert (books.active, books.waiting, books.dialing) == (0, 0, 0)
