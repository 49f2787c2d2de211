"""Verdicts on servers: what a handshake refuses, with which error, and before any request byte."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

from penstock._errors import CertificateError, TLSError
from penstock._net.stream import ByteStream, SocketStream, send_all
from penstock._net.tls import TLSProfile, TLSStream, start_tls
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.tls_peer import TLSPeer
from tests.support.tls_server import serve_tls

Connect = Callable[[int], Awaitable[ByteStream]]

TLS12 = ssl.TLSVersion.TLSv1_2
SUITE12 = "ECDHE-ECDSA-AES128-GCM-SHA256"


def profile(**settings: Any) -> TLSProfile:
    return TLSProfile(TLSConfig(**{"trust": forge.root_file(), **settings}))


async def shake(context: ssl.SSLContext, host: str = forge.HOST, **settings: Any) -> tuple[TLSStream, TLSPeer]:
    peer = TLSPeer(context)
    return await start_tls(peer, profile(**settings), host=host, port=443), peer


async def receive(stream: ByteStream) -> bytes:
    while (data := stream.try_receive(65536)) is None:
        await stream.wait_readable()
    return data


# Good servers


async def test_a_good_server(connect: Connect) -> None:
    with serve_tls(forge.server(forge.leaf())) as server:
        stream = await start_tls(await connect(server.port), profile(), host=forge.HOST, port=server.port)
        await send_all(stream, b"request")
        stream.close()
    assert (stream.version, stream.alpn, stream.session_reused) == ("TLSv1.3", None, False)
    assert stream.cipher.startswith("TLS_")
    assert stream.verified_pins == ()
    assert server.received == b"request"
    assert server.failures == []


@pytest.mark.parametrize("host", [forge.HOST, forge.HOST.upper(), forge.HOST + "."])
async def test_case_and_one_trailing_dot_of_a_name_do_not_matter(host: str) -> None:
    context, seen = forge.server(forge.leaf()), []
    context.sni_callback = lambda tls, name, ctx: seen.append(name)
    await shake(context, host)
    assert seen == [forge.HOST]


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
async def test_an_ip_address_is_verified_but_not_sent_as_sni(host: str) -> None:
    context, seen = forge.server(forge.leaf("192.0.2.1", "2001:db8::1")), []
    context.sni_callback = lambda tls, name, ctx: seen.append(name)
    await shake(context, host)
    assert seen in ([None], [])
    with pytest.raises(CertificateError):
        await shake(forge.server(forge.leaf("192.0.2.2")), host)


async def test_http_is_offered_and_agreed_on() -> None:
    context = forge.server(forge.leaf())
    context.set_alpn_protocols(["h2", "http/1.1"])
    stream, _ = await shake(context)
    assert stream.alpn == "http/1.1"


async def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    certificate = forge.root().issue_cert("client@example.com")
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    context = forge.server(forge.leaf())
    context.verify_mode = ssl.CERT_REQUIRED
    forge.root().configure_trust(context)
    _, peer = await shake(context, client_cert=(cert, key))
    shown = peer.tls.getpeercert()
    assert shown is not None
    assert shown["subjectAltName"] == (("email", "client@example.com"),)


async def test_secrets_are_logged_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    await shake(forge.server(forge.leaf()), keylog_file=str(path))
    # Whoever reads it reads the traffic.
    assert path.stat().st_mode & 0o077 == 0
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()


# Certificates


@pytest.mark.parametrize(
    ("context", "code"),
    [
        (lambda: forge.server(forge.expired()), 10),
        (lambda: forge.server(forge.premature()), 9),
        (lambda: forge.server(forge.leaf("other.example")), 62),
        (lambda: forge.server(forge.leaf("*.deeper.example")), 62),
        (lambda: forge.server(forge.leaf(f"*.{forge.HOST}")), 62),
        (lambda: forge.server(forge.stranger().issue_cert(forge.HOST)), 20),
        (forge.self_signed, 18),
        (forge.common_name_only, 62),
    ],
    ids=["expired", "premature", "wrong host", "wildcard", "child of it", "stranger", "self-signed", "common name"],
)
async def test_a_bad_certificate_is_refused(context: Callable[[], ssl.SSLContext], code: int) -> None:
    peer = TLSPeer(context())
    with pytest.raises(CertificateError) as caught:
        await start_tls(peer, profile(), host=forge.HOST, port=443)
    assert caught.value.verify_code == code
    assert caught.value.verify_message
    assert caught.value.verify_message in str(caught.value)
    assert ("TLSConfig(trust=" in str(caught.value)) == (code in (18, 20))
    assert peer.received == b""
    # The server is told, and closing is left to the caller.
    assert peer.alert is not None
    assert "ALERT" in peer.alert.reason
    assert not peer.is_closed


async def test_a_bad_certificate_is_refused_over_a_socket(connect: Connect) -> None:
    with serve_tls(forge.server(forge.expired())) as server:
        stream = await connect(server.port)
        with pytest.raises(CertificateError):
            await start_tls(stream, profile(), host=forge.HOST, port=server.port)
        stream.close()
    assert server.received == b""
    assert len(server.failures) == 1


@pytest.mark.parametrize("host", ["", ".example", "a..b", "x" * 64 + ".example"])
async def test_a_name_no_certificate_can_have(host: str) -> None:
    with pytest.raises(TLSError):
        await shake(forge.server(forge.leaf()), host)


# Versions, suites and protocols


async def test_a_server_without_tls_1_3_is_refused() -> None:
    context = forge.server(forge.leaf(), minimum=TLS12, maximum=TLS12)
    with pytest.raises(TLSError, match=r'(?i)version.*needs TLSConfig\(minimum_version="TLSv1\.2"\)'):
        await shake(context)
    stream, _ = await shake(context, minimum_version="TLSv1.2")
    assert stream.version == "TLSv1.2"


async def test_a_callers_context_is_held_to_the_minimum_version_as_well() -> None:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    forge.root().configure_trust(trust)
    old = forge.server(forge.leaf(), minimum=TLS12, maximum=TLS12)
    with pytest.raises(TLSError, match=r"negotiated TLSv1\.2, at least TLSv1\.3 is required; .*minimum_version="):
        await shake(old, trust=trust)
    await shake(forge.server(forge.leaf()), trust=trust)
    trust.options |= ssl.OP_NO_RENEGOTIATION
    await shake(old, trust=trust, minimum_version="TLSv1.2")


async def test_a_suite_outside_the_list_is_refused() -> None:
    context = forge.server(forge.leaf())
    stream, _ = await shake(context)
    others = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"} - {stream.cipher}
    peer = TLSPeer(context)
    with pytest.raises(TLSError, match=f"the server chose {stream.cipher}, which is not among the allowed ciphers"):
        await start_tls(peer, profile(ciphers=sorted(others)), host=forge.HOST, port=443)
    assert peer.received == b""
    await shake(context, ciphers=[*others, stream.cipher])


async def test_suites_of_tls_1_2_are_offered_as_listed() -> None:
    context = forge.server(forge.leaf(), minimum=TLS12, maximum=TLS12)
    settings = {"minimum_version": "TLSv1.2", "maximum_version": "TLSv1.2", "ciphers": SUITE12}
    stream, _ = await shake(context, **settings)
    assert stream.cipher == SUITE12
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with pytest.raises(TLSError):
        await shake(context, **settings)


# Peers that speak something else, break off, or stall


class Canned(TLSPeer):
    """Answers the ClientHello with given bytes, then ends."""

    def __init__(self, *answer: bytes) -> None:
        super().__init__(forge.server(forge.leaf()), hesitant=True)
        self._answer = answer

    def _work(self) -> None:
        for piece in self._answer:
            self.send_raw(piece)
        self._answer = ()
        self.end()


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 48\r\n\r\nThe plain HTTP request was sent to an HTTPS port"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HTTP, r"the peer spoke HTTP, not TLS: HTTP/1\.1 400 Bad Request\\r\\nContent-Length: .*…$"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", r"the peer did not speak TLS: SSH-2\.0-OpenSSH_9\.2\\r\\n$"),
        (b"\x00" * 20, "did not speak TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "handshake failed: .*HANDSHAKE_FAILURE"),
        (b"\x16\x03\x03\x00\x04junk", "handshake failed"),
        (b"\x16\x03\x03\x40\x00", "closed the connection in the TLS handshake"),
        (b"", "closed the connection in the TLS handshake"),
    ],
    ids=["http", "ssh", "zeros", "alert", "junk", "cut", "nothing"],
)
async def test_a_peer_that_speaks_something_else(answer: bytes, words: str) -> None:
    peer = Canned(answer)
    with pytest.raises(TLSError, match=words) as caught:
        await start_tls(peer, profile(), host=forge.HOST, port=443)
    assert len(str(caught.value)) < 200
    assert caught.value.phase == "tls"


async def test_a_peer_that_speaks_http_byte_by_byte() -> None:
    peer = Canned(HTTP)
    peer.segment = 1
    with pytest.raises(TLSError, match=r"the peer spoke HTTP, not TLS: HTTP/$"):
        await start_tls(peer, profile(), host=forge.HOST, port=443)


async def test_a_reset_in_the_handshake_is_a_tls_error(pair: tuple[SocketStream, socket.socket]) -> None:
    stream, peer = pair
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    with pytest.raises(TLSError, match="the connection broke in the TLS handshake"):
        await start_tls(stream, profile(), host=forge.HOST, port=443)


async def test_a_handshake_may_come_byte_by_byte() -> None:
    peer = TLSPeer(forge.server(forge.leaf()), segment=1, hesitant=True)
    stream = await start_tls(peer, profile(), host=forge.HOST, port=443)
    assert stream.try_send(b"x") == 1
    assert peer.received == b"x"


async def test_a_handshake_that_stalls_is_ended_by_the_callers_deadline(
    pair: tuple[SocketStream, socket.socket], autojump_clock: MockClock
) -> None:
    stream, _ = pair
    with trio.move_on_after(5) as scope:
        await start_tls(stream, profile(), host=forge.HOST, port=443)
    assert scope.cancelled_caught
    assert trio.current_time() == 5


async def test_a_handshake_can_be_cancelled_at_every_checkpoint() -> None:
    """Afterwards nothing is closed or kept, and another handshake succeeds."""

    class Victim(TLSPeer):
        """Cancels at its k-th wait."""

        def __init__(self, k: int, scope: trio.CancelScope) -> None:
            super().__init__(forge.server(forge.leaf()), segment=100, hesitant=True, window=50)
            self.waits, self._k, self._scope = 0, k, scope

        def _count(self) -> None:
            self.waits += 1
            if self.waits == self._k:
                self._scope.cancel()

        async def wait_readable(self) -> None:
            self._count()
            await super().wait_readable()

        async def wait_writable(self) -> None:
            self._count()
            self.open_window(50)
            await super().wait_writable()

    shared = profile()
    k = 0
    while True:
        k += 1
        with trio.CancelScope() as scope:
            victim = Victim(k, scope)
            await start_tls(victim, shared, host=forge.HOST, port=443)
        assert not victim.is_closed
        assert victim.received == b""
        if not scope.cancelled_caught:
            break
        assert len(shared.offer(("http/1.1",)).sessions) == 0
    assert k > 15


# Client certificates that the server does not want


async def test_a_demanded_client_certificate_is_missed_at_the_first_read(connect: Connect) -> None:
    context = forge.server(forge.leaf())
    context.verify_mode = ssl.CERT_REQUIRED
    forge.root().configure_trust(context)
    peer = TLSPeer(context)
    stream = await start_tls(peer, profile(), host=forge.HOST, port=443)
    with pytest.raises(TLSError, match=r"refused the connection after the handshake: .*CERTIFICATE_REQUIRED"):
        stream.try_receive(100)
    with pytest.raises(TLSError, match="CERTIFICATE_REQUIRED"):
        stream.try_receive(100)
    # And over a socket, where the alert comes some time later.
    with serve_tls(context) as server:
        stream = await start_tls(await connect(server.port), profile(), host=forge.HOST, port=server.port)
        with pytest.raises(TLSError, match="CERTIFICATE_REQUIRED"):
            await receive(stream)
        stream.close()


async def test_an_unknown_client_certificate_is_refused_at_the_first_read(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("client@example.com")
    cert = tmp_path / "client.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(cert)
    context = forge.server(forge.leaf())
    context.verify_mode = ssl.CERT_REQUIRED
    forge.root().configure_trust(context)
    stream, _ = await shake(context, client_cert=(cert, cert))
    with pytest.raises(TLSError, match="refused the connection after the handshake"):
        stream.try_receive(100)


async def test_files_that_cannot_be_loaded(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    with pytest.raises(TLSError, match=r"trust: .* cannot be loaded"):
        await shake(forge.server(forge.leaf()), trust=junk)
    with pytest.raises(TLSError, match=r"client_cert: 'junk\.pem' cannot be loaded"):
        await shake(forge.server(forge.leaf()), client_cert=(junk, junk))
    with pytest.raises(TLSError, match="keylog_file cannot be opened"):
        await shake(forge.server(forge.leaf()), keylog_file=str(tmp_path / "missing" / "keys.log"))
