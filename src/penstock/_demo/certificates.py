"""The server's certificate, made fresh for each run and trusted by nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trustme

from .loopback import HOST

#: Fixed, since it decides what a handshake costs: trustme's elliptic curve is NIST P-256, the usual choice today.
KEY_TYPE = trustme.KeyType.ECDSA
KEY_NAME = "ECDSA P-256"


class Certificates(NamedTuple):
    """Files in PEM form.

    Attributes:
        authority: the certificate that the client trusts.
        chain: the server's certificate and the intermediate one.
        key: the server's private key.
    """

    authority: Path
    chain: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make an authority, an intermediate one as public servers have it, and a certificate for the loopback address."""
    root = trustme.CA(key_type=KEY_TYPE)
    leaf = root.create_child_ca(key_type=KEY_TYPE).issue_cert(HOST, key_type=KEY_TYPE)
    certificates = Certificates(folder / "authority.pem", folder / "chain.pem", folder / "key.pem")
    root.cert_pem.write_to_path(certificates.authority)
    certificates.chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    certificates.key.touch(mode=0o600)
    leaf.private_key_pem.write_to_path(certificates.key)
    return certificates
