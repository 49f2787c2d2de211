"""What a user may set about TLS, checked when it is made."""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

TLSVersion = Literal["TLSv1.2", "TLSv1.3"]
PinSet = tuple[tuple[str, tuple[str, ...]], ...]
PIN_PREFIX = "sha256/"

_VERSIONS: tuple[str, ...] = get_args(TLSVersion)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_PATTERN = re.compile(rf"(?:\*\*?\.)?{_LABEL}(?:\.{_LABEL})*|[0-9a-f:.]*:[0-9a-f:.]*")


def _check_version(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value not in _VERSIONS and not (value is None and field.default is None):
        raise ValueError(f"{field.name} must be one of {', '.join(map(repr, _VERSIONS))}, not {value!r}")


def _check_type(*kinds: type) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds):
            raise TypeError(f"{field.name} must be {' or '.join(kind.__name__ for kind in kinds)}, not {value!r}")

    return check


def _to_suites(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise TypeError(f"ciphers must be suite names, not {value!r}")
    names = value.split(":") if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"ciphers must be suite names, not {value!r}")
    return tuple(dict.fromkeys(names))


def _to_trust(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(_to_trust(path) for path in value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _check_trust(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, tuple):
        if not value or not all(isinstance(path, str) for path in value):
            raise TypeError(f"{field.name} must hold at least one path, each a str, not {value!r}")
    elif not isinstance(value, str | ssl.SSLContext):
        raise TypeError(f"{field.name} must be str, paths or SSLContext, not {value!r}")


def _to_client_cert(value: Iterable[str | os.PathLike[str]] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError("client_cert must be (certfile, keyfile) or (certfile, keyfile, password)")
    parts = tuple(os.fspath(part) if isinstance(part, os.PathLike) else part for part in value)
    if not all(isinstance(part, str) for part in parts):
        raise TypeError("client_cert must hold paths and a password, each a str")
    if len(parts) not in (2, 3):
        raise ValueError("client_cert must be (certfile, keyfile) or (certfile, keyfile, password)")
    return parts


def _to_keylog(value: str | os.PathLike[str] | None) -> str | None:
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if path is not None and not isinstance(path, str):
        raise TypeError(f"keylog_file must be a str or an os.PathLike, not {value!r}")
    return path


def _to_pins(value: Mapping[str, Sequence[str]] | PinSet) -> PinSet:
    """Bring pins into one form, so that equal pin sets are equal values."""
    if not isinstance(value, Mapping | tuple):
        raise TypeError(f"pins must map host patterns to lists of pins, not {value!r}")
    found: dict[str, set[str]] = {}
    pairs = tuple(value.items()) if isinstance(value, Mapping) else value
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"pins must map host patterns to lists of pins, not {value!r}")
    for pattern, pins in pairs:
        if not isinstance(pattern, str):
            raise TypeError(f"pins: a host pattern must be a str, not {pattern!r}")
        if isinstance(pins, str) or not isinstance(pins, Iterable):
            raise TypeError(f"pins[{pattern!r}] must be a list of pins, not {pins!r}")
        name = pattern.lower().removesuffix(".")
        if not _PATTERN.fullmatch(name):
            raise ValueError(
                f"pins: {pattern!r} is no host pattern; use 'host', '*.host' (exactly one label) or '**.host' (any "
                "number of labels), with international names as A-labels ('xn--…')"
            )
        found.setdefault(name, set()).update(_check_pin(pattern, pin) for pin in pins)
        if not found[name]:
            raise ValueError(f"pins[{pattern!r}] is empty; leave the pattern out to accept any key")
    return tuple((name, tuple(sorted(pins))) for name, pins in sorted(found.items()))


def _check_pin(pattern: str, pin: object) -> str:
    if isinstance(pin, str) and pin.startswith(PIN_PREFIX):
        try:
            digest = base64.b64decode(pin.removeprefix(PIN_PREFIX), validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) == 32:
            return PIN_PREFIX + base64.b64encode(digest).decode("ascii")
    raise ValueError(f"pins[{pattern!r}]: {pin!r} is no pin; a pin is 'sha256/' and 32 bytes in base64")


def _hide_key(value: tuple[str, ...] | None) -> str:
    return "None" if value is None else f"({value[0]!r}, …)"


@attrs.frozen(kw_only=True, cache_hash=True)
class TLSConfig:
    """TLS settings of a pool or of an upstream. Hashable; equal settings may share connections and sessions.

    Attributes:
        minimum_version: "TLSv1.3", or "TLSv1.2" to allow the older version too, with renegotiation refused.
        maximum_version: None for the newest that OpenSSL knows.
        ciphers: names of the only suites that may be used, as a list or joined by colons; None leaves it to OpenSSL.
            Suites of TLS 1.2 are set; those of TLS 1.3 Python cannot choose, so whatever was negotiated is compared
            with this list before a request byte is sent. The list must hold a suite for every allowed version.
        trust: "certifi", "system", the path of a PEM file or of a hashed directory, a tuple of such paths that are
            trusted together, or an `ssl.SSLContext`, which is used as it is and never changed: `maximum_version`,
            `ciphers`, `client_cert` and `keylog_file` are then settings of the context, while the negotiated version is
            still held against `minimum_version`.
        client_cert: (certfile, keyfile) or (certfile, keyfile, password).
        pins: host pattern to pins: "sha256/" and the base64 SHA-256 of a SubjectPublicKeyInfo. A pattern is a host,
            "*." and a host for exactly one more label, or "**." and a host for any number of labels, none included.
            A host is pinned to the union of all patterns it matches; one match anywhere in the verified chain suffices.
        session_resumption: whether a further connection to an endpoint may resume the TLS session of an earlier one.
        keylog_file: where to append TLS secrets, for Wireshark. Whoever reads the file reads the traffic;
            a new one is made readable by its owner only.

    Raises:
        ValueError: a value is out of range, or contradicts another.
        TypeError: a value has the wrong type.
    """

    minimum_version: TLSVersion = attrs.field(default="TLSv1.3", validator=_check_version)
    maximum_version: TLSVersion | None = attrs.field(default=None, validator=_check_version)
    ciphers: tuple[str, ...] | None = attrs.field(default=None, converter=_to_suites)
    trust: str | tuple[str, ...] | ssl.SSLContext = attrs.field(
        default="certifi", converter=_to_trust, validator=_check_trust
    )
    client_cert: tuple[str, ...] | None = attrs.field(default=None, converter=_to_client_cert, repr=_hide_key)
    pins: PinSet = attrs.field(default=(), converter=_to_pins)
    session_resumption: bool = attrs.field(default=True, validator=_check_type(bool))
    keylog_file: str | None = attrs.field(default=None, converter=_to_keylog)

    def __attrs_post_init__(self) -> None:
        """Check the fields against each other."""
        if self.maximum_version is not None and self.maximum_version < self.minimum_version:
            raise ValueError(
                f"maximum_version must be at least minimum_version ({self.minimum_version}), not {self.maximum_version}"
            )
        if isinstance(self.trust, ssl.SSLContext):
            self._check_context(self.trust)
        elif self.trust not in ("certifi", "system"):
            for path in self.trust_paths:
                if not Path(path).exists():
                    raise ValueError(f"trust: {path!r} is neither 'certifi', 'system' nor an existing path")
        if self.client_cert is not None:
            for path in self.client_cert[:2]:
                if not Path(path).is_file():
                    raise ValueError(f"client_cert: a file is missing ({Path(path).name!r})")
        if self.ciphers is not None:
            self._check_ciphers(self.ciphers)

    @property
    def trust_paths(self) -> tuple[str, ...]:
        """The files and directories that `trust` names."""
        if isinstance(self.trust, tuple):
            return self.trust
        return () if isinstance(self.trust, ssl.SSLContext) or self.trust in ("certifi", "system") else (self.trust,)

    @property
    def older_suites(self) -> tuple[str, ...]:
        """The suites of `ciphers` that belong to TLS 1.2."""
        return tuple(name for name in self.ciphers or () if not name.startswith("TLS_"))

    def _check_context(self, context: ssl.SSLContext) -> None:
        for name in ("maximum_version", "ciphers", "client_cert", "keylog_file"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} belongs to the SSLContext given as trust; set it there")
        if context.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise ValueError("trust: the SSLContext is made for servers; use ssl.PROTOCOL_TLS_CLIENT")
        if self.pins and context.verify_mode is not ssl.CERT_REQUIRED:
            raise ValueError("pins need verification, but the SSLContext given as trust has no CERT_REQUIRED")
        if self.minimum_version < "TLSv1.3" and not context.options & ssl.OP_NO_RENEGOTIATION:
            raise ValueError(
                "minimum_version: TLS 1.2 needs ssl.OP_NO_RENEGOTIATION in the options of the SSLContext given as trust"
            )

    def _check_ciphers(self, names: tuple[str, ...]) -> None:
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.older_suites:
            try:
                probe.set_ciphers(":".join(self.older_suites))
            except ssl.SSLError:
                raise ValueError(f"ciphers: OpenSSL knows none of {', '.join(self.older_suites)}") from None
        known: set[str] = {suite["name"] for suite in probe.get_ciphers()}
        for name in names:
            if name not in known:
                raise ValueError(f"ciphers: {name!r} is not the name of a suite that OpenSSL has enabled")
        if self.maximum_version != "TLSv1.2" and len(self.older_suites) == len(names):
            raise ValueError("ciphers must hold a suite of TLS 1.3 ('TLS_…') unless maximum_version is 'TLSv1.2'")
        if self.minimum_version == "TLSv1.2" and not self.older_suites:
            raise ValueError("ciphers must hold a suite of TLS 1.2 unless minimum_version is 'TLSv1.3'")
