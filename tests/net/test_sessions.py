"""TLS sessions are resumed per endpoint, and the pin verdict travels with them."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from penstock._errors import PinMismatch, TLSError
from penstock._net import sessions
from penstock._net.sessions import MAX_SESSIONS, SessionStore, StoredSession
from penstock._net.stream import ByteStream, look, send_all
from penstock._net.tls import TLSProfile, TLSStream, start_tls
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.tls_peer import TLSPeer
from tests.support.tls_server import echo, serve_tls

TLS12 = ssl.TLSVersion.TLSv1_2
LEAF_PIN = forge.leaf_pin(forge.leaf())
ROOT_PIN = forge.pin_of(forge.root().cert_pem.bytes())
PINS = {forge.HOST: [LEAF_PIN]}
ENDPOINT = (forge.HOST, 443)
OFFER = ("http/1.1",)


class Clock:
    """The wall clock, stopped."""

    def __init__(self, now: float) -> None:
        self._now = now

    def time(self) -> float:
        return self._now


async def use(profile: TLSProfile, context: ssl.SSLContext, *, host: str = forge.HOST, port: int = 443) -> TLSStream:
    """One connection with one answer on it."""
    peer = TLSPeer(context)
    stream = await start_tls(peer, profile, host=host, port=port)
    stream.try_send(b"request")
    peer.send(b"answer")
    assert stream.try_receive(100) == b"answer"
    stream.close()
    return stream


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_the_second_connection_resumes(version: str) -> None:
    maximum = ssl.TLSVersion[version.replace(".", "_")]
    context = forge.server(forge.leaf(), minimum=TLS12, maximum=maximum)
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), minimum_version="TLSv1.2"))
    reused = [(await use(profile, context)).session_reused for _ in range(3)]
    assert reused == [False, True, True]


async def test_over_sockets_as_well(connect: Callable[[int], Awaitable[ByteStream]]) -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file()))
    with serve_tls(forge.server(forge.leaf()), echo) as server:
        for _ in range(2):
            stream = await start_tls(await connect(server.port), profile, host=forge.HOST, port=server.port)
            await send_all(stream, b"ping")
            while stream.try_receive(100) is None:
                await stream.wait_readable()
            stream.close()
    assert server.reused == [False, True]


async def test_a_connection_that_was_only_looked_at_leaves_its_session() -> None:
    profile, context = TLSProfile(TLSConfig(trust=forge.root_file())), forge.server(forge.leaf())
    stream = await start_tls(TLSPeer(context), profile, host=forge.HOST, port=443)
    assert look(stream) is None
    stream.close()
    assert (await use(profile, context)).session_reused


async def test_a_session_is_asked_for_only_where_the_kept_one_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking costs about as much as the resumed handshake itself."""
    profile, context = TLSProfile(TLSConfig(trust=forge.root_file())), forge.server(forge.leaf())
    await use(profile, context)
    kept = profile.offer(OFFER).sessions.get(ENDPOINT)
    assert kept is not None
    life = min(kept.session.timeout, kept.session.ticket_lifetime_hint)
    assert (await use(profile, context)).session_reused
    assert profile.offer(OFFER).sessions.get(ENDPOINT) is kept
    monkeypatch.setattr(sessions, "time", Clock(kept.session.time + life / 2))
    assert (await use(profile, context)).session_reused
    newer = profile.offer(OFFER).sessions.get(ENDPOINT)
    assert newer is not None
    assert newer.session is not kept.session


async def test_a_clock_that_was_set_back_does_not_keep_a_session_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    profile, context = TLSProfile(TLSConfig(trust=forge.root_file())), forge.server(forge.leaf())
    await use(profile, context)
    kept = profile.offer(OFFER).sessions.get(ENDPOINT)
    assert kept is not None
    monkeypatch.setattr(sessions, "time", Clock(kept.session.time - 1))
    assert not kept.is_lasting


async def test_dials_at_once_ask_for_one_session() -> None:
    profile, context = TLSProfile(TLSConfig(trust=forge.root_file())), forge.server(forge.leaf())
    peers = [TLSPeer(context) for _ in range(3)]
    streams = [await start_tls(peer, profile, host=forge.HOST, port=443) for peer in peers]
    kept = []
    for stream, peer in zip(streams, peers, strict=True):
        peer.send(b"answer")
        stream.try_receive(100)
        kept.append(profile.offer(OFFER).sessions.get(ENDPOINT))
    assert kept == [kept[0]] * 3
    assert kept[0] is not None


async def test_a_server_that_takes_each_session_once_is_given_a_new_one_each_time() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file()))
    first, second = forge.server(forge.leaf()), forge.server(forge.leaf(key=1))
    await use(profile, first)
    # Refused, as a session that was used before would be.
    assert not (await use(profile, second)).session_reused
    before = profile.offer(OFFER).sessions.get(ENDPOINT)
    assert before is not None
    for _ in range(2):
        assert (await use(profile, second)).session_reused
        after = profile.offer(OFFER).sessions.get(ENDPOINT)
        assert after is not None
        assert after.session is not before.session
        before = after


