"""nghttpd, the server of the nghttp2 project: HTTP/2 by somebody else, and nothing but HTTP/2.

It serves files from `directory/content`:

    /small          15 bytes of text
    /large          1 MiB; `tests.support.nginx.large_body()` has it
    /empty          nothing
    anything else   404

and sends back what is uploaded by POST and PUT, whatever the path.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.certificates import authority
from tests.support.nginx import SMALL, large_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Between finding a port and using it, somebody else may have taken it.
_ATTEMPTS = 5


class Nghttpd(NamedTuple):
    """A running nghttpd.

    Attributes:
        port: on 127.0.0.1; over TLS the certificate is for "localhost" and 127.0.0.1.
        tls: whether it speaks TLS; it then refuses clients that do not offer "h2".
        directory: content and log.
        process: the child.
    """

    port: int
    tls: bool
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The origin."""
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """What it said; every frame with `verbose`."""
        return (self.directory / "nghttpd.log").read_text()


def find_nghttpd() -> str:
    """The path of nghttpd; skips the test where there is none."""
    found = shutil.which("nghttpd") or shutil.which("nghttpd", path="/usr/sbin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        pytest.skip("nghttpd is not installed (Debian: apt-get install nghttp2-server)")
    return found


@contextmanager
def run_nghttpd(
    directory: Path,
    *,
    tls: bool = False,
    max_concurrent_streams: int = 100,
    trailer: str | None = None,
    early_response: bool = False,
    verbose: bool = False,
    extra: Sequence[str] = (),
) -> Iterator[Nghttpd]:
    """Run nghttpd for the length of the block.

    Args:
        directory: an empty directory, for everything it serves and says.
        tls: whether it speaks TLS, or cleartext by prior knowledge (RFC 9113 §3.3).
        max_concurrent_streams: how many streams it allows a connection.
        trailer: sent after every body, as "name: value".
        early_response: whether it answers before a request has ended.
        verbose: whether every frame stands in its log.
        extra: further options of the command.
    """
    options = ["--address=127.0.0.1", f"--htdocs={directory / 'content'}", "--echo-upload"]
    options += [f"--max-concurrent-streams={max_concurrent_streams}", *extra]
    options += [] if trailer is None else [f"--trailer={trailer}"]
    options += ["--early-response"] if early_response else []
    options += ["--verbose"] if verbose else []
    options += [] if tls else ["--no-tls"]
    _write_content(directory)
    files = [str(directory / "key.pem"), str(directory / "certificate.pem")] if tls else []
    running = _start(directory, [find_nghttpd(), *options], files, tls=tls)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=10)


@pytest.fixture(scope="session", params=[False, True], ids=["prior knowledge", "tls"])
def nghttpd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nghttpd]:
    """One nghttpd of each kind, with default settings, for the whole test run."""
    with run_nghttpd(tmp_path_factory.mktemp("nghttpd"), tls=request.param) as running:
        yield running


def _write_content(directory: Path) -> None:
    content = directory / "content"
    content.mkdir()
    (content / "small").write_bytes(SMALL)
    (content / "large").write_bytes(large_body())
    (content / "empty").write_bytes(b"")
    certificate = authority().issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(directory / "certificate.pem", append=True)


def _start(directory: Path, command: list[str], files: list[str], *, tls: bool) -> Nghttpd:
    """It takes no socket that is open already, and does not say which port it chose, so it is told one."""
    for _ in range(_ATTEMPTS):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        with (directory / "nghttpd.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, str(port), *files], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        if _listens(port, process):
            return Nghttpd(port, tls, directory, process)
        process.kill()
        process.wait(timeout=10)
    raise RuntimeError(f"nghttpd does not listen:\n{(directory / 'nghttpd.log').read_text()}")


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    for _ in range(500):
        if process.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False
