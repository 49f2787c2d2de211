"""Which pins hold for a host, and the pin of a certificate, held against `cryptography`."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from penstock._core.pins import certificate_pin, chain_pins, pins_for, subject_public_key_info
from tests.support import forge

LEAF = forge.der(forge.leaf().cert_chain_pems[0].bytes())
ROOT = forge.der(forge.root().cert_pem.bytes())


@pytest.mark.parametrize(
    ("pattern", "hosts", "others"),
    [
        ("a.com", ["a.com"], ["x.a.com", "ba.com", "a.com.b"]),
        ("*.a.com", ["x.a.com", "xn--b.a.com"], ["a.com", "x.y.a.com", ".a.com", "xa.com"]),
        ("**.a.com", ["a.com", "x.a.com", "x.y.a.com"], ["ba.com", "a.com.b", "x.ba.com"]),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.11"]),
    ],
)
def test_a_pattern_matches_whole_labels(pattern: str, hosts: list[str], others: list[str]) -> None:
    pins = ((pattern, ("sha256/A",)),)
    assert [bool(pins_for(host, pins)) for host in hosts] == [True] * len(hosts)
    assert [bool(pins_for(host, pins)) for host in others] == [False] * len(others)


def test_a_host_is_pinned_to_the_union_of_its_patterns() -> None:
    pins = (("**.a.com", ("1", "2")), ("*.a.com", ("3",)), ("b.a.com", ("4",)), ("c.a.com", ("5",)))
    assert pins_for("b.a.com", pins) == {"1", "2", "3", "4"}


def test_the_pin_is_that_of_cryptography() -> None:
    assert certificate_pin(LEAF) == forge.leaf_pin(forge.leaf())
    assert chain_pins([LEAF, ROOT]) == (forge.leaf_pin(forge.leaf()), forge.pin_of(forge.root().cert_pem.bytes()))


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_any_kind_of_key_is_found(kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    pem, expected = forge.self_made(key)
    assert subject_public_key_info(forge.der(pem)) == expected


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\x82\x00\x05" + b"\x00" * 5,
        LEAF[:-1],
        LEAF + b"\x00",
        LEAF[4:],
    ],
    ids=["empty", "tag only", "indefinite", "five length bytes", "long length", "cut", "followed", "inner"],
)
def test_what_is_no_der_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"byte|tag|length|element"):
        subject_public_key_info(broken)


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255), st.sampled_from(["set", "insert", "delete"])),
        min_size=1,
        max_size=4,
    )
)
def test_where_cryptography_reads_a_changed_certificate_both_find_the_same_key(
    edits: list[tuple[int, int, str]],
) -> None:
    data = bytearray(LEAF)
    for at, value, kind in edits:
        at = min(at, len(data) - 1)
        if kind == "set":
            data[at] = value
        elif kind == "insert":
            data.insert(at, value)
        else:
            del data[at]
    try:
        found = subject_public_key_info(bytes(data))
    except ValueError:
        found = None
    try:
        expected = (
            x509.load_der_x509_certificate(bytes(data))
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    except Exception:
        return
    assert found == expected


@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"byte|tag|length|element"):
        subject_public_key_info(noise)


def element(tag: int, *content: bytes) -> bytes:
    joined = b"".join(content)
    return bytes((tag, len(joined))) + joined


KEY = element(0x30, element(0x30, b"\x06\x01\x2a"), element(0x03, b"\x00key"))
BEFORE_KEY = (element(0x02, b"\x01"), *[element(0x30)] * 4)
SIGNATURE = (element(0x30), element(0x03, b"\x00"))


def test_a_version_1_certificate_has_no_version_field() -> None:
    assert subject_public_key_info(element(0x30, element(0x30, *BEFORE_KEY, KEY), *SIGNATURE)) == KEY


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (element(0x30, element(0x30, *BEFORE_KEY, KEY), *SIGNATURE, element(0x30)), "follow the signature"),
        (element(0x30, element(0x30, *BEFORE_KEY, element(0x30, KEY[2:], b"\x05\0")), *SIGNATURE), "follow the public"),
        (element(0x30, element(0x30, *BEFORE_KEY), KEY, *SIGNATURE), "no element with tag"),
    ],
)
def test_what_is_not_outlined_like_a_certificate_is_refused(broken: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        subject_public_key_info(broken)
