"""What connections with the same TLS settings share: one context, made late, and their sessions."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from .._core.pins import pins_for
from .._errors import TLSError
from .sessions import SessionStore

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .._tls_config import TLSConfig

#: What is offered in the handshake (RFC 7301), in order of preference.
ALPN_PROTOCOLS = ("http/1.1",)

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

# Loading the trusted certificates takes tens of milliseconds and hundreds of KiB, so equal settings share a context
# in the whole process. Bounded, because a program may make settings without end.
_contexts: dict[Hashable, ssl.SSLContext] = {}
_MAX_CONTEXTS = 32


class TLSProfile:
    """The shared side of all TLS connections made with one `TLSConfig`.

    Attributes:
        config: the settings.
        sessions: the sessions to resume, per host and port.
    """

    __slots__ = ("_context", "config", "sessions")

    def __init__(self, config: TLSConfig) -> None:
        self.config = config
        self.sessions = SessionStore()
        self._context: ssl.SSLContext | None = None

    @property
    def identity(self) -> Hashable:
        """Equal for two profiles exactly if connections may be shared between them."""
        return self.config

    @property
    def context(self) -> ssl.SSLContext:
        """The context, made at the first use.

        Raises:
            TLSError: a file of certificates or keys cannot be loaded.
        """
        if self._context is None:
            self._context = _shared_context(self.config)
        return self._context

    def pins_for(self, host: str) -> frozenset[str]:
        """The pins that hold for `host`; empty if it is not pinned."""
        return pins_for(host, self.config.pins)


def _shared_context(config: TLSConfig) -> ssl.SSLContext:
    if isinstance(config.trust, ssl.SSLContext):
        return config.trust
    key = (
        config.minimum_version,
        config.maximum_version,
        config.older_suites,
        config.trust,
        config.client_cert,
        config.keylog_file,
        tuple(_stamp(path) for path in (config.trust, *(config.client_cert or ())[:2])),
    )
    context = _contexts.get(key)
    if context is None:
        context = _make_context(config)
        while len(_contexts) >= _MAX_CONTEXTS:
            del _contexts[next(iter(_contexts))]
        _contexts[key] = context
    return context


def _stamp(path: str) -> Hashable:
    """Tells a file from what is under its name later, so that a renewed certificate gets a new context."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _make_context(config: TLSConfig) -> ssl.SSLContext:
    assert isinstance(config.trust, str)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[config.minimum_version]
    if config.maximum_version is not None:
        context.maximum_version = _VERSIONS[config.maximum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    # RFC 9110 §4.3.4: a common name is no reference identity.
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(list(ALPN_PROTOCOLS))
    if config.older_suites:
        context.set_ciphers(":".join(config.older_suites))
    try:
        _load_trust(context, config.trust)
    except (OSError, ssl.SSLError) as error:
        raise TLSError(f"trust: {config.trust!r} cannot be loaded: {error}", phase="tls") from error
    if config.client_cert is not None:
        _load_client_cert(context, *config.client_cert)
    if config.keylog_file is not None:
        try:
            context.keylog_filename = config.keylog_file
        except OSError as error:
            raise TLSError(f"keylog_file cannot be opened: {error.strerror}", phase="tls") from error
    return context


def _load_trust(context: ssl.SSLContext, trust: str) -> None:
    if trust == "system":
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif trust == "certifi":
        import certifi

        context.load_verify_locations(certifi.where())
    elif Path(trust).is_dir():
        context.load_verify_locations(capath=trust)
    else:
        context.load_verify_locations(trust)


def _load_client_cert(context: ssl.SSLContext, certfile: str, keyfile: str, password: str | None = None) -> None:
    def answer() -> str:
        # Without an answer OpenSSL would ask at the terminal.
        if password is None:
            raise ValueError("the key is encrypted and there is no password")
        return password

    try:
        context.load_cert_chain(certfile, keyfile, answer)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise TLSError(f"client_cert: {Path(certfile).name!r} cannot be loaded: {error}", phase="tls") from error
