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

BODY = b"x" * 120

#: The eight response fields of a small static file, so that every parser has a usual head to read.
CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            add_header Last-Modified "Sat, 21 Nov 2026 01:00:00 GMT";
            add_header ETag '"6544-78"';
            add_header Accept-Ranges bytes;
            return 200 "{body}";
        }}
    }}
}}
"""


class ServerMissing(RuntimeError):
    """nginx is not installed, or did not start."""


@contextmanager
def running_nginx(core: int | None) -> Iterator[int]:
    """Start nginx on a free port of 127.0.0.1, bound to one CPU core, and yield the port."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise ServerMissing("nginx is not installed; on Debian: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        port = _free_port()
        config = Path(directory, "nginx.conf")
        config.write_text(CONFIG.format(directory=directory, port=port, body=BODY.decode()))
        errors = Path(directory, "error.log")
        process = subprocess.Popen([binary, "-p", directory, "-e", str(errors), "-c", str(config)])
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            _wait_until_it_listens(port, process, errors)
            yield port
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], errors: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise ServerMissing(f"nginx ended at once: {errors.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise ServerMissing("nginx does not listen after four seconds")
