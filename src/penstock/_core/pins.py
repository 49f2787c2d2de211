"""Pins: which ones hold for a host, and the pin of a certificate.

A pin is "sha256/" and the base64 SHA-256 of a certificate's SubjectPublicKeyInfo. To find that field only the outline
of the certificate is walked (RFC 5280 §4.1), strictly by DER (X.690 §10.1): a fixed number of elements, none beyond its
parent, every length in its one shortest form.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._tls_config import PinSet

_INTEGER, _BIT_STRING, _SEQUENCE, _VERSION = 0x02, 0x03, 0x30, 0xA0


def pins_for(host: str, pins: PinSet) -> frozenset[str]:
    """The pins configured for `host` (an A-label in lower case, or an IP address); empty if it is not pinned."""
    return frozenset(pin for pattern, accepted in pins if _matches(pattern, host) for pin in accepted)


def _matches(pattern: str, host: str) -> bool:
    if pattern.startswith("**."):
        return host == pattern[3:] or host.endswith(pattern[2:])
    if pattern.startswith("*."):
        label, dot, rest = host.partition(".")
        return bool(label and dot) and rest == pattern[2:]
    return host == pattern


def chain_pins(chain: Iterable[bytes]) -> tuple[str, ...]:
    """The pins of a chain of DER certificates, in its order.

    Raises:
        ValueError: a certificate is not DER.
    """
    return tuple(certificate_pin(certificate) for certificate in chain)


def certificate_pin(certificate: bytes) -> str:
    """The pin of one DER certificate.

    Raises:
        ValueError: it is not DER.
    """
    digest = hashlib.sha256(subject_public_key_info(certificate)).digest()
    return "sha256/" + base64.b64encode(digest).decode("ascii")


def subject_public_key_info(certificate: bytes) -> bytes:
    """Cut the SubjectPublicKeyInfo, header included, out of a DER certificate.

    Raises:
        ValueError: it is not DER, or not outlined like a certificate.
    """
    at, end = _enter(certificate, 0, len(certificate), _SEQUENCE)
    if end != len(certificate):
        raise ValueError("bytes follow the certificate")
    at, to_be_signed_end = _enter(certificate, at, end, _SEQUENCE)
    algorithm = _skip(certificate, to_be_signed_end, end, _SEQUENCE)
    if _skip(certificate, algorithm, end, _BIT_STRING) != end:
        raise ValueError("bytes follow the signature")
    if certificate[at : at + 1] == bytes((_VERSION,)):
        at = _skip(certificate, at, to_be_signed_end, _VERSION)
    # serialNumber, signature, issuer, validity, subject
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE):
        at = _skip(certificate, at, to_be_signed_end, tag)
    inside, key_end = _enter(certificate, at, to_be_signed_end, _SEQUENCE)
    inside = _skip(certificate, inside, key_end, _SEQUENCE)
    if _skip(certificate, inside, key_end, _BIT_STRING) != key_end:
        raise ValueError("bytes follow the public key")
    return certificate[at:key_end]


def _skip(data: bytes, at: int, end: int, tag: int) -> int:
    return _enter(data, at, end, tag)[1]


def _enter(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends; it must have `tag` and lie before `end`."""
    if at + 2 > end or data[at] != tag:
        raise ValueError(f"no element with tag {tag:#04x} at byte {at}")
    length = data[at + 1]
    begin = at + 2
    if length >= 0x80:
        # At most 4 bytes: TLS bounds a certificate to 16 MiB.
        size = length & 0x7F
        begin += size
        if not 1 <= size <= 4 or begin > end:
            raise ValueError(f"no definite length at byte {at + 1}")
        length = int.from_bytes(data[at + 2 : begin], "big")
        if length < 0x80 or length >> 8 * (size - 1) == 0:
            raise ValueError(f"a length longer than needed at byte {at + 1}")
    if length > end - begin:
        raise ValueError(f"the element at byte {at} is longer than what it is in")
    return begin, begin + length
