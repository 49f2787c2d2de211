"""Pins hold against the verified chain, before any request byte."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock._errors import PinMismatch
from penstock._net.pinning import verified_chain
from penstock._net.stream import ByteStream
from penstock._net.tls import TLSProfile, TLSStream, start_tls
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.tls_peer import TLSPeer
from tests.support.tls_server import serve_tls

ROOT_PIN = forge.pin_of(forge.root().cert_pem.bytes())
LEAF_PIN = forge.leaf_pin(forge.leaf())
OTHER_PIN = forge.leaf_pin(forge.leaf(key=1))
STRANGER_PIN = forge.pin_of(forge.stranger().cert_pem.bytes())


async def shake(context: ssl.SSLContext, pins: dict[str, list[str]], **settings: Any) -> tuple[TLSStream, TLSPeer]:
    peer = TLSPeer(context)
    config = TLSConfig(**{"trust": forge.root_file(), "pins": pins, **settings})
    return await start_tls(peer, TLSProfile(config), host=forge.HOST, port=443), peer


@pytest.mark.parametrize(
    "pins",
    [
        {forge.HOST: [LEAF_PIN]},
        {forge.HOST: [ROOT_PIN]},
        {forge.HOST: [STRANGER_PIN, LEAF_PIN]},
        {"*.example": [LEAF_PIN]},
        {"**.example": [STRANGER_PIN], forge.HOST: [ROOT_PIN]},
    ],
    ids=["leaf", "root", "with backup", "wildcard", "union"],
)
async def test_one_match_anywhere_in_the_chain_suffices(pins: dict[str, list[str]]) -> None:
    stream, _ = await shake(forge.server(forge.leaf()), pins)
    assert stream.verified_pins == (LEAF_PIN, ROOT_PIN)


async def test_a_host_without_pins_is_not_checked() -> None:
    stream, _ = await shake(forge.server(forge.leaf()), {"other.example": [STRANGER_PIN]})
    assert stream.verified_pins == ()


async def test_a_mismatch_shows_both_sides_and_sends_nothing() -> None:
    peer = TLSPeer(forge.server(forge.leaf()))
    config = TLSConfig(trust=forge.root_file(), pins={forge.HOST: [STRANGER_PIN, OTHER_PIN]})
    with pytest.raises(PinMismatch) as caught:
        await start_tls(peer, TLSProfile(config), host=forge.HOST, port=443)
    assert caught.value.presented == (LEAF_PIN, ROOT_PIN)
    assert caught.value.configured == tuple(sorted([STRANGER_PIN, OTHER_PIN]))
    for pin in (LEAF_PIN, ROOT_PIN, STRANGER_PIN, OTHER_PIN):
        assert pin in str(caught.value)
    assert peer.received == b""


async def test_keys_can_be_rotated_to_the_backup() -> None:
    pins = {forge.HOST: [LEAF_PIN, OTHER_PIN]}
    await shake(forge.server(forge.leaf()), pins)
    await shake(forge.server(forge.leaf(key=1)), pins)


async def test_a_pinned_certificate_appended_to_another_chain_proves_nothing() -> None:
    for appended in (forge.stranger().cert_pem.bytes(), forge.leaf(key=1).cert_chain_pems[0].bytes()):
        context = forge.server(forge.leaf(), appended=appended)
        with pytest.raises(PinMismatch) as caught:
            await shake(context, {forge.HOST: [forge.pin_of(appended)]})
        assert forge.pin_of(appended) not in caught.value.presented


async def test_a_mismatch_over_a_socket(connect: Callable[[int], Awaitable[ByteStream]]) -> None:
    with serve_tls(forge.server(forge.leaf())) as server:
        stream = await connect(server.port)
        config = TLSConfig(trust=forge.root_file(), pins={forge.HOST: [STRANGER_PIN]})
        with pytest.raises(PinMismatch):
            await start_tls(stream, TLSProfile(config), host=forge.HOST, port=server.port)
        stream.close()
    assert server.received == b""


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_the_verified_chain_is_complete(version: Any) -> None:
    older = ssl.TLSVersion.TLSv1_2
    context = forge.server(forge.leaf(), minimum=older, maximum=ssl.TLSVersion[version.replace(".", "_")])
    stream, _ = await shake(context, {forge.HOST: [LEAF_PIN]}, minimum_version="TLSv1.2")
    assert stream.version == version
    assert verified_chain(stream._tls) == [
        forge.der(forge.leaf().cert_chain_pems[0].bytes()),
        forge.der(forge.root().cert_pem.bytes()),
    ]


async def test_a_context_that_stopped_verifying_fails_closed() -> None:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    forge.root().configure_trust(trust)
    config = TLSConfig(trust=trust, pins={forge.HOST: [LEAF_PIN]})
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    with pytest.raises(PinMismatch, match="no verified chain"):
        await start_tls(TLSPeer(forge.server(forge.leaf())), TLSProfile(config), host=forge.HOST, port=443)


async def test_a_certificate_that_is_no_der_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock._net import pinning

    monkeypatch.setattr(pinning, "verified_chain", lambda tls: [b"junk"])
    with pytest.raises(PinMismatch, match="no element with tag"):
        await shake(forge.server(forge.leaf()), {forge.HOST: [LEAF_PIN]})
