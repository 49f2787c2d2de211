"""TLS settings are checked when they are made, and equal settings are equal values."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

from penstock._errors import TLSError
from penstock._net.tls import TLSProfile
from penstock._tls_config import TLSConfig
from tests.support import forge

PIN = "sha256/" + "A" * 43 + "="
OTHER = "sha256/" + "B" * 42 + "A="
TLS12 = "ECDHE-ECDSA-AES128-GCM-SHA256"
TLS13 = "TLS_AES_128_GCM_SHA256"
OFFER = ("http/1.1",)


def client_context(**settings: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"minimum_version": "TLSv1.1"}, ValueError, "minimum_version must be one of 'TLSv1.2', 'TLSv1.3'"),
        ({"minimum_version": None}, ValueError, "minimum_version"),
        ({"maximum_version": "TLSv1.2"}, ValueError, "maximum_version must be at least minimum_version"),
        ({"maximum_version": 3}, ValueError, "maximum_version must be one of"),
        ({"ciphers": [1]}, TypeError, "ciphers must be suite names"),
        ({"ciphers": "ECDHE+AESGCM"}, ValueError, r"'ECDHE\+AESGCM' is not the name of a suite"),
        ({"ciphers": "NONSENSE"}, ValueError, "OpenSSL knows none of NONSENSE"),
        ({"ciphers": TLS12}, ValueError, "must hold a suite of TLS 1.3"),
        ({"ciphers": TLS13, "minimum_version": "TLSv1.2"}, ValueError, "must hold a suite of TLS 1.2"),
        ({"trust": "/does/not/exist"}, ValueError, "trust: '/does/not/exist' is neither"),
        ({"trust": 5}, TypeError, "trust must be str, paths or SSLContext"),
        ({"client_cert": "file.pem"}, TypeError, "client_cert must be"),
        ({"client_cert": ("file.pem",)}, ValueError, "client_cert must be"),
        ({"client_cert": ("missing.pem", "missing.key")}, ValueError, "a file is missing"),
        ({"session_resumption": 1}, TypeError, "session_resumption must be bool"),
        ({"pins": [PIN]}, TypeError, "pins must map host patterns"),
        ({"pins": {1: [PIN]}}, TypeError, "a host pattern must be a str"),
        ({"pins": {"a.com": PIN}}, TypeError, "must be a list of pins"),
        ({"pins": {"a.com": []}}, ValueError, "is empty"),
        ({"pins": {"a.*.com": [PIN]}}, ValueError, "is no host pattern"),
        ({"pins": {"*": [PIN]}}, ValueError, "is no host pattern"),
        ({"pins": {"***.a.com": [PIN]}}, ValueError, "is no host pattern"),
        ({"pins": {"faß.de": [PIN]}}, ValueError, "is no host pattern"),
        ({"pins": {"a.com": ["sha1/AAAA"]}}, ValueError, "is no pin"),
        ({"pins": {"a.com": ["sha256/AAAA"]}}, ValueError, "is no pin"),
        ({"pins": {"a.com": [PIN[:-1]]}}, ValueError, "is no pin"),
        ({"pins": {"a.com": [b"sha256/"]}}, ValueError, "is no pin"),
    ],
)
def test_a_wrong_value_is_refused_by_name(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        TLSConfig(**settings)


@pytest.mark.parametrize(
    ("context", "settings", "words"),
    [
        ({}, {"ciphers": TLS13}, "ciphers belongs to the SSLContext"),
        ({}, {"maximum_version": "TLSv1.3"}, "maximum_version belongs to the SSLContext"),
        ({}, {"client_cert": (forge.root_file(), forge.root_file())}, "client_cert belongs to the SSLContext"),
        ({}, {"keylog_file": "keys"}, "keylog_file belongs to the SSLContext"),
        ({}, {"minimum_version": "TLSv1.2"}, "OP_NO_RENEGOTIATION"),
        ({"check_hostname": False, "verify_mode": ssl.CERT_NONE}, {"pins": {"a.com": [PIN]}}, "CERT_REQUIRED"),
    ],
)
def test_what_contradicts_a_callers_context_is_refused(
    context: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        TLSConfig(trust=client_context(**context), **settings)


def test_a_servers_context_is_refused() -> None:
    with pytest.raises(ValueError, match="made for servers"):
        TLSConfig(trust=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_a_callers_context_is_used_as_it_is() -> None:
    context = client_context(minimum_version=ssl.TLSVersion.TLSv1_2)
    before = (context.options, context.minimum_version, context.verify_mode, context.hostname_checks_common_name)
    assert TLSProfile(TLSConfig(trust=context)).offer(OFFER).context is context
    assert before == (
        context.options,
        context.minimum_version,
        context.verify_mode,
        context.hostname_checks_common_name,
    )


def test_equal_settings_are_equal_values_however_they_were_written() -> None:
    one = TLSConfig(pins={"*.A.com.": [PIN, OTHER], "b.com": (PIN,)}, ciphers=f"{TLS13}")
    two = TLSConfig(pins={"b.com": [PIN, PIN], "*.a.com": [OTHER, PIN]}, ciphers=[TLS13])
    assert one == two
    assert hash(one) == hash(two)
    assert attrs.evolve(one) == one
    assert TLSProfile(one).identity == TLSProfile(two).identity


@pytest.mark.parametrize("changed", [{"pins": {"a.com": [PIN]}}, {"trust": "system"}, {"minimum_version": "TLSv1.2"}])
def test_what_would_make_sharing_wrong_is_part_of_the_identity(changed: dict[str, Any]) -> None:
    assert TLSProfile(TLSConfig(**changed)).identity != TLSProfile(TLSConfig()).identity


def test_secrets_do_not_show(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "private.key"
    cert.touch()
    key.touch()
    shown = repr(TLSConfig(client_cert=(cert, key, "hunter2")))
    assert "cert.pem" in shown
    assert "private.key" not in shown
    assert "hunter2" not in shown


def test_profiles_with_equal_settings_share_one_context() -> None:
    first = TLSProfile(TLSConfig(trust=forge.root_file()))
    assert TLSProfile(TLSConfig(trust=forge.root_file())).offer(OFFER).context is first.offer(OFFER).context
    # Pins do not go into a context.
    assert (
        TLSProfile(TLSConfig(trust=forge.root_file(), pins={"a.com": [PIN]})).offer(OFFER).context
        is first.offer(OFFER).context
    )
    assert (
        TLSProfile(TLSConfig(trust=forge.root_file(), minimum_version="TLSv1.2")).offer(OFFER).context
        is not first.offer(OFFER).context
    )


def test_a_renewed_file_gets_a_new_context(tmp_path: Path) -> None:
    path = tmp_path / "trust.pem"
    path.write_bytes(forge.root().cert_pem.bytes())
    first = TLSProfile(TLSConfig(trust=path)).offer(OFFER).context
    path.write_bytes(forge.root().cert_pem.bytes() + forge.stranger().cert_pem.bytes())
    second = TLSProfile(TLSConfig(trust=path)).offer(OFFER).context
    assert second is not first
    assert [len(context.get_ca_certs()) for context in (first, second)] == [1, 2]


def renew(cert: Path, key: Path) -> None:
    """Put a new pair in the place of what is there."""
    issued = forge.root().issue_cert("client.example")
    for path, pem in ((cert, issued.cert_chain_pems[0]), (key, issued.private_key_pem)):
        pem.write_to_path(path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)


def test_a_profile_takes_up_renewed_files(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    renew(cert, key)
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), client_cert=(cert, key)))
    first, sessions = profile.offer(OFFER).context, profile.offer(OFFER).sessions
    assert profile.offer(OFFER).context is first
    renew(cert, key)
    second = profile.offer(OFFER).context
    assert second is not first
    assert profile.offer(OFFER).context is second
    # A session of another context cannot be offered.
    assert profile.offer(OFFER).sessions is not sessions


def test_while_files_are_replaced_the_old_ones_hold(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    renew(cert, key)
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), client_cert=(cert, key)))
    first = profile.offer(OFFER).context
    renew(cert, tmp_path / "later.pem")
    assert profile.offer(OFFER).context is first
    (tmp_path / "later.pem").replace(key)
    assert profile.offer(OFFER).context is not first


def test_a_password_stays_with_its_settings(tmp_path: Path) -> None:
    from penstock._net import tls_profile

    cert, key = encrypted(tmp_path)
    profile = TLSProfile(TLSConfig(trust=forge.root_file(), client_cert=(cert, key, "hunter2")))
    assert profile.offer(OFFER).context is profile.offer(OFFER).context
    assert "hunter2" not in repr(tls_profile._contexts)


def test_a_context_refuses_renegotiation_and_common_names() -> None:
    context = TLSProfile(TLSConfig(trust=forge.root_file(), minimum_version="TLSv1.2")).offer(OFFER).context
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert not context.hostname_checks_common_name
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("trust", ["certifi", "system"])
def test_the_public_authorities_can_be_loaded(trust: str) -> None:
    assert TLSProfile(TLSConfig(trust=trust)).offer(OFFER).context.verify_mode == ssl.CERT_REQUIRED


def test_several_files_and_folders_are_trusted_together(tmp_path: Path) -> None:
    path = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(path)
    config = TLSConfig(trust=[forge.root_file(), path, tmp_path])
    assert config == TLSConfig(trust=(forge.root_file(), str(path), str(tmp_path)))
    assert hash(config) != hash(TLSConfig(trust=forge.root_file()))
    assert TLSProfile(config).offer(OFFER).context.cert_store_stats()["x509_ca"] == 2
    with pytest.raises(ValueError, match="trust: '/nowhere' is neither"):
        TLSConfig(trust=(str(path), "/nowhere"))
    for wrong in ((), (5,)):
        with pytest.raises(TypeError, match="trust must hold at least one path"):
            TLSConfig(trust=wrong)  # type: ignore[arg-type]


def test_a_folder_of_certificates_can_be_trusted(tmp_path: Path) -> None:
    assert TLSProfile(TLSConfig(trust=tmp_path)).offer(OFFER).context.verify_mode == ssl.CERT_REQUIRED


def encrypted(tmp_path: Path) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization

    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    forge.leaf().cert_chain_pems[0].write_to_path(cert)
    plain = serialization.load_pem_private_key(forge.leaf().private_key_pem.bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
    return cert, key


def test_an_encrypted_key_needs_its_password_and_nobody_is_asked(tmp_path: Path) -> None:
    cert, key = encrypted(tmp_path)
    settings = {"trust": forge.root_file()}
    assert TLSProfile(TLSConfig(**settings, client_cert=(cert, key, "hunter2"))).offer(OFFER).context
    with pytest.raises(TLSError, match="the key is encrypted and there is no password"):
        _ = TLSProfile(TLSConfig(**settings, client_cert=(cert, key))).offer(OFFER).context
    with pytest.raises(TLSError, match=r"'cert\.pem' cannot be loaded"):
        _ = TLSProfile(TLSConfig(**settings, client_cert=(cert, key, "wrong"))).offer(OFFER).context


def test_contexts_are_not_kept_without_end(tmp_path: Path) -> None:
    from penstock._net import tls_profile

    for number in range(tls_profile._MAX_CONTEXTS + 5):
        _ = TLSProfile(TLSConfig(trust=forge.root_file(), keylog_file=str(tmp_path / str(number)))).offer(OFFER).context
    assert len(tls_profile._contexts) == tls_profile._MAX_CONTEXTS
