"""Which protocol a handshake agrees on, and what HTTP/2 asks of the TLS below it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock._errors import TLSError
from penstock._net.stream import ByteStream, send_all
from penstock._net.tls import HTTP1, HTTP2, TLSProfile, TLSStream, start_tls
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.openssl_server import needs_openssl, serve_openssl
from tests.support.tls_peer import TLSPeer
from tests.support.tls_server import echo, serve_tls

Connect = Callable[[int], Awaitable[ByteStream]]

BOTH = (HTTP2, HTTP1)
TLS12 = ssl.TLSVersion.TLSv1_2


def server(*protocols: str, **versions: Any) -> ssl.SSLContext:
    context = forge.server(forge.leaf(), **versions)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def own(*protocols: str) -> ssl.SSLContext:
    """A context as a caller would pass it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    forge.root().configure_trust(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def profile(**settings: Any) -> TLSProfile:
    return TLSProfile(TLSConfig(**{"trust": forge.root_file(), **settings}))


async def agree(context: ssl.SSLContext, protocols: tuple[str, ...], **settings: Any) -> str | None:
    peer = TLSPeer(context)
    return (await start_tls(peer, profile(**settings), host=forge.HOST, port=443, protocols=protocols)).alpn


@pytest.mark.parametrize(
    ("spoken", "offered", "chosen"),
    [
        (BOTH, BOTH, HTTP2),
        ((HTTP1, HTTP2), BOTH, HTTP1),
        ((HTTP1,), BOTH, HTTP1),
        ((), BOTH, None),
        (BOTH, (HTTP1,), HTTP1),
        ((), (HTTP1,), None),
        (BOTH, (HTTP2,), HTTP2),
    ],
)
async def test_the_server_chooses_among_what_is_offered(
    spoken: tuple[str, ...], offered: tuple[str, ...], chosen: str | None
) -> None:
    assert await agree(server(*spoken), offered) == chosen


async def test_the_offer_stands_in_order_of_preference() -> None:
    assert await agree(server(*BOTH), BOTH) == HTTP2
    # This server follows its own order; one that follows the client's gets it right as well.
    assert await agree(server(HTTP1, HTTP2), (HTTP2,)) == HTTP2


@pytest.mark.parametrize("spoken", [(), (HTTP1,)])
async def test_a_server_without_http2_is_refused_where_nothing_else_is_allowed(spoken: tuple[str, ...]) -> None:
    with pytest.raises(TLSError, match=r"did not agree on HTTP/2; .* needs PoolConfig\(http1=True\)$"):
        await agree(server(*spoken), (HTTP2,))


async def test_a_protocol_that_was_not_offered_is_refused(tmp_path: Path) -> None:
    class Liar(ssl.SSLObject):
        def selected_alpn_protocol(self) -> str:
            return "h3"

    # A keylog file of its own makes this context nobody else's.
    lied_to = profile(keylog_file=str(tmp_path / "keys"))
    lied_to.offer(BOTH).context.sslobject_class = Liar
    peer = TLSPeer(server())
    with pytest.raises(TLSError, match="the server chose the protocol 'h3', which was not offered"):
        await start_tls(peer, lied_to, host=forge.HOST, port=443, protocols=BOTH)
    assert peer.received == b""


# A caller's own context, whose offer cannot be read


@pytest.mark.parametrize(
    ("offered", "allowed", "chosen"),
    [
        (BOTH, BOTH, HTTP2),
        ((HTTP1,), BOTH, HTTP1),
        ((), BOTH, None),
        ((), (HTTP1,), None),
        ((HTTP2,), (HTTP2,), HTTP2),
    ],
)
async def test_what_a_callers_context_agreed_on_is_taken(
    offered: tuple[str, ...], allowed: tuple[str, ...], chosen: str | None
) -> None:
    assert await agree(server(*BOTH), allowed, trust=own(*offered)) == chosen


@pytest.mark.parametrize(("offered", "allowed"), [((HTTP2,), (HTTP1,)), ((HTTP1,), (HTTP2,))])
async def test_what_a_callers_context_offers_beyond_the_settings_is_refused(
    offered: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    words = f"chose the protocol '{offered[0]}', which the SSLContext .* only {allowed[0]} is allowed"
    with pytest.raises(TLSError, match=words):
        await agree(server(*BOTH), allowed, trust=own(*offered))


async def test_a_callers_context_without_an_offer_is_told_how_to_make_one() -> None:
    with pytest.raises(TLSError, match=r"has to offer 'h2' \(set_alpn_protocols\)"):
        await agree(server(*BOTH), (HTTP2,), trust=own())


async def test_a_callers_context_keeps_its_offer() -> None:
    context = own(HTTP1)
    assert TLSProfile(TLSConfig(trust=context)).offer(BOTH).context is context
    assert await agree(server(*BOTH), BOTH, trust=context) == HTTP1


# Contexts and sessions


def test_each_offer_has_a_context_of_its_own_that_equal_settings_share() -> None:
    first, second = profile(), profile()
    assert first.offer(BOTH) is first.offer(BOTH)
    assert first.offer(BOTH).context is second.offer(BOTH).context
    assert first.offer(BOTH).context is not first.offer((HTTP1,)).context
    assert first.offer(BOTH).sessions is not second.offer(BOTH).sessions


@pytest.mark.parametrize("trust", [None, own(*BOTH)], ids=["ours", "the caller's"])
async def test_sessions_are_not_shared_between_offers(connect: Connect, trust: ssl.SSLContext | None) -> None:
    shared = profile() if trust is None else profile(trust=trust)
    allowed = [BOTH, (HTTP2,), BOTH, (HTTP2,)]
    resumed = []
    with serve_tls(server(*BOTH), echo) as listening:
        for protocols in allowed:
            stream = await start_tls(
                await connect(listening.port), shared, host=forge.HOST, port=listening.port, protocols=protocols
            )
            resumed.append(stream.session_reused)
            assert stream.alpn == HTTP2
            await send_all(stream, b"ping")
            while stream.try_receive(100) is None:
                await stream.wait_readable()
            stream.close()
    assert resumed == [False, False, True, True]
    assert listening.failures == []


# HTTP/2 over TLS 1.2


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"])
async def test_http2_over_tls_1_2_takes_ephemeral_keys_and_an_aead(suite: str) -> None:
    context = server(*BOTH, minimum=TLS12, maximum=TLS12)
    context.set_ciphers(suite)
    assert await agree(context, BOTH, minimum_version="TLSv1.2") == HTTP2


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA"])
async def test_http2_over_a_forbidden_suite_is_refused_and_http1_is_not(suite: str) -> None:
    context = server(*BOTH, minimum=TLS12, maximum=TLS12)
    context.set_ciphers(suite)
    # Some builds of OpenSSL leave these out of what a client offers by itself.
    settings = {"minimum_version": "TLSv1.2", "maximum_version": "TLSv1.2", "ciphers": suite}
    with pytest.raises(TLSError, match=rf"the server chose {suite}, which HTTP/2 forbids"):
        await agree(context, BOTH, **settings)
    assert await agree(context, (HTTP1,), **settings) == HTTP1


@pytest.mark.parametrize(
    ("suite", "fits"),
    [
        ("DHE-RSA-AES256-GCM-SHA384", True),
        ("ECDHE-ECDSA-AES128-CCM8", True),
        ("DHE-RSA-CHACHA20-POLY1305", True),
        ("ECDHE-ARIA128-GCM-SHA256", True),
        ("AES128-GCM-SHA256", False),
        ("ADH-AES128-GCM-SHA256", False),
        ("RSA-PSK-AES128-GCM-SHA256", False),
        ("ECDHE-RSA-AES128-SHA256", False),
        ("AES256-SHA", False),
    ],
)
def test_suites_by_name(suite: str, fits: bool) -> None:
    from penstock._net.tls import _FIT_FOR_HTTP2

    assert bool(_FIT_FOR_HTTP2.match(suite)) is fits


# OpenSSL's own server


async def shake_openssl(connect: Connect, protocols: tuple[str, ...], *options: str) -> TLSStream:
    with serve_openssl(forge.leaf(), *options) as listening:
        below = await connect(listening.port)
        try:
            return await start_tls(below, profile(), host=forge.HOST, port=listening.port, protocols=protocols)
        finally:
            below.close()


@needs_openssl
@pytest.mark.parametrize(
    ("spoken", "chosen"), [("h2,http/1.1", HTTP2), ("http/1.1,h2", HTTP1), ("http/1.1", HTTP1), ("", None)]
)
async def test_with_openssl_s_server(connect: Connect, spoken: str, chosen: str | None) -> None:
    options = ("-alpn", spoken) if spoken else ()
    assert (await shake_openssl(connect, BOTH, *options)).alpn == chosen


@needs_openssl
async def test_a_server_that_answers_a_foreign_offer_with_an_alert_is_explained(connect: Connect) -> None:
    with pytest.raises(TLSError, match=r"HTTP/2 needs PoolConfig\(http1=True\)$"):
        await shake_openssl(connect, (HTTP2,), "-alpn", "http/1.1")
