"""`Pool.exchange`: one request for those who build clients; and servers that go by another name in TLS."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from penstock._core.pins import certificate_pin
from penstock._net.tls_profile import TLSProfile
from penstock.testing import ScriptedPeer, serve_chunked, serve_echo, serve_ok
from tests.support.certificates import client_config, server_context
from tests.support.scene import assert_at_rest, scene, settle
from tests.support.sweep import Sweep, cancel_sweep

if TYPE_CHECKING:
    from trio.testing import MockClock

OTHER_PIN = "sha256/" + "A" * 43 + "="


async def test_an_exchange_hands_out_a_lease_with_its_head(autojump_clock: MockClock) -> None:
    async with scene(serve_echo()) as s:
        lease = await s.pool.exchange(s.url, b"PUT", b"/a?b=c", headers=[(b"X-A", b"1")], content=b"hello")

        assert lease.head is not None
        assert lease.head.status == 200
        assert dict(lease.head.headers)[b"x-target"] == b"/a?b=c"
        assert (lease.attempt, lease.connection_id, lease.label) == (1, 1, "PUT http://api.test/a")
        assert await lease.read() == b"hello"
        assert await lease.read() == b""
        assert lease.is_released
        assert s.network.peers[0].requests[0].header(b"x-a") == b"1"
        assert_at_rest(s.pool, s.network)


async def test_a_lease_that_is_forgotten_names_its_request(autojump_clock: MockClock) -> None:
    async with scene(serve_chunked([b"x"] * 100, every=1)) as s:
        with pytest.warns(ResourceWarning, match="^GET http://api.test/log was dropped"):  # noqa: PT031
            await s.pool.exchange(s.url, "GET", "/log?key=secret")
            gc.collect()
        await settle()
        assert_at_rest(s.pool, s.network)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": 101}, ValueError),
        ({"tenant": 1}, TypeError),
        ({"affinity": 1}, TypeError),
        ({"timeouts": 5}, TypeError),
        ({"retry": 3}, TypeError),
        ({"headers": [("a", "b\n")]}, penstock.LocalProtocolError),
        ({"server_name": "other.test"}, ValueError),
    ],
)
async def test_a_wrong_argument_is_refused_before_anything_is_sent(
    options: dict[str, Any], error: type[Exception], autojump_clock: MockClock
) -> None:
    async with scene() as s:
        with pytest.raises(error):
            await s.pool.exchange(s.url, "GET", "/", **options)
        assert s.network.peers == []


@pytest.mark.parametrize("name", ["", "a b", "1.2.3", "a..b", "::x", "ex%41mple.test"])
async def test_a_wrong_server_name_is_refused(name: str, autojump_clock: MockClock) -> None:
    async with scene(tls=True) as s:
        with pytest.raises(penstock.InvalidURL):
            await s.pool.exchange(s.url, "GET", "/", server_name=name)
        with pytest.raises(TypeError, match="server_name must be a str"):
            await s.pool.exchange(s.url, "GET", "/", server_name=7)  # type: ignore[arg-type]


async def ask(s: Any, **options: Any) -> int:
    lease = await s.pool.exchange(s.url, "GET", "/", **options)
    while await lease.read():
        pass
    return int(lease.connection_id)


async def test_a_server_is_asked_for_by_the_name_it_goes_by(autojump_clock: MockClock) -> None:
    asked: list[str | None] = []
    context = server_context("localhost", "other.test")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    try:
        async with scene(serve_ok(), tls=context) as s:
            ids = [await ask(s, server_name=name) for name in (None, "OTHER.test", "other.test", None, "localhost")]
            # Connections are shared only under one name; the host's own is no other.
            assert ids == [1, 2, 2, 1, 1]
            shown = [(one.server_name, one.counts.delivered) for one in s.pool.statistics().endpoints]
            assert shown == [(None, 3), ("other.test", 2)]
            await settle(300)
            # What nobody uses is forgotten under the name that it has.
            assert s.pool.statistics().endpoints == ()
            assert await ask(s, server_name="other.test") == 3
    finally:
        context.sni_callback = None
    assert asked == ["localhost", "other.test", "other.test"]


async def test_the_certificate_must_carry_the_other_name(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(), tls=True) as s:
        with pytest.raises(penstock.CertificateError, match=r"not valid for other\.test"):
            await ask(s, server_name="other.test")
    async with scene(serve_ok(), tls=server_context("other.test")) as s:
        with pytest.raises(penstock.CertificateError, match="not valid for localhost"):
            await ask(s)
        await ask(s, server_name="other.test")


async def test_sessions_are_not_resumed_under_another_name(autojump_clock: MockClock) -> None:
    resumed: list[bool] = []

    async def handler(peer: ScriptedPeer) -> None:
        assert peer.tls is not None
        resumed.append(bool(peer.tls.session_reused))
        await peer.expect_request()
        await peer.respond(200, [(b"connection", b"close")], b"ok")

    async with scene(handler, tls=server_context("localhost", "other.test")) as s:
        for name in (None, None, "other.test", "other.test", None):
            await ask(s, server_name=name)
            await settle()

    assert resumed == [False, True, False, True, True]


@pytest.mark.parametrize("pinned", ["localhost", "other.test"])
async def test_pins_of_either_name_hold(pinned: str, autojump_clock: MockClock) -> None:
    context = server_context("localhost", "other.test")
    config = penstock.TLSConfig(trust=client_config().trust, pins={pinned: [OTHER_PIN]})
    async with scene(serve_ok(), tls=context) as s:
        runner = s.pool._runner
        runner._connector._profile = TLSProfile(config)
        with pytest.raises(penstock.PinMismatch) as caught:
            await ask(s, server_name="other.test")
        assert s.network.peers[0].requests == []
    assert caught.value.configured == (OTHER_PIN,)
    right = caught.value.presented[0]

    both = penstock.TLSConfig(
        trust=client_config().trust, pins={"localhost": [right], "other.test": [right, OTHER_PIN]}
    )
    async with scene(serve_ok(), tls=context) as s:
        s.pool._runner._connector._profile = TLSProfile(both)
        # Over a resumed session too: the verdict on both travels with it.
        for _ in range(2):
            await ask(s, server_name="other.test")
            s.pool.renew()
            await settle()


async def test_an_upstream_may_go_by_another_name(autojump_clock: MockClock) -> None:
    upstream = penstock.Upstream("https://localhost", server_name="Other.test")
    assert upstream.server_name == "other.test"
    async with scene(serve_ok(), tls=server_context("other.test"), upstreams=[upstream]) as s:
        assert (await s.client.get(s.url)).text == "ok"
        assert await ask(s, server_name="other.test") == 1
        with pytest.raises(penstock.CertificateError, match="localhost"):
            await ask(s, server_name="localhost")
    with pytest.raises(ValueError, match="server_name has no meaning without TLS"):
        penstock.Upstream("http://localhost", server_name="other.test")


async def test_what_is_known_of_the_connection(autojump_clock: MockClock) -> None:
    async with scene(serve_ok(), tls=True) as s:
        lease = await s.pool.exchange(s.url, "GET", "/")
        tls = lease.get_extra_info("ssl_object")
        assert tls.version() == "TLSv1.3"  # type: ignore[attr-defined]
        assert certificate_pin(tls.getpeercert(binary_form=True))  # type: ignore[attr-defined]
        assert lease.get_extra_info("server_addr") is None
        await lease.aclose()


def test_a_cancel_at_any_step_leaves_nothing_behind() -> None:
    async def scenario(sweep: Sweep) -> None:
        async with scene(serve_ok(delay=0.01), tls=True, max_connections=1, max_connections_per_host=1) as s:
            with sweep.victim_scope():
                await ask(s, server_name="127.0.0.1")
            await settle()
            assert_at_rest(s.pool, s.network)
            assert await ask(s)

    cancel_sweep(scenario, seeds=range(1))
