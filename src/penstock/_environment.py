"""The process's environment, where it can be trusted, and what it says about TLS."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def trusted_environ(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    """`environ`, or the process's own; nothing where whoever set that may be somebody else than who is acted for.

    That is a process with more rights than its caller's (set-uid, set-gid), and a Python that was told to ignore its
    environment (-E, -I).
    """
    if environ is not None:
        return environ
    has_borrowed_rights = os.getuid() != os.geteuid() or os.getgid() != os.getegid()
    return {} if has_borrowed_rights or sys.flags.ignore_environment else os.environ


def tls_from(environ: Mapping[str, str]) -> dict[str, Any]:
    """Fields of `TLSConfig` from SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE; empty variables say nothing.

    Raises:
        ValueError: the file, or every directory, is missing, or the log cannot be written; the message names the
            variable.
    """
    fields: dict[str, Any] = {}
    trust = []
    file = environ.get("SSL_CERT_FILE")
    if file:
        if not Path(file).is_file():
            raise ValueError(f"SSL_CERT_FILE: there is no file {file!r}")
        trust.append(file)
    directories = environ.get("SSL_CERT_DIR")
    if directories:
        # Like OpenSSL: a list as in PATH, in which some are often missing.
        found = [path for path in directories.split(os.pathsep) if path and Path(path).is_dir()]
        if not found:
            raise ValueError(f"SSL_CERT_DIR: there is no directory {directories!r}")
        trust += found
    if trust:
        fields["trust"] = tuple(trust)
    keylog = environ.get("SSLKEYLOGFILE")
    if keylog:
        path = Path(keylog)
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ValueError(f"SSLKEYLOGFILE: {keylog!r} cannot be written")
        fields["keylog_file"] = keylog
    return fields
