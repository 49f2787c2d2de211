"""TLS sessions kept for resumption, with the pin verdict that was reached when they began.

A resumed session presents no certificate, so what was verified once travels beside it. A session is kept per host and
port inside one TLS profile; the profile stands for trust, pins and client certificate. One session may be resumed by
several connections: that a ticket used twice can be linked (RFC 8446 §C.4) hides nothing from a server that sees the
same credentials on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

#: Endpoints remembered; beyond it the one that was used least recently is forgotten. A session takes a few KiB.
MAX_SESSIONS = 256

Endpoint = tuple[str, int]


class StoredSession(NamedTuple):
    """A session to resume and the pins verified in its full handshake (empty if the host was not pinned)."""

    session: ssl.SSLSession
    verified_pins: tuple[str, ...]


class SessionStore:
    """The newest session of each endpoint."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[Endpoint, StoredSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, endpoint: Endpoint) -> StoredSession | None:
        """The session to offer to `endpoint`."""
        return self._sessions.get(endpoint)

    def put(self, endpoint: Endpoint, stored: StoredSession) -> None:
        """Keep a session in place of an older one."""
        self._sessions.pop(endpoint, None)
        self._sessions[endpoint] = stored
        if len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def drop(self, endpoint: Endpoint) -> None:
        """Forget the session of an endpoint."""
        self._sessions.pop(endpoint, None)
