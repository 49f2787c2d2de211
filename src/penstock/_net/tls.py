"""The TLS handshake: what is checked before a connection may carry a request byte."""

from __future__ import annotations

import contextlib
import re
import ssl
from typing import TYPE_CHECKING, NoReturn

from .._errors import CertificateError, NetworkError, TLSError, quote_peer
from .pinning import verify_pins
from .sessions import SessionKeeper
from .stream import send_all
from .tls_bios import discard_stale
from .tls_profile import HTTP1, HTTP2, TLSProfile
from .tls_stream import RECEIVE_SIZE, TLSStream, TunnelledTLSStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sessions import Endpoint, StoredSession
    from .stream import ByteStream

__all__ = ["HTTP1", "HTTP2", "TLSProfile", "TLSStream", "start_tls"]


# OpenSSL's X509_V_ERR numbers for a chain that ends at no known authority.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
# The peer's alert, and OpenSSL's own verdict on the peer's choice.
_NO_COMMON_VERSION = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})

# The suites of TLS 1.2 that HTTP/2 may use, by OpenSSL's names: an ephemeral exchange of keys and an AEAD
# (RFC 9113 §9.2.2; its Appendix A names the others).
_FIT_FOR_HTTP2 = re.compile(r"(EC)?DHE-.*(GCM|CHACHA20|CCM)")


async def start_tls(
    stream: ByteStream,
    profile: TLSProfile,
    *,
    host: str,
    port: int,
    protocols: tuple[str, ...] = (HTTP1,),
    server_name: str | None = None,
    clean: Callable[[bytes], bytes] | None = None,
) -> TLSStream:
    """Run the client's handshake over `stream` and check its outcome.

    There is no time limit here: the dial's covers the connect and the handshake together. Whatever goes wrong, and
    after a cancellation as well, `stream` is the only thing left to close, and it is the caller's.

    Args:
        stream: a connected stream that nothing was sent on.
        profile: settings, context and sessions.
        host: an A-label or an IP address (IPv6 without brackets); IP addresses are verified, but not sent as SNI.
        port: with the host, the key of the session to resume.
        protocols: what is offered, in order of preference, and nothing else may be agreed on: `HTTP2`, `HTTP1`. A
            server that agrees on nothing speaks HTTP/1.1, if that is among them.
        server_name: sent as SNI and verified instead of `host`. What is pinned for either of the two holds.
        clean: takes what must not be shown out of what the peer said instead of TLS; None if nobody told it a secret.

    Raises:
        CertificateError: the certificate did not verify.
        PinMismatch: it verified, but no key of its chain is pinned.
        TLSError: the handshake failed, or ended with a version, suite or protocol that the settings forbid.
    """
    host = host.lower().removesuffix(".").partition("%")[0]
    handshake = _Handshake(stream, profile, host, port, protocols=protocols, server_name=server_name, clean=clean)
    await handshake.run()
    return handshake.finish()


