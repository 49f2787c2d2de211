"""The `openssl s_server` command: a TLS server that can be told to do what Python cannot."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")


class OpenSSLServer(NamedTuple):
    """A running server: its port, and the process whose standard input takes commands and data."""

    port: int
    process: subprocess.Popen[bytes]

    def type(self, line: bytes) -> None:
        """Type a line; one that begins with "R" asks for a renegotiation, others are sent to the client."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()


@contextlib.contextmanager
def serve_openssl(certificate: trustme.LeafCert, *options: str) -> Iterator[OpenSSLServer]:
    """Run `openssl s_server` on a free port of 127.0.0.1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(path)
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(path), "-key", str(path), *options]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                yield OpenSSLServer(_read_port(process), process)
            finally:
                process.kill()


def _read_port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        found = re.match(rb"ACCEPT .*:(\d+)", line)
        if found:
            return int(found[1])
    raise RuntimeError("openssl s_server did not start")
