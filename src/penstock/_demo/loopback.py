"""Sockets on the loopback interface."""

from __future__ import annotations

import errno
import socket

from .failure import DemoError

HOST = "127.0.0.1"

#: A burst of connections has to fit, or the kernel drops SYNs and a retransmission spoils the measurement.
BACKLOG = 512


def listen(port: int) -> socket.socket:
    """Listen on a port of the loopback interface, 0 for any free one.

    Raises:
        DemoError: the port is taken or may not be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise DemoError(f"port {port} on {HOST} is in use; choose another one, or leave --port out") from None
        raise DemoError(f"cannot listen on {HOST} port {port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener
