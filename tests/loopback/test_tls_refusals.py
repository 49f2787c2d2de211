"""What is wrong with a server's TLS is found before the server hears a byte of the request."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

import penstock
from penstock.testing import ScriptedPeer, serve_ok
from tests.support import forge
from tests.support.certificates import authority, server_context
from tests.support.openssl_server import needs_openssl, serve_openssl
from tests.support.server import ScriptServer
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The authority of the tests, as a file."""
    path: Path = tmp_path_factory.mktemp("trust") / "authority.pem"
    path.write_bytes(authority().cert_pem.bytes())
    return str(path)


def serving(certificate: trustme.LeafCert, maximum: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if maximum is not None:
        context.maximum_version = maximum
    certificate.configure_cert(context)
    return context


async def refuse(server_tls: ssl.SSLContext, kind: type[Exception], **tls: Any) -> Any:
    """Ask a server with this TLS; the request has to fail, unheard."""
    heard = b""

    async def hear(peer: ScriptedPeer) -> None:
        nonlocal heard
        heard = await peer.wait_closed() or b"nothing"

    config = penstock.PoolConfig(tls=penstock.TLSConfig(**tls))
    async with ScriptServer(hear, tls=server_tls) as server, penstock.Client(config=config) as client:
        with pytest.raises(penstock.TLSError) as caught:
            await client.post(server.url, content=b"secret", headers={"Authorization": "Bearer secret"})
        error = caught.value
        assert type(error) is kind
        assert (error.phase, error.request_sent, error.attempt) == ("tls", "no", 1)
        assert str(error.origin) == server.url
        assert client._pool is not None
        assert client._pool.statistics().total == 0
        await wait_until(lambda: heard or server.peers[0].tls_error)
        # Either there was no handshake, or there was one and nothing after it.
        assert heard in (b"", b"nothing")
        assert server.connections == 1
    return error


async def test_an_expired_certificate(trust: str) -> None:
    now = dt.datetime.now(dt.UTC)
    certificate = authority().issue_cert("localhost", not_before=now - 3 * DAY, not_after=now - DAY)
    error = await refuse(serving(certificate), penstock.CertificateError, trust=trust)
    # X509_V_ERR_CERT_HAS_EXPIRED
    assert error.verify_code == 10
    assert "expired" in error.verify_message
    assert "expired" in str(error)


async def test_a_certificate_for_another_host(trust: str) -> None:
    error = await refuse(server_context("other.example"), penstock.CertificateError, trust=trust)
    # X509_V_ERR_HOSTNAME_MISMATCH
    assert error.verify_code == 62
    assert "localhost" in str(error)


async def test_an_authority_that_is_not_trusted(trust: str) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    error = await refuse(serving(certificate), penstock.CertificateError, trust=trust)
    # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    assert error.verify_code == 20


async def test_a_certificate_that_signed_itself(trust: str) -> None:
    error = await refuse(forge.self_signed(), penstock.CertificateError, trust=trust)
    # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    assert error.verify_code == 18


async def test_a_private_authority_without_being_told_of_it() -> None:
    error = await refuse(server_context(), penstock.CertificateError)
    assert error.verify_code in (19, 20)


async def test_only_tls_1_2(trust: str) -> None:
    tls = serving(authority().issue_cert("localhost"), ssl.TLSVersion.TLSv1_2)
    error = await refuse(tls, penstock.TLSError, trust=trust)
    assert "version" in str(error).lower()


async def test_only_tls_1_2_opted_in(trust: str) -> None:
    tls = serving(authority().issue_cert("localhost"), ssl.TLSVersion.TLSv1_2)
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=trust, minimum_version="TLSv1.2"))
    async with ScriptServer(serve_ok(), tls=tls) as server, penstock.Client(config=config) as client:
        assert (await client.get(server.url)).text == "ok"
        assert (await client.get(server.url)).text == "ok"
        assert server.requests_per_connection == [2]
        assert server.peers[0].tls is not None
        assert server.peers[0].tls.version() == "TLSv1.2"


@needs_openssl
async def test_a_renegotiation_is_refused(trust: str) -> None:
    """TLS 1.2, opted in: the server asks to renegotiate while the connection is idle, and gets no answer."""
    certificate = authority().issue_cert("localhost", "127.0.0.1")
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=trust, minimum_version="TLSv1.2"))
    with serve_openssl(certificate, "-tls1_2", "-legacy_renegotiation", "-no_ticket") as server:
        async with penstock.Pool(config) as pool:
            await pool.prewarm(f"https://localhost:{server.port}", 1)
            await trio.sleep(0.3)
            assert pool.statistics().idle == 1
            server.type(b"R")
            await wait_until(lambda: not pool.statistics().total)


async def test_a_suite_outside_of_the_allow_list(trust: str) -> None:
    error = await refuse(server_context(), penstock.TLSError, trust=trust, ciphers=["TLS_CHACHA20_POLY1305_SHA256"])
    assert "TLS_AES_256_GCM_SHA384" in str(error)
    assert "not among the allowed ciphers" in str(error)


async def test_a_suite_of_tls_1_2_outside_of_the_allow_list(trust: str) -> None:
    tls = serving(authority().issue_cert("localhost"), ssl.TLSVersion.TLSv1_2)
    tls.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384")
    allowed = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"]
    await refuse(tls, penstock.TLSError, trust=trust, minimum_version="TLSv1.2", ciphers=allowed)


async def test_a_wrong_pin(trust: str) -> None:
    certificate = authority().issue_cert("localhost")
    wrong = "sha256/" + "A" * 43 + "="
    error = await refuse(serving(certificate), penstock.PinMismatch, trust=trust, pins={"localhost": [wrong]})
    authority_pin = forge.pin_of(authority().cert_pem.bytes())
    assert error.presented[0] == forge.leaf_pin(certificate)
    assert authority_pin in error.presented
    assert error.configured == (wrong,)
    assert forge.leaf_pin(certificate) in str(error)
    assert wrong in str(error)


async def test_a_pinned_certificate_that_is_only_sent_along(trust: str) -> None:
    """It is in what the server sends, but not in the chain that verified."""
    pinned = trustme.CA().cert_pem
    certificate = authority().issue_cert("localhost")
    certificate.cert_chain_pems.append(pinned)
    await refuse(
        serving(certificate), penstock.PinMismatch, trust=trust, pins={"localhost": [forge.pin_of(pinned.bytes())]}
    )


async def test_a_pin_does_not_excuse_a_bad_certificate(trust: str) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    await refuse(
        serving(certificate), penstock.CertificateError, trust=trust, pins={"localhost": [forge.leaf_pin(certificate)]}
    )


@pytest.mark.parametrize("keep", ["both keys", "the authority"])
async def test_a_pinned_key_is_rotated(keep: str, trust: str) -> None:
    old, new = (authority().issue_cert("localhost") for _ in range(2))
    pins = (
        [forge.leaf_pin(old), forge.leaf_pin(new)]
        if keep == "both keys"
        else [forge.pin_of(authority().cert_pem.bytes())]
    )
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=trust, pins={"localhost": pins}))
    async with ScriptServer(serve_ok(), tls=serving(old)) as server, penstock.Pool(config) as pool:
        async with penstock.Client(pool) as client:
            await client.get(server.url)
            server._tls = serving(new)
            # What is open stays open; new connections meet the new key.
            await client.get(server.url)
            pool.renew()
            await client.get(server.url)
        assert server.requests_per_connection == [2, 1]


async def test_a_key_is_rotated_without_telling_the_client(trust: str) -> None:
    old, new = (authority().issue_cert("localhost") for _ in range(2))
    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=trust, pins={"localhost": [forge.leaf_pin(old)]}))
    async with ScriptServer(serve_ok(), tls=serving(old)) as server, penstock.Pool(config) as pool:
        async with penstock.Client(pool) as client:
            await client.get(server.url)
            server._tls = serving(new)
            await client.get(server.url)
            pool.renew()
            with pytest.raises(penstock.PinMismatch) as caught:
                await client.get(server.url)
            assert caught.value.presented[0] == forge.leaf_pin(new)
            assert caught.value.configured == (forge.leaf_pin(old),)
            # Nothing of the old connection's verdict helps the new one.
            server._tls = serving(old)
            assert (await client.get(server.url)).text == "ok"
        assert server.requests_per_connection == [2, 0, 1]


async def test_a_plain_server_behind_https(trust: str) -> None:
    async def complains(peer: ScriptedPeer) -> None:
        await peer.receive()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    config = penstock.PoolConfig(tls=penstock.TLSConfig(trust=trust))
    async with ScriptServer(complains) as server, penstock.Client(config=config) as client:
        with pytest.raises(penstock.TLSError, match=r"spoke HTTP, not TLS: HTTP/1\.1 400") as caught:
            await client.get(f"https://localhost:{server.port}")
        assert type(caught.value) is penstock.TLSError
        assert caught.value.request_sent == "no"


async def test_a_tls_server_behind_http() -> None:
    async with ScriptServer(serve_ok(), tls=server_context()) as server, penstock.Client() as client:
        with pytest.raises((penstock.ReadError, penstock.RemoteProtocolError)):
            await client.get(f"http://localhost:{server.port}")
