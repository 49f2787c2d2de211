"""One nginx on loopback: a server that nobody here wrote, the same for every competitor."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .processes import stop
from .server import STREAMS_PER_CONNECTION, Server, ServerMissing, write_certificate

BODY = b"x" * 120

#: What there is to download, and how many bytes each holds.
DOWNLOADS = {"/download-1": 1_000_000, "/download-100": 100_000_000}

#: The longest upload that is taken.
UPLOAD_LIMIT = 40_000_000

#: The eight response fields of a small static file, so that every parser has a usual head to read, and one that is
#: another in each response, so that no client profits from having seen the same head before.
#:
#: An upload has to be read to its end, kept in memory, and answered with how many bytes came. `mirror` reads it before
#: the request it mirrors, which goes nowhere, and the answer follows once static files have turned PUT down. Files go
#: out by sendfile, or a plain download would measure how fast nginx copies them.
CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{http1} backlog=4096;
        listen 127.0.0.1:{http1_tls} ssl backlog=4096;
        listen 127.0.0.1:{http2_clear} http2;
        listen 127.0.0.1:{http2_tls} ssl http2;
        ssl_protocols TLSv1.3;
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.pem;
        http2_max_concurrent_streams {streams};
        root {directory}/content;
        location / {{
            add_header Last-Modified "Sat, 21 Nov 2026 01:00:00 GMT";
            add_header ETag '"6544-78"';
            add_header Accept-Ranges bytes;
            add_header X-Request-Id $request_id;
            return 200 "{body}";
        }}
        location /download {{ }}
        location = /upload {{
            client_max_body_size {limit};
            client_body_buffer_size {limit};
            mirror /mirrored;
            error_page 405 =200 @received;
        }}
        location = /mirrored {{ internal; return 204; }}
        location @received {{ return 200 "$request_length"; }}
    }}
}}
"""


class Nginx(NamedTuple):
    """The four ways into one nginx, and which one it is."""

    http1: Server
    http1_tls: Server
    http2_clear: Server
    http2_tls: Server
    version: str


@contextmanager
def running_nginx(core: int | None) -> Iterator[Nginx]:
    """Start nginx on free ports of 127.0.0.1, bound to one CPU core."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        directory = Path(name)
        authority = write_certificate(directory)
        ports = free_ports(4)
        nginx = Nginx(
            http1=Server(ports.pop()),
            http1_tls=Server(ports.pop(), authority),
            http2_clear=Server(ports.pop(), http2=True),
            http2_tls=Server(ports.pop(), authority, http2=True),
            version=nginx_version(),
        )
        _write_content(directory / "content")
        config = CONFIG.format(
            directory=directory,
            body=BODY.decode(),
            streams=STREAMS_PER_CONNECTION,
            limit=UPLOAD_LIMIT,
            **{name: server.port for name, server in nginx._asdict().items() if isinstance(server, Server)},
        )
        with started_nginx(directory, config, core, nginx.http1.port):
            yield nginx


def _find_nginx() -> str:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise ServerMissing("nginx is not installed; on Debian: apt-get install nginx-light")
    return binary


def nginx_version() -> str:
    """As nginx says it.

    Raises:
        ServerMissing: it is not installed.
    """
    said = subprocess.run([_find_nginx(), "-v"], capture_output=True, text=True, check=True).stderr
    return said.rpartition("/")[2].strip()


@contextmanager
def started_nginx(directory: Path, config: str, core: int | None, port: int) -> Iterator[None]:
    """Run nginx with this configuration in `directory`, bound to one CPU core, from when it listens on `port`.

    Raises:
        ServerMissing: it is not installed, or did not start.
    """
    file, errors = directory / "nginx.conf", directory / "error.log"
    file.write_text(config)
    process = subprocess.Popen(
        [_find_nginx(), "-p", str(directory), "-e", str(errors), "-c", str(file)], text=True, process_group=0
    )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        _wait_until_it_listens(port, process, errors)
        yield
    finally:
        stop(process)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses."""
    # All at once: one that was given back could be given out again.
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _write_content(directory: Path) -> None:
    directory.mkdir()
    for path, size in DOWNLOADS.items():
        with (directory / path[1:]).open("wb") as file:
            file.truncate(size)
        # Into the page cache: else whoever asks first waits for the disk.
        (directory / path[1:]).read_bytes()


def _wait_until_it_listens(port: int, process: subprocess.Popen[str], errors: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise ServerMissing(f"nginx ended at once: {errors.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise ServerMissing("nginx does not listen after four seconds")