class _Handshake:
    __slots__ = (
        "_bios", "_clean", "_endpoint", "_heard", "_name", "_pins", "_profile", "_protocols", "_sessions", "_stored",
        "_stream", "_tls", "_unread", "_unsent",
    )  # fmt: skip

    def __init__(
        self,
        stream: ByteStream,
        profile: TLSProfile,
        host: str,
        port: int,
        *,
        protocols: tuple[str, ...],
        server_name: str | None,
        clean: Callable[[bytes], bytes] | None,
    ) -> None:
        self._stream = stream
        self._clean = clean
        self._profile = profile
        self._endpoint: Endpoint = (host, port) if server_name is None else (host, port, server_name)
        self._protocols = protocols
        self._name = name = server_name or host
        # A caller who names another server must not get around what is pinned for the host, nor for that name.
        self._pins = [pins for one in {host: None, name: None} if (pins := profile.pins_for(one))]
        # Kept: the profile may have another one by the end of the handshake.
        context, self._sessions, _ = profile.offer(protocols)
        self._stored = self._session_to_offer()
        self._heard = b""
        # Ciphertext that OpenSSL has not taken yet, and that has not left yet.
        self._unread = self._unsent = b""
        self._bios = profile.bios
        try:
            self._tls = context.wrap_bio(
                self._bios.incoming,
                self._bios.outgoing,
                server_hostname=name,
                session=self._stored.session if self._stored else None,
            )
        except (ValueError, TypeError) as error:
            raise TLSError(f"no certificate can be valid for the name {name!r}: {error}", phase="tls") from error

    def _session_to_offer(self) -> StoredSession | None:
        if not self._profile.config.session_resumption:
            return None
        stored = self._sessions.get(self._endpoint)
        if stored is not None and self._pins and not stored.verified_pins:
            # Without the pins of its full handshake a resumed session has nothing to show.
            self._sessions.drop(self._endpoint)
            return None
        return stored

    async def run(self) -> None:
        try:
            while True:
                has_ended = self._step()
                if self._unsent:
                    await send_all(self._stream, self._unsent)
                if has_ended:
                    return
                await self._receive()
        except NetworkError as error:
            if self._stored is not None:
                self._sessions.drop(self._endpoint)
            if isinstance(error, TLSError):
                raise
            raise TLSError(f"the connection broke in the TLS handshake: {error.message}", phase="tls") from error

    def _step(self) -> bool:
        """Let OpenSSL work on what is there; whether the handshake has ended."""
        incoming, outgoing = self._bios
        discard_stale(incoming, outgoing)
        incoming.write(self._unread)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            with contextlib.suppress(NetworkError):
                self._stream.try_send(outgoing.read())
            self._refuse(error)
        finally:
            self._unread, self._unsent = incoming.read(), outgoing.read()
        return True

    def _refuse(self, error: ssl.SSLError) -> NoReturn:
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = "; trust its authority with TLSConfig(trust=…)" if error.verify_code in _UNKNOWN_AUTHORITY else ""
            raise CertificateError(
                f"the certificate is not valid for {self._name}: {error.verify_message} ({error.verify_code}){hint}",
                verify_code=error.verify_code,
                verify_message=error.verify_message,
            ) from error
        if self._heard[:5] == b"HTTP/":
            raise TLSError(f"the peer spoke HTTP, not TLS: {self._quote()}", phase="tls") from error
        # Record types of TLS: 20 change_cipher_spec, 21 alert, 22 handshake, 23 application_data.
        if self._heard and not 20 <= self._heard[0] <= 23:
            raise TLSError(f"the peer did not speak TLS: {self._quote()}", phase="tls") from error
        reason = error.reason or str(error)
        hint = ""
        if reason in _NO_COMMON_VERSION:
            hint = self._hint_at_version()
        elif "no application protocol" in str(error):
            # RFC 7301 §3.2. Python has no name for this alert.
            hint = self._hint_at_protocol()
        raise TLSError(f"the TLS handshake failed: {reason}{hint}", phase="tls") from error

    def _quote(self) -> str:
        return quote_peer(self._heard if self._clean is None else self._clean(self._heard))

    def _hint_at_version(self) -> str:
        if self._profile.config.minimum_version == "TLSv1.2":
            return ""
        return '; a server that has no TLS 1.3 needs TLSConfig(minimum_version="TLSv1.2")'

    def _hint_at_protocol(self) -> str:
        if HTTP1 in self._protocols:
            return ""
        own = isinstance(self._profile.config.trust, ssl.SSLContext)
        offer = ", and the SSLContext given as trust has to offer 'h2' (set_alpn_protocols)" if own else ""
        return f"; a server that does not speak HTTP/2 needs PoolConfig(http1=True){offer}"

    async def _receive(self) -> None:
        while (data := self._stream.try_receive(RECEIVE_SIZE)) is None:
            await self._stream.wait_readable()
        if not data:
            raise TLSError("the peer closed the connection in the TLS handshake", phase="tls")
        # 65, so that the quote can tell that there was more.
        self._heard += data[: 65 - len(self._heard)]
        self._unread = data

    def finish(self) -> TLSStream:
        """Check what was negotiated, before anybody can send a byte."""
        tls = self._tls
        version, suite, protocol = tls.version() or "", tls.cipher(), tls.selected_alpn_protocol()
        cipher = suite[0] if suite else ""
        self._check_negotiated(version, cipher, protocol)
        verified_pins: tuple[str, ...] = ()
        verdict = self._stored.verified_pins if self._stored else ()
        for pins in self._pins:
            verified_pins = verify_pins(tls, pins, verdict=verdict)
        kind = TunnelledTLSStream if isinstance(self._stream, TLSStream) else TLSStream
        return kind(
            self._stream,
            tls,
            self._bios,
            version=version,
            cipher=cipher,
            alpn=protocol,
            unread=self._unread,
            verified_pins=verified_pins,
            keeper=self._keeper(verified_pins),
        )

    def _check_negotiated(self, version: str, cipher: str, protocol: str | None) -> None:
        config = self._profile.config
        # The names sort by age, from "SSLv3" to "TLSv1.3".
        if version < config.minimum_version:
            hint = self._hint_at_version() if version == "TLSv1.2" else ""
            raise TLSError(
                f"the server negotiated {version}, at least {config.minimum_version} is required{hint}", phase="tls"
            )
        if config.ciphers is not None and cipher not in config.ciphers:
            raise TLSError(
                f"the server chose {cipher or 'no suite'}, which is not among the allowed ciphers", phase="tls"
            )
        self._check_protocol(version, cipher, protocol)

    def _check_protocol(self, version: str, cipher: str, protocol: str | None) -> None:
        if protocol is None:
            if HTTP1 not in self._protocols:
                raise TLSError(f"the server did not agree on HTTP/2{self._hint_at_protocol()}", phase="tls")
        elif protocol not in self._protocols:
            # RFC 7301 §3.2; OpenSSL does not look, and cannot know where the offer was the caller's own.
            raise TLSError(f"the server chose the protocol {protocol!r}, which {self._explain_offer()}", phase="tls")
        elif protocol == HTTP2 and version == "TLSv1.2" and not _FIT_FOR_HTTP2.match(cipher):
            raise TLSError(f"the server chose {cipher}, which HTTP/2 forbids (RFC 9113 §9.2.2)", phase="tls")

    def _explain_offer(self) -> str:
        if isinstance(self._profile.config.trust, ssl.SSLContext):
            return f"the SSLContext given as trust may offer, but only {' and '.join(self._protocols)} is allowed"
        return "was not offered"

    def _keeper(self, verified_pins: tuple[str, ...]) -> SessionKeeper | None:
        if not self._profile.config.session_resumption:
            return None
        stored, serves_once = self._stored, False
        if stored is not None:
            was_refused = not self._tls.session_reused
            if was_refused and self._sessions.get(self._endpoint) is stored:
                self._sessions.drop(self._endpoint)
            if not was_refused and stored.is_lasting:
                return None
            serves_once = was_refused or stored.serves_once
        return SessionKeeper(self._sessions, self._endpoint, verified_pins, serves_once=serves_once)
