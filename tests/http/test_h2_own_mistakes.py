"""A mistake in the tasks of one connection costs that connection, and neither the pool nor those who wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

import penstock
from penstock._http.h2 import HTTP2Connection
from penstock._http.h2_session import HTTP2Session
from tests.support.h2_server import H2Server, answer
from tests.support.scene import assert_at_rest, scene, settle

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize(("owner", "method"), [(HTTP2Session, "_on_headers"), (HTTP2Connection, "_look_for_life")])
async def test_a_mistake_costs_one_connection(
    owner: type,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    def mistake(*_: object, **__: object) -> None:
        raise RuntimeError("oops")

    server = H2Server(answer(delay=40))
    async with scene(server, http1=False, read_timeout=100.0) as s:
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, mistake)
            with pytest.raises(penstock.ReadError, match="oops") as failed:
                await s.client.post(s.url, content=b"once")
        assert isinstance(failed.value.__cause__, penstock.ReadError)
        assert isinstance(failed.value.__cause__.__cause__, RuntimeError)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert (await s.client.get(s.url)).content == b"ok"
        await settle()
        assert server.connections == 2
        assert_at_rest(s.pool, s.network)
