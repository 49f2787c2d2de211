"""What came behind an answer inside TLS is found without another read; what did not come costs nothing."""

from __future__ import annotations

import pytest

from penstock._events import CloseReason
from penstock._http.h1 import HTTP1Connection
from penstock._net.tls import TLSProfile, start_tls
from penstock._tls_config import TLSConfig
from tests.support import forge
from tests.support.tls_peer import TLSPeer


class CountingPeer(TLSPeer):
    """Counts the reads."""

    reads = 0

    def try_receive(self, max_bytes: int) -> bytes | None:
        self.reads += 1
        return super().try_receive(max_bytes)


async def connect() -> tuple[HTTP1Connection, CountingPeer]:
    peer = CountingPeer(forge.server(forge.leaf()))
    stream = await start_tls(peer, TLSProfile(TLSConfig(trust=forge.root_file())), host=forge.HOST, port=443)
    return HTTP1Connection(stream), peer


async def test_a_quiet_connection_is_not_read_from() -> None:
    connection, peer = await connect()
    peer.send(b"answer")
    assert connection.stream.try_receive(6) == b"answer"
    assert connection.stream.try_receive(6) is None
    before = peer.reads
    assert connection.look_behind() is None
    assert peer.reads == before


@pytest.mark.parametrize(
    ("behind", "reason"), [(b"more", CloseReason.UNSOLICITED_DATA), (None, CloseReason.PEER_CLOSED)]
)
async def test_what_was_decrypted_with_the_answer_is_found(behind: bytes | None, reason: CloseReason) -> None:
    connection, peer = await connect()
    peer.tls.write(b"answer")
    if behind is None:
        peer.send_close_notify()
    else:
        peer.send(behind)
    assert connection.stream.try_receive(6) == b"answer"
    before = peer.reads
    assert connection.look_behind() is reason
    # One read at most: an end within TLS may be the transport's too.
    assert peer.reads <= before + 1
