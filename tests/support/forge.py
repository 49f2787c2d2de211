"""Certificates with chosen flaws, and the pins that `cryptography` computes for them."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ssl
import tempfile
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

HOST = "server.example"
_DAY = dt.timedelta(days=1)


@cache
def root() -> trustme.CA:
    """The authority that clients of these tests trust."""
    return trustme.CA()


@cache
def stranger() -> trustme.CA:
    """An authority nobody trusts."""
    return trustme.CA()


@cache
def root_file() -> str:
    """The path of the trusted authority's certificate."""
    with tempfile.NamedTemporaryFile(prefix="penstock-root-", suffix=".pem", delete=False) as file:
        file.write(root().cert_pem.bytes())
    return file.name


@cache
def leaf(*names: str, key: int = 0) -> trustme.LeafCert:
    """A good certificate for `names` (`HOST` by default); another `key` number, another key."""
    return root().issue_cert(*(names or (HOST,)))


def server(
    certificate: trustme.LeafCert,
    *,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    appended: bytes = b"",
) -> ssl.SSLContext:
    """A server's context; `appended` is PEM that follows the certificate's own chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.maximum_version = maximum
    chain = certificate.private_key_pem.bytes() + b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    _load(context, chain + appended)
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chain.pem")
        path.write_bytes(pem)
        context.load_cert_chain(path)


def der(pem: bytes) -> bytes:
    """The first certificate of a PEM file, as DER."""
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def pin_of(pem: bytes) -> str:
    """The pin of the first certificate of a PEM file."""
    info = (
        x509.load_pem_x509_certificate(pem)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return "sha256/" + base64.b64encode(hashlib.sha256(info).digest()).decode()


def leaf_pin(certificate: trustme.LeafCert) -> str:
    """The pin of a certificate's own key."""
    return pin_of(certificate.cert_chain_pems[0].bytes())


def expired(name: str = HOST) -> trustme.LeafCert:
    """Valid until yesterday."""
    now = dt.datetime.now(dt.UTC)
    return root().issue_cert(name, not_before=now - 3 * _DAY, not_after=now - _DAY)


def premature() -> trustme.LeafCert:
    """Valid from tomorrow."""
    now = dt.datetime.now(dt.UTC)
    return root().issue_cert(HOST, not_before=now + _DAY, not_after=now + 3 * _DAY)


def self_signed() -> ssl.SSLContext:
    """A server whose certificate is signed by itself."""
    return _signed(None)


def common_name_only() -> ssl.SSLContext:
    """A server whose certificate names the host only as its subject's common name."""
    return _signed(root())


def _signed(authority: trustme.CA | None) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )
    if authority is None:
        builder = builder.issuer_name(name).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False
        )
        signed = builder.sign(key, hashes.SHA256())
    else:
        issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
        issuer_key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        signed = builder.issuer_name(issuer.subject).sign(issuer_key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, private + signed.public_bytes(serialization.Encoding.PEM))
    return context


def self_made(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """A self-signed certificate over `key` as PEM, and the key's SubjectPublicKeyInfo."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + _DAY)
        .sign(key, hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else None)
    )
    info = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return made.public_bytes(serialization.Encoding.PEM), info
