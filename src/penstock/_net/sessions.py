"""TLS sessions kept for resumption, with the pin verdict that was reached when they began.

A resumed session presents no certificate, so what was verified once travels beside it. A session is kept per host and
port, and name of the server where that is another, inside one TLS profile; the profile stands for trust, pins and
client certificate. One session may be resumed by several connections: that a ticket used twice can be linked (RFC 8446
§C.4) hides nothing from a server that sees the same credentials on both.

To ask OpenSSL for a session is dear: Python copies it by way of its encoding, the parsed certificate included, for
about a third of what a resumed handshake costs. So a session is replaced only after half of its life, and where the
server takes each of them once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

#: Endpoints remembered; beyond it the one that was used least recently is forgotten. A session takes a few KiB.
MAX_SESSIONS = 256

#: Host and port, and the name that the server goes by where it is not the host.
Endpoint = tuple[str, int] | tuple[str, int, str]


class StoredSession(NamedTuple):
    """A session to resume.

    Attributes:
        session: as OpenSSL made it.
        verified_pins: the pins verified in its full handshake; empty if the host was not pinned.
        serves_once: whether the server has refused to resume a session before, as it does where each is good for once.
    """

    session: ssl.SSLSession
    verified_pins: tuple[str, ...]
    serves_once: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether it may be resumed again and has more than half of its life before it."""
        session = self.session
        # A server that says nothing in TLS 1.2 sends 0 (RFC 5077 §3.3).
        life = min(session.timeout, session.ticket_lifetime_hint or session.timeout)
        return not self.serves_once and 0 <= time.time() - session.time < life / 2


class SessionStore:
    """The newest session of each endpoint."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[Endpoint, StoredSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, endpoint: Endpoint) -> StoredSession | None:
        """The session to offer to `endpoint`."""
        stored = self._sessions.pop(endpoint, None)
        if stored is not None:
            self._sessions[endpoint] = stored
        return stored

    def put(self, endpoint: Endpoint, stored: StoredSession) -> None:
        """Keep a session in place of an older one."""
        self._sessions.pop(endpoint, None)
        self._sessions[endpoint] = stored
        if len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def drop(self, endpoint: Endpoint) -> None:
        """Forget the session of an endpoint."""
        self._sessions.pop(endpoint, None)


class SessionKeeper:
    """Takes the session of one connection, if the store has no use of the one that it holds."""

    __slots__ = ("_endpoint", "_serves_once", "_store", "_verified_pins")

    def __init__(
        self, store: SessionStore, endpoint: Endpoint, verified_pins: tuple[str, ...], *, serves_once: bool
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._verified_pins = verified_pins
        self._serves_once = serves_once

    @property
    def is_needed(self) -> bool:
        """Whether the session is to be asked for."""
        kept = self._store.get(self._endpoint)
        return kept is None or not kept.is_lasting

    def keep(self, session: ssl.SSLSession) -> None:
        """Put it into the store."""
        self._store.put(self._endpoint, StoredSession(session, self._verified_pins, self._serves_once))
