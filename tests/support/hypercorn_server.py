"""Hypercorn on trio as a child process: HTTP/2 and HTTP/1.1 over TLS, and both in cleartext, by one ASGI application.

What it serves stands in `tests/support/hypercorn_app.py`. The listening sockets are made here and inherited, so no
port can be lost and a client that connects early waits in the backlog. In cleartext it looks at the first bytes: those
of HTTP/2's preface are prior knowledge (RFC 9113 §3.3).
"""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

import pytest

from tests.support.certificates import authority
from tests.support.hypercorn_app import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

_APP = Path(__file__).with_name("hypercorn_app.py")


class Hypercorn(NamedTuple):
    """A running hypercorn.

    Attributes:
        http_port: the cleartext port on 127.0.0.1.
        https_port: the TLS port on 127.0.0.1; the certificate is for "localhost" and 127.0.0.1.
        directory: certificate and log.
        process: the child.
    """

    http_port: int
    https_port: int
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The cleartext origin."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def tls_url(self) -> str:
        """The TLS origin, for clients that trust `tests.support.certificates.authority`."""
        return f"https://localhost:{self.https_port}"

    def log(self) -> str:
        """What it had to say, tracebacks among it."""
        return (self.directory / "hypercorn.log").read_text()


@contextmanager
def run_hypercorn(
    directory: Path,
    *,
    max_concurrent_streams: int = 100,
    keep_alive_max_requests: int = 1000,
    keep_alive_timeout: float = 75.0,
    alpn: tuple[str, ...] = ("h2", "http/1.1"),
) -> Iterator[Hypercorn]:
    """Run hypercorn for the length of the block; skips the test where it is not installed.

    Args:
        directory: an empty directory, for everything it writes.
        max_concurrent_streams: how many streams it allows a connection.
        keep_alive_max_requests: after how many requests it closes a connection; on HTTP/2 it says so by GOAWAY, and
            leaves the stream that was one too many unanswered, though it counts it as seen.
        keep_alive_timeout: seconds it keeps an idle connection.
        alpn: the protocols it speaks over TLS, best first.
    """
    if importlib.util.find_spec("hypercorn") is None:
        pytest.skip("hypercorn is not installed")
    plain, secure = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    try:
        ports = plain.getsockname()[1], secure.getsockname()[1]
        certificate = directory / "server.pem"
        authority().issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        settings = {
            "bind": [f"fd://{secure.fileno()}"],
            "insecure_bind": [f"fd://{plain.fileno()}"],
            "certfile": str(certificate),
            "keyfile": str(certificate),
            "alpn_protocols": alpn,
            "h2_max_concurrent_streams": max_concurrent_streams,
            "keep_alive_max_requests": keep_alive_max_requests,
            "keep_alive_timeout": keep_alive_timeout,
            "graceful_timeout": 1.0,
            "backlog": 1024,
        }
        with (directory / "hypercorn.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(_APP), json.dumps(settings)],
                pass_fds=(plain.fileno(), secure.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    finally:
        plain.close()
        secure.close()
    running = Hypercorn(*ports, directory, process)
    try:
        _wait_until_it_answers(running)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def hypercorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypercorn]:
    """One hypercorn with default settings for the whole test run."""
    with run_hypercorn(tmp_path_factory.mktemp("hypercorn")) as running:
        yield running


def _wait_until_it_answers(running: Hypercorn) -> None:
    """Ask once; the socket exists already, so the question waits until hypercorn is there to answer."""
    try:
        with urlopen(f"{running.url}/small", timeout=20) as response:
            assert response.read() == SMALL
    except (OSError, AssertionError) as error:
        raise RuntimeError(f"hypercorn does not answer: {error}\n{running.log()}") from error