async def test_without_a_ticket_there_is_nothing_to_keep() -> None:
    profile, context = TLSProfile(TLSConfig(trust=forge.root_file())), forge.server(forge.leaf())
    context.num_tickets = 0
    await use(profile, context)
    assert len(profile.offer(OFFER).sessions) == 0


async def test_it_can_be_switched_off() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), session_resumption=False))
    context = forge.server(forge.leaf())
    assert [(await use(profile, context)).session_reused for _ in range(2)] == [False, False]
    assert len(profile.offer(OFFER).sessions) == 0


async def test_sessions_are_not_shared_between_endpoints_or_profiles() -> None:
    profile, context = TLSProfile(TLSConfig(trust=forge.root_file())), forge.server(forge.leaf())
    await use(profile, context)
    assert not (await use(profile, context, port=444)).session_reused
    assert not (await use(TLSProfile(profile.config), context)).session_reused


async def test_the_pin_verdict_travels_with_the_session() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), pins=PINS))
    context = forge.server(forge.leaf())
    await use(profile, context)
    stream = await use(profile, context)
    assert stream.session_reused
    assert stream.verified_pins == (LEAF_PIN, ROOT_PIN)


async def test_without_a_verdict_a_pinned_host_does_not_resume() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), pins=PINS))
    context = forge.server(forge.leaf())
    await use(profile, context)
    kept = profile.offer(OFFER).sessions.get(ENDPOINT)
    assert kept is not None
    profile.offer(OFFER).sessions.put(ENDPOINT, StoredSession(kept.session, ()))
    stream = await use(profile, context)
    assert not stream.session_reused
    assert stream.verified_pins == (LEAF_PIN, ROOT_PIN)
    assert (await use(profile, context)).session_reused


async def test_a_verdict_that_no_longer_matches_is_a_mismatch() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), pins=PINS))
    context = forge.server(forge.leaf())
    await use(profile, context)
    kept = profile.offer(OFFER).sessions.get(ENDPOINT)
    assert kept is not None
    profile.offer(OFFER).sessions.put(ENDPOINT, StoredSession(kept.session, (ROOT_PIN,)))
    with pytest.raises(PinMismatch):
        await use(profile, context)


async def test_a_resumed_session_is_held_to_the_same_pins() -> None:
    """The context is shared by equal settings, sessions are not: a verdict never meets other pins."""
    context = forge.server(forge.leaf())
    await use(TLSProfile(TLSConfig(trust=forge.root_file())), context)
    other = TLSProfile(TLSConfig(trust=forge.root_file(), pins={forge.HOST: ["sha256/" + "A" * 43 + "="]}))
    with pytest.raises(PinMismatch):
        await use(other, context)


async def test_a_session_that_was_offered_to_a_failed_handshake_is_dropped() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file()))
    await use(profile, forge.server(forge.leaf()))
    assert len(profile.offer(OFFER).sessions) == 1
    peer = TLSPeer(forge.server(forge.leaf()))
    peer.send_raw(b"\x15\x03\x03\x00\x02\x02\x28")
    with pytest.raises(TLSError):
        await start_tls(peer, profile, host=forge.HOST, port=443)
    assert len(profile.offer(OFFER).sessions) == 0


async def test_another_server_under_the_same_name_gets_a_full_handshake() -> None:
    profile = TLSProfile(TLSConfig(trust=forge.root_file()))
    await use(profile, forge.server(forge.leaf()))
    assert not (await use(profile, forge.server(forge.leaf(key=1)))).session_reused


async def test_a_session_does_not_outlive_the_files_it_was_made_under(tmp_path: Path) -> None:
    trust = tmp_path / "trust.pem"
    trust.write_bytes(forge.root().cert_pem.bytes())
    profile, context = TLSProfile(TLSConfig(trust=trust)), forge.server(forge.leaf())
    await use(profile, context)
    assert (await use(profile, context)).session_reused
    more = tmp_path / "more.pem"
    more.write_bytes(forge.root().cert_pem.bytes() + forge.stranger().cert_pem.bytes())
    more.replace(trust)
    assert not (await use(profile, context)).session_reused
    assert (await use(profile, context)).session_reused


def test_the_store_is_bounded() -> None:
    store = SessionStore()
    for port in range(MAX_SESSIONS + 10):
        store.put(("host", port), StoredSession(None, ()))  # type: ignore[arg-type]
    store.put(("host", 10), StoredSession(None, ("new",)))  # type: ignore[arg-type]
    assert len(store) == MAX_SESSIONS
    assert store.get(("host", 9)) is None


def test_the_session_that_was_offered_least_recently_goes_first() -> None:
    store = SessionStore()
    for port in range(MAX_SESSIONS):
        store.put(("host", port), StoredSession(None, ()))  # type: ignore[arg-type]
    store.get(("host", 0))
    store.put(("host", MAX_SESSIONS), StoredSession(None, ()))  # type: ignore[arg-type]
    assert store.get(("host", 0)) is not None
    assert store.get(("host", 1)) is None


def test_a_session_is_forgotten_on_demand() -> None:
    store = SessionStore()
    store.put(("host", 10), StoredSession(None, ()))  # type: ignore[arg-type]
    store.drop(("host", 10))
    store.drop(("host", 10))
    assert len(store) == 0
