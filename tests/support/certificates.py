"""Certificates for tests: one authority for the whole run, since making keys is slow."""

from __future__ import annotations

import ssl
import tempfile
from functools import cache

import trustme

from penstock._tls_config import TLSConfig


@cache
def authority() -> trustme.CA:
    """The authority that signs every test certificate."""
    return trustme.CA()


@cache
def authority_file() -> str:
    """The path of the authority's certificate."""
    with tempfile.NamedTemporaryFile(prefix="penstock-authority-", suffix=".pem", delete=False) as file:
        file.write(authority().cert_pem.bytes())
    return file.name


@cache
def server_context(*names: str) -> ssl.SSLContext:
    """A server's TLS settings with a certificate for `names` ("localhost" and 127.0.0.1 by default)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
    return context


@cache
def client_context() -> ssl.SSLContext:
    """A client's context that trusts `authority` and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    authority().configure_trust(context)
    return context


def client_config() -> TLSConfig:
    """TLS settings of a client that trusts `authority` and nothing else, and offers what its pool allows."""
    return TLSConfig(trust=authority_file())
