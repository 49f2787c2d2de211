"""The two memory BIOs through which TLS streams speak with OpenSSL.

A memory BIO never gives memory back: after one read of 64 KiB it holds 87 KiB until its connection is closed, and most
connections of a pool are idle. Calls into OpenSSL never wait, so one pair serves all streams of a profile in turn:
every call finds it empty, and whoever made the call empties it. It belongs to one thread, as the profile's pool does.
"""

from __future__ import annotations

import ssl
from typing import NamedTuple


class BIOs(NamedTuple):
    """Ciphertext on its way into OpenSSL, and out of it."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO


def make_bios() -> BIOs:
    """An empty pair."""
    return BIOs(ssl.MemoryBIO(), ssl.MemoryBIO())


def discard_stale(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
    """Drop what a call left there that an interrupt, a `KeyboardInterrupt` say, cut off from its stream.

    It must not get into another stream. Its own lacks a record from then on, and fails by that.
    """
    incoming.read()
    outgoing.read()
