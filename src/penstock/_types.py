"""The nouns every floor uses: origin, header list, timeouts in force."""

from __future__ import annotations

from typing import Literal, NamedTuple

Scheme = Literal["http", "https"]

#: What reads the heads of HTTP/1.1: "auto" is httptools where it is installed, else h11.
HTTP1EngineChoice = Literal["auto", "h11", "httptools"]

#: Header fields in wire form: lower-case names, values without edge white space, order kept.
HeaderList = list[tuple[bytes, bytes]]

DEFAULT_PORTS: dict[str, int] = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port (RFC 9110 §4.3.1): what a connection may be shared for.

    Attributes:
        scheme: "http" or "https".
        host: an A-label in lower case, an IPv4 address, or an IPv6 address without brackets.
        port: 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    @property
    def is_secure(self) -> bool:
        """Whether the origin is reached over TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as the Host header and `:authority` spell them: no default port, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"
