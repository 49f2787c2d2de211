"""Servers that must not get a request: the verdict, its facts, and not one byte sent."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

import penstock
from tests.support import forge
from tests.support.tls_server import serve_tls

if TYPE_CHECKING:
    from collections.abc import Callable

TLS12 = ssl.TLSVersion.TLSv1_2
SUITE12 = "ECDHE-ECDSA-AES128-GCM-SHA256"
OTHER_SUITE12 = "ECDHE-ECDSA-AES256-GCM-SHA384"
ABSENT = "sha256/" + "A" * 43 + "="


def good() -> ssl.SSLContext:
    return forge.server(forge.leaf("localhost"))


async def get(context: ssl.SSLContext, **tls: Any) -> tuple[penstock.RequestError, bytes, int]:
    """Ask a bad server; returns the error, what the server read, and how many dials there were."""
    config = penstock.PoolConfig(tls=penstock.TLSConfig(**{"trust": forge.root_file(), **tls}))
    with serve_tls(context) as server:
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
            with pytest.raises(penstock.RequestError) as caught:
                await client.get(f"https://localhost:{server.port}/secret")
            dials = pool.statistics().counts.dials_started
            assert pool.statistics().total == 0
        return caught.value, bytes(server.received), dials


@pytest.mark.parametrize(
    ("context", "code"),
    [
        (lambda: forge.server(forge.expired("localhost")), 10),
        (lambda: forge.server(forge.leaf("elsewhere.test")), 62),
        (forge.self_signed, 18),
        (lambda: forge.server(forge.stranger().issue_cert("localhost")), 20),
    ],
    ids=["expired", "wrong host", "self-signed", "unknown authority"],
)
async def test_a_certificate_that_does_not_verify(context: Callable[[], ssl.SSLContext], code: int) -> None:
    error, received, dials = await get(context())
    assert type(error) is penstock.CertificateError
    assert error.verify_code == code
    assert error.verify_message
    assert (error.request_sent, error.phase, received, dials) == ("no", "tls", b"", 1)
    assert str(error.origin).startswith("https://localhost:")


async def test_a_server_of_tls_1_2_only() -> None:
    error, received, _ = await get(forge.server(forge.leaf("localhost"), minimum=TLS12, maximum=TLS12))
    assert type(error) is penstock.TLSError
    assert received == b""


async def test_a_suite_outside_the_allow_list() -> None:
    context = forge.server(forge.leaf("localhost"), minimum=TLS12, maximum=TLS12)
    context.set_ciphers(OTHER_SUITE12)
    error, received, _ = await get(context, minimum_version="TLSv1.2", ciphers=[SUITE12, "TLS_AES_128_GCM_SHA256"])
    assert isinstance(error, penstock.TLSError)
    assert received == b""


async def test_a_wrong_pin() -> None:
    error, received, dials = await get(good(), pins={"localhost": [ABSENT]})
    assert isinstance(error, penstock.PinMismatch)
    assert error.configured == (ABSENT,)
    assert forge.leaf_pin(forge.leaf("localhost")) in error.presented
    assert (received, dials) == (b"", 1)


async def test_a_pinned_certificate_that_is_only_appended() -> None:
    pinned = forge.stranger().cert_pem.bytes()
    context = forge.server(forge.leaf("localhost"), appended=pinned)
    error, received, _ = await get(context, pins={"localhost": [forge.pin_of(pinned)]})
    assert isinstance(error, penstock.PinMismatch)
    assert received == b""


def answer(tls: ssl.SSLSocket) -> None:
    while tls.recv(65536):
        tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


@pytest.mark.parametrize("key", [0, 1])
async def test_pins_survive_a_rotation_to_the_backup_key(key: int) -> None:
    pins = [forge.leaf_pin(forge.leaf("localhost", key=number)) for number in (0, 1)]
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=forge.root_file(), pins={"localhost": pins}))
    with serve_tls(forge.server(forge.leaf("localhost", key=key)), answer) as server:
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
            assert (await client.get(f"https://localhost:{server.port}/")).text == "ok"


async def test_a_second_connection_resumes_the_session_with_its_pin_verdict() -> None:
    pin = forge.leaf_pin(forge.leaf("localhost"))
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=forge.root_file(), pins={"localhost": [pin]}))
    with serve_tls(good(), answer) as server:
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
            for _ in range(2):
                assert (await client.get(f"https://localhost:{server.port}/")).text == "ok"
                pool.renew()
        assert server.reused == [False, True]


async def test_tls_1_2_on_request() -> None:
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=forge.root_file(), minimum_version="TLSv1.2"))
    context = forge.server(forge.leaf("localhost"), minimum=TLS12, maximum=TLS12)
    with serve_tls(context, answer) as server:
        async with penstock.Pool(config) as pool, penstock.Client(pool=pool) as client:
            assert (await client.get(f"https://localhost:{server.port}/")).text == "ok"
