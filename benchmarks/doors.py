"""One nginx with many doors: a hundred plain ports, and two with TLS 1.3, of which each has its kind of certificate.

Over TLS the body says whether the connection's session was resumed: "r" or ".", in nginx' own words.
"""

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

from .nginx import BODY
from .processes import stop
from .server import Server, ServerMissing

RESUMED, FULL = b"r", b"."

CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
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
    ssl_protocols TLSv1.3;
    ssl_session_tickets on;
    server {{
{plain}
        add_header Last-Modified "Sat, 21 Nov 2026 01:00:00 GMT";
        add_header ETag '"6544-78"';
        add_header Accept-Ranges bytes;
        return 200 "{body}";
    }}
{secure}
}}
"""
SECURE = """\
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        return 200 "$ssl_session_reused";
    }}
"""


class Doors(NamedTuple):
    """Where this nginx listens.

    Attributes:
        plain: a hundred origins.
        secure: by the key of their certificates, "ECDSA" (P-256) and "RSA" (2048 bits).
        version: of nginx.
    """

    plain: list[Server]
    secure: dict[str, Server]
    version: str


@contextmanager
def running_doors(core: int | None, *, plain: int = 100) -> Iterator[Doors]:
    """Start nginx on free ports of 127.0.0.1, bound to one CPU core."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise ServerMissing("nginx is not installed; on Debian: apt-get install nginx-light")
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stderr
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        directory = Path(name)
        ports = _free_ports(plain + 2)
        secure = {kind: Server(ports.pop(), _certify(directory, kind)) for kind in ("ECDSA", "RSA")}
        doors = Doors([Server(port) for port in ports], secure, said.rpartition("/")[2].strip())
        config, errors = directory / "nginx.conf", directory / "error.log"
        config.write_text(
            CONFIG.format(
                directory=directory,
                body=BODY.decode(),
                plain="\n".join(f"        listen 127.0.0.1:{port};" for port in ports),
                secure="".join(
                    SECURE.format(port=server.port, pem=directory / f"{kind}.pem") for kind, server in secure.items()
                ),
            )
        )
        process = subprocess.Popen(
            [binary, "-p", str(directory), "-e", str(errors), "-c", str(config)], text=True, process_group=0
        )
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            _wait_until_it_listens(ports[0], process, errors)
            yield doors
        finally:
            stop(process)


def _certify(directory: Path, kind: str) -> str:
    """Write the certificate and key of 127.0.0.1, and return the path of the certificate to trust.

    As with public servers, an intermediate authority has signed it, and is sent along.
    """
    import trustme

    key = trustme.KeyType[kind]
    authority = trustme.CA(key_type=key)
    leaf = authority.create_child_ca(key).issue_cert("127.0.0.1", key_type=key)
    leaf.private_key_and_cert_chain_pem.write_to_path(str(directory / f"{kind}.pem"))
    path = str(directory / f"{kind}-authority.pem")
    authority.cert_pem.write_to_path(path)
    return path


def _free_ports(count: int) -> list[int]:
    # All at once: one that was given back could be given out again.
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


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
