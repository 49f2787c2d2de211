"""What a test's server says in ALPN, and who then serves the connection (RFC 7301, RFC 9113 §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.certificates import authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from penstock.testing import Handler, ScriptedPeer


def alpn_context(*protocols: str, names: tuple[str, ...] = ("localhost", "127.0.0.1")) -> ssl.SSLContext:
    """A server's TLS settings that speak `protocols`, best first; with none, ALPN is not answered."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*names).configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def serve_by_alpn(handlers: Mapping[str | None, Handler]) -> Handler:
    """Let the negotiated protocol decide who serves a connection; None is for clients with which none was."""

    async def handler(peer: ScriptedPeer) -> None:
        negotiated = None if peer.tls is None else peer.tls.selected_alpn_protocol()
        await handlers[negotiated](peer)

    return handler
