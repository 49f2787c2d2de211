"""What connections with the same TLS settings share: a context for each offer of protocols, made late, and sessions.

Certificates and keys are renewed while programs run, so their files are looked at before each handshake.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .._core.pins import pins_for
from .._errors import TLSError
from .sessions import SessionStore
from .tls_bios import make_bios

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .._tls_config import TLSConfig

#: The names of the protocols in the handshake (RFC 7301 §6).
HTTP1: Final = "http/1.1"
HTTP2: Final = "h2"

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

# Loading the trusted certificates takes tens of milliseconds and hundreds of KiB, so equal settings share a context
# in the whole process. Bounded, because a program may make settings without end.
_contexts: dict[Hashable, ssl.SSLContext] = {}
_MAX_CONTEXTS = 32


class Offer(NamedTuple):
    """What handshakes that offer the same protocols share.

    Attributes:
        context: what they are made with.
        sessions: those to resume, per host and port; a session belongs to its context.
        stamps: tells the files behind the context from what is under their names later.
    """

    context: ssl.SSLContext
    sessions: SessionStore
    stamps: Hashable


class TLSProfile:
    """The shared side of all TLS connections made with one `TLSConfig`.

    Attributes:
        config: the settings.
        bios: what the connections speak with OpenSSL through.
    """

    __slots__ = ("_offers", "bios", "config")

    def __init__(self, config: TLSConfig) -> None:
        self.config = config
        self.bios = make_bios()
        self._offers: dict[tuple[str, ...], Offer] = {}

    @property
    def identity(self) -> Hashable:
        """Equal for two profiles exactly if connections may be shared between them."""
        return self.config

    def offer(self, protocols: tuple[str, ...]) -> Offer:
        """Context and sessions, made at the first use, and anew when a file of certificates or keys has changed.

        Args:
            protocols: what is offered in the handshake, in order of preference. What a caller's own context offers is
                the caller's affair.

        Raises:
            TLSError: a file of certificates or keys cannot be loaded.
        """
        stamps = _stamps(self.config)
        offer = self._offers.get(protocols)
        if offer is None or offer.stamps != stamps:
            try:
                context = _find_context(self.config, protocols, stamps)
            except TLSError:
                # A certificate and its key are not replaced in one step: until they go together the old pair is good.
                if offer is None:
                    raise
            else:
                offer = self._offers[protocols] = Offer(context, SessionStore(), stamps)
        return offer

    def pins_for(self, host: str) -> frozenset[str]:
        """The pins that hold for `host`; empty if it is not pinned."""
        return pins_for(host, self.config.pins)


def _find_context(config: TLSConfig, protocols: tuple[str, ...], stamps: Hashable) -> ssl.SSLContext:
    if isinstance(config.trust, ssl.SSLContext):
        return config.trust
    if len(config.client_cert or ()) > 2:
        # A password must not outlive its settings in what the whole process shares.
        return _make_context(config, protocols)
    key = (
        protocols,
        config.minimum_version,
        config.maximum_version,
        config.older_suites,
        config.trust,
        config.client_cert,
        config.keylog_file,
        stamps,
    )
    context = _contexts.get(key)
    if context is None:
        context = _make_context(config, protocols)
        while len(_contexts) >= _MAX_CONTEXTS:
            del _contexts[next(iter(_contexts))]
        _contexts[key] = context
    return context


def _stamps(config: TLSConfig) -> Hashable:
    """Tells the files of some settings from what is under their names later."""
    if isinstance(config.trust, ssl.SSLContext):
        return None
    return tuple(_stamp(path) for path in (*config.trust_paths, *(config.client_cert or ())[:2]))


def _stamp(path: str) -> Hashable:
    try:
        found = os.stat(path)  # noqa: PTH116 - looked at for each handshake, and a Path costs three times the call
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _make_context(config: TLSConfig, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[config.minimum_version]
    if config.maximum_version is not None:
        context.maximum_version = _VERSIONS[config.maximum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    # RFC 9110 §4.3.4: a common name is no reference identity.
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(list(protocols))
    if config.older_suites:
        context.set_ciphers(":".join(config.older_suites))
    try:
        _load_trust(context, config)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(f"trust: {config.trust!r} cannot be loaded: {error}") from error
    if config.client_cert is not None:
        _load_client_cert(context, *config.client_cert)
    if config.keylog_file is not None:
        try:
            _make_private(config.keylog_file)
            context.keylog_filename = config.keylog_file
        except OSError as error:
            raise _unusable(f"keylog_file cannot be opened: {error.strerror}") from error
    return context


def _make_private(path: str) -> None:
    """Make a file that only its owner may read; one that is there stays as it is."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _unusable(what: str) -> TLSError:
    """An error of our own settings."""
    error = TLSError(what, phase="tls")
    error.is_local = True
    return error


def _load_trust(context: ssl.SSLContext, config: TLSConfig) -> None:
    if config.trust == "system":
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif config.trust == "certifi":
        import certifi

        context.load_verify_locations(certifi.where())
    for path in config.trust_paths:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(path)


def _load_client_cert(context: ssl.SSLContext, certfile: str, keyfile: str, password: str | None = None) -> None:
    def answer() -> str:
        # Without an answer OpenSSL would ask at the terminal.
        if password is None:
            raise ValueError("the key is encrypted and there is no password")
        return password

    try:
        context.load_cert_chain(certfile, keyfile, answer)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise _unusable(f"client_cert: {Path(certfile).name!r} cannot be loaded: {error}") from error
