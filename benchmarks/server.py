"""Where a benchmark's clients ask, and what."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path
from typing import NamedTuple

#: What an HTTP/2 server here allows on one connection; nginx' own default.
STREAMS_PER_CONNECTION = 128


class Server(NamedTuple):
    """A server on 127.0.0.1.

    Attributes:
        port: its port.
        authority: path of the certificate that its own is signed with, None where there is no TLS.
        http2: whether it is to be asked over HTTP/2.
    """

    port: int
    authority: str | None = None
    http2: bool = False

    @property
    def url(self) -> str:
        """Its origin, without a slash at the end."""
        return f"{'http' if self.authority is None else 'https'}://127.0.0.1:{self.port}"

    def connections(self, in_flight: int) -> int:
        """How many connections hold that many requests at once."""
        return -(-in_flight // STREAMS_PER_CONNECTION) if self.http2 else in_flight


class Ask(NamedTuple):
    """A small request, again and again.

    Attributes:
        method: its method.
        path: its target.
        body: its content, a JSON document in bytes, None for none.
        numbered: whether each one has a query that none had before.
    """

    method: str = "GET"
    path: str = "/"
    body: bytes | None = None
    numbered: bool = False

    def urls(self, origin: str = "") -> Iterator[str]:
        """The URL of one request after the other; threads may share it."""
        url = origin + self.path
        return map(f"{url}?n=%d".__mod__, count()) if self.numbered else repeat(url)

    @property
    def fields(self) -> dict[str, str]:
        """What a caller has to say about the content."""
        return {} if self.body is None else {"content-type": "application/json"}


NO_TRUSTME = "the package trustme, which makes the server's certificate, is not installed"


class ServerMissing(RuntimeError):
    """Something that a server needs is not installed, or it did not start."""


def write_certificate(directory: Path) -> str:
    """Write `server.pem` for 127.0.0.1, with its key, and return the path of the certificate to trust.

    Raises:
        ServerMissing: nothing here can make a certificate.
    """
    try:
        import trustme
    except ModuleNotFoundError:
        raise ServerMissing(NO_TRUSTME) from None

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    path = str(directory / "authority.pem")
    authority.cert_pem.write_to_path(path)
    return path
