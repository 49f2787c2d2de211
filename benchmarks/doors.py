"""One nginx with many doors: a hundred plain ports, and two with TLS 1.3, of which each has its kind of certificate.

Over TLS the body says whether the connection's session was resumed: "r" or ".", in nginx' own words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .nginx import BODY, free_ports, nginx_version, started_nginx
from .server import NO_TRUSTME, Server, ServerMissing

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
#: What `SECURE` answers, without TLS.
CLEAR = """\
    server {{
        listen 127.0.0.1:{port};
        return 200 "{body}";
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
        clear: answers as those do to a full handshake.
        secure: by the key of their certificates, "ECDSA" (P-256) and "RSA" (2048 bits).
        version: of nginx.
    """

    plain: list[Server]
    clear: Server
    secure: dict[str, Server]
    version: str


@contextmanager
def running_doors(core: int | None, *, plain: int = 100) -> Iterator[Doors]:
    """Start nginx on free ports of 127.0.0.1, bound to one CPU core."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        directory = Path(name)
        ports = free_ports(plain + 3)
        clear = Server(ports.pop())
        secure = {kind: Server(ports.pop(), _certify(directory, kind)) for kind in ("ECDSA", "RSA")}
        config = CONFIG.format(
            directory=directory,
            body=BODY.decode(),
            plain="\n".join(f"        listen 127.0.0.1:{port};" for port in ports),
            secure=CLEAR.format(port=clear.port, body=FULL.decode())
            + "".join(
                SECURE.format(port=server.port, pem=directory / f"{kind}.pem") for kind, server in secure.items()
            ),
        )
        with started_nginx(directory, config, core, ports[0]):
            yield Doors([Server(port) for port in ports], clear, secure, nginx_version())


def _certify(directory: Path, kind: str) -> str:
    """Write the certificate and key of 127.0.0.1, and return the path of the certificate to trust.

    As with public servers, an intermediate authority has signed it, and is sent along.
    """
    try:
        import trustme
    except ModuleNotFoundError:
        raise ServerMissing(NO_TRUSTME) from None

    key = trustme.KeyType[kind]
    authority = trustme.CA(key_type=key)
    leaf = authority.create_child_ca(key).issue_cert("127.0.0.1", key_type=key)
    leaf.private_key_and_cert_chain_pem.write_to_path(str(directory / f"{kind}.pem"))
    path = str(directory / f"{kind}-authority.pem")
    authority.cert_pem.write_to_path(path)
    return path
