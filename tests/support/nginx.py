"""nginx as a server nobody here wrote: a child process on free loopback ports, with a generated configuration.

The listening sockets are made here and inherited by nginx (its own mechanism for upgrades), so no port can be lost
between finding and using it, and a client that connects early waits in the backlog.

With `http2` it speaks HTTP/2 beside HTTP/1.1 on the TLS port (ALPN decides), and has a third port, for HTTP/2 without
TLS by prior knowledge (RFC 9113 §3.3).

What it serves, on all ports:

    /small          15 bytes of text
    /large          1 MiB; `large_body()` has it
    /slow/large     the same, 64 KiB at once and then 64 KiB a second
    /gzip           text that is compressed for who accepts it
    /echo…          "METHOD URI connection=N request=M": the server's number for the connection, and which request of
                    that connection this was
    /status/CODE    204, 304, 404, 413, 500 or 503
    /close          answers and closes
    /upload         takes a body of up to 1 MiB and answers 200; a longer one gets 413 early
    /early          refuses every body with 413 before reading it
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

import pytest

from tests.support.certificates import authority

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMALL = b"a small answer\n"


def large_body() -> bytes:
    """The content of /large: 1 MiB in which no two KiB are alike."""
    return b"".join(b"%1023d\n" % number for number in range(1024))


class Nginx(NamedTuple):
    """A running nginx.

    Attributes:
        http_port: the plain port on 127.0.0.1.
        https_port: the TLS port on 127.0.0.1; the certificate is for "localhost" and 127.0.0.1.
        directory: configuration, content and logs.
        process: the master process.
        h2c_port: the plain port on 127.0.0.1 that speaks HTTP/2 only; 0 without `http2`.
    """

    http_port: int
    https_port: int
    directory: Path
    process: subprocess.Popen[bytes]
    h2c_port: int = 0

    @property
    def url(self) -> str:
        """The plain origin."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def tls_url(self) -> str:
        """The TLS origin, for clients that trust `tests.support.certificates.authority`."""
        return f"https://localhost:{self.https_port}"

    @property
    def h2c_url(self) -> str:
        """The plain origin that speaks HTTP/2 only."""
        return f"http://127.0.0.1:{self.h2c_port}"

    def log(self) -> str:
        """What nginx had to complain about."""
        return (self.directory / "error.log").read_text()

    def requests(self) -> list[str]:
        """One line per request that has ended: "CONNECTION REQUEST-OF-CONNECTION STATUS REQUEST-LINE".

        A request is logged after its answer was sent, so the last lines are sure only once nginx has stopped.
        """
        return (self.directory / "access.log").read_text().splitlines()


def find_nginx() -> str:
    """The path of nginx; skips the test where there is none."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if found is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    return found


@contextmanager
def run_nginx(
    directory: Path,
    *,
    keepalive_requests: int = 1000,
    keepalive_timeout: str = "75s",
    tls_versions: str = "TLSv1.3",
    http2: bool = False,
    max_concurrent_streams: int = 128,
    extra: str = "",
) -> Iterator[Nginx]:
    """Run nginx for the length of the block.

    Args:
        directory: an empty directory, for everything it writes.
        keepalive_requests: after how many requests it closes a connection; on HTTP/2 it says so by GOAWAY.
        keepalive_timeout: how long it keeps an idle connection, in nginx' spelling; a second value is sent to the
            client as a hint ("75s 60s").
        tls_versions: for `ssl_protocols`.
        http2: whether it speaks HTTP/2, on the TLS port and on one of its own.
        max_concurrent_streams: how many streams it allows a connection of HTTP/2.
        extra: further lines for the `server` block.
    """
    binary = find_nginx()
    listeners = [_listener() for _ in range(3 if http2 else 2)]
    descriptors = [listener.fileno() for listener in listeners]
    try:
        ports = [listener.getsockname()[1] for listener in listeners]
        _write_content(directory)
        settings = (
            f"keepalive_requests {keepalive_requests}; keepalive_timeout {keepalive_timeout};\n"
            f"    ssl_protocols {tls_versions};\n    {extra}"
        )
        if http2:
            settings += f"\n    http2_max_concurrent_streams {max_concurrent_streams};"
        configuration = directory / "nginx.conf"
        configuration.write_text(_configuration(directory, ports, settings))
        with (directory / "stderr.log").open("wb") as complaints:
            process = subprocess.Popen(
                [binary, "-p", str(directory), "-c", str(configuration), "-e", str(directory / "error.log")],
                env={**os.environ, "NGINX": "".join(f"{descriptor};" for descriptor in descriptors)},
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
            )
    finally:
        for listener in listeners:
            listener.close()
    nginx = Nginx(ports[0], ports[1], directory, process, *ports[2:])
    try:
        _wait_until_it_answers(nginx)
        yield nginx
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One nginx with default settings for the whole test run."""
    with run_nginx(tmp_path_factory.mktemp("nginx")) as running:
        yield running


@pytest.fixture(scope="session")
def http2_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One nginx that speaks HTTP/2 as well, with default settings for the whole test run."""
    with run_nginx(tmp_path_factory.mktemp("nginx-http2"), http2=True) as running:
        yield running


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # nginx leaves an inherited socket as it is: of two workers that wake for one client, one would block in accept.
    listener.setblocking(False)
    return listener


def _wait_until_it_answers(nginx: Nginx) -> None:
    """Ask once; the socket exists already, so the question waits until nginx is there to answer."""
    try:
        with urlopen(f"{nginx.url}/small", timeout=10) as response:
            assert response.read() == SMALL
    except (OSError, AssertionError) as error:
        complaints = (nginx.directory / "stderr.log").read_text()
        raise RuntimeError(f"nginx does not answer: {error}\n{complaints}") from error


def _write_content(directory: Path) -> None:
    content = directory / "content"
    content.mkdir()
    (content / "small").write_bytes(SMALL)
    (content / "large").write_bytes(large_body())
    (content / "gzip").write_bytes(b"the same words over and over\n" * 200)
    certificate = authority().issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")


def _configuration(directory: Path, ports: Sequence[int], settings: str) -> str:
    # `listen … http2` is the spelling that nginx 1.9 to 1.25 know, and later ones still take.
    http2 = " http2" if len(ports) > 2 else ""
    prior_knowledge = "".join(f"\n    listen 127.0.0.1:{port} http2;" for port in ports[2:])
    # Workers of a root process drop to nobody, who cannot read a temporary directory of root.
    user = "user root;" if os.getuid() == 0 else ""
    statuses = "\n".join(
        f"    location = /status/{status} {{ return {status}; }}" for status in (204, 304, 404, 413, 500, 503)
    )
    return f"""
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 4096; }}
http {{
  log_format short '$connection $connection_requests $status $request';
  access_log {directory}/access.log short;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{ports[0]};
    listen 127.0.0.1:{ports[1]} ssl{http2};{prior_knowledge}
    server_name localhost;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
    {settings}
    root {directory}/content;
    location /slow/ {{ alias {directory}/content/; limit_rate_after 64k; limit_rate 64k; }}
    location = /gzip {{ gzip on; gzip_types text/plain; gzip_http_version 1.1; }}
    location /echo {{
      return 200 "$request_method $request_uri connection=$connection request=$connection_requests\\n";
    }}
    location = /close {{ keepalive_timeout 0; return 200 "goodbye\\n"; }}
    location = /upload {{ client_max_body_size 1m; proxy_pass http://127.0.0.1:{ports[0]}/echo; }}
    location = /early {{ client_max_body_size 1; proxy_pass http://127.0.0.1:{ports[0]}/echo; }}
{statuses}
  }}
}}
"""
