"""Pins against the chain that OpenSSL verified, never against what the peer merely sent.

A peer may append any certificate to the chain it presents, the pinned one included; only the verified chain proves
anything.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from .._core.pins import chain_pins
from .._errors import PinMismatch

if TYPE_CHECKING:
    from collections.abc import Collection


def verified_chain(tls: ssl.SSLObject) -> list[bytes]:
    """The chain from leaf to root that OpenSSL verified, as DER; empty on a resumed session, which has none."""
    public = getattr(tls, "get_verified_chain", None)
    if public is not None:
        return list(public())
    # Before 3.13 the method is there, but only on the inner object, and it answers with certificate objects or None.
    inner: Any = tls._sslobj  # type: ignore[attr-defined]
    chain = inner.get_verified_chain() or ()
    return [certificate.public_bytes(ssl._ssl.ENCODING_DER) for certificate in chain]  # type: ignore[attr-defined]


def verify_pins(tls: ssl.SSLObject, configured: Collection[str], *, verdict: tuple[str, ...]) -> tuple[str, ...]:
    """Hold the connection's verified keys against the configured pins.

    Args:
        tls: a finished handshake.
        configured: the pins that hold for the host; not empty.
        verdict: for a resumed session, the pins that its full handshake had verified.

    Returns:
        The pins of the verified chain, leaf first.

    Raises:
        PinMismatch: none of them is configured, or there is no chain to check.
    """
    if tls.session_reused:
        presented = verdict
    elif tls.context.verify_mode is ssl.CERT_REQUIRED:
        presented = _chain_pins(tls, configured)
    else:
        # Without verification the "verified" chain is whatever the peer sent.
        presented = ()
    if not set(configured).intersection(presented):
        raise _mismatch(presented, configured)
    return presented


def _chain_pins(tls: ssl.SSLObject, configured: Collection[str]) -> tuple[str, ...]:
    try:
        return chain_pins(verified_chain(tls))
    except ValueError as error:
        raise _mismatch((), configured, f" ({error})") from error


def _mismatch(presented: tuple[str, ...], configured: Collection[str], why: str = "") -> PinMismatch:
    accepted = sorted(configured)
    shown = ", ".join(presented) or "no verified chain"
    return PinMismatch(
        f"the certificate is valid, but no key of its chain is pinned{why}; the verified chain has: {shown}; "
        f"configured: {', '.join(accepted)}",
        presented=presented,
        configured=accepted,
    )
