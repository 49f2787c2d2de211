"""SOCKS5 (RFC 1928) with names and passwords (RFC 1929), up to the tunnel.

The library reads and writes messages, but only whole ones, so this file knows how long each is. Nothing beyond the
last of them is read: what follows belongs to whoever speaks through the tunnel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._errors import NetworkError
from .stream import send_all

if TYPE_CHECKING:
    from .._errors import ProxyError
    from .._proxy_config import Proxy
    from .stream import ByteStream

# RFC 1928 §6, in words that say what to do about it where there is something.
_REFUSALS: Final = {
    1: "it failed",
    2: "its rules do not allow this",
    3: "it cannot reach the network",
    4: "it cannot reach the host",
    5: "the origin refused the connection",
    6: "the time to live expired on the way",
    7: "it does not know the command",
    8: "it does not know this type of address",
}

#: What another address of the same origin may do better.
_BLAME_THE_ADDRESS: Final = frozenset({1, 3, 4, 5, 8})

_ADDRESS_SIZES: Final = {1: 4, 4: 16}
_DOMAIN: Final = 3


async def open_socks_tunnel(stream: ByteStream, proxy: Proxy, host: str, port: int) -> ProxyError | None:
    """Ask a SOCKS5 proxy for a tunnel; afterwards the stream is one. There is no time limit here: the dial's holds.

    Args:
        stream: connected to the proxy. Whatever goes wrong, closing it is the caller's affair.
        proxy: whose credentials are used if it asks for any.
        host: a name, which the proxy looks up, or an IP address.
        port: where the tunnel leads.

    Returns:
        None; or a refusal that blames the address, so that with another one it may do.

    Raises:
        ProxyError: it refused for another reason, or did not speak SOCKS5.
    """
    from socksio import ProtocolError

    try:
        return await _converse(stream, proxy, host, port)
    except ProtocolError:
        raise proxy.failure("does not speak SOCKS5") from None
    except NetworkError as error:
        raise proxy.failure(f"broke the connection: {error.message}") from error


async def _converse(stream: ByteStream, proxy: Proxy, host: str, port: int) -> ProxyError | None:
    from socksio import socks5

    methods = socks5.SOCKS5AuthMethod
    offered = [methods.NO_AUTH_REQUIRED]
    if proxy.username is not None:
        offered.insert(0, methods.USERNAME_PASSWORD)
    conversation: Any = socks5.SOCKS5Connection()
    conversation.send(socks5.SOCKS5AuthMethodsRequest(offered))
    await send_all(stream, conversation.data_to_send())
    # socksio does not look at the version.
    answer = await _receive(stream, proxy, 2)
    if answer[0] != 5:
        raise proxy.failure("does not speak SOCKS5")
    chosen = conversation.receive_data(answer).method
    if chosen not in offered:
        what = "it wants credentials" if proxy.username is None else "it takes no username and password"
        raise proxy.failure(f"refuses to talk: {what}")
    if chosen is methods.USERNAME_PASSWORD:
        name, password = proxy.username or "", proxy.password or ""
        conversation.send(socks5.SOCKS5UsernamePasswordRequest(name.encode(), password.encode()))
        await send_all(stream, conversation.data_to_send())
        if not conversation.receive_data(await _receive(stream, proxy, 2)).success:
            raise proxy.failure("refuses the username and password")
    conversation.send(socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, (host, port)))
    await send_all(stream, conversation.data_to_send())
    start = await _receive(stream, proxy, 4)
    if start[0] != 5:
        raise proxy.failure("does not speak SOCKS5")
    if start[1]:
        # Nobody asks how the rest of a refusal looks; some servers send none.
        why = _REFUSALS.get(start[1], f"it answered with code {start[1]}")
        refusal = proxy.failure(f"refuses the tunnel: {why}")
        if start[1] in _BLAME_THE_ADDRESS:
            return refusal
        raise refusal
    kind = start[3:]
    length = await _receive(stream, proxy, 1) if kind[0] == _DOMAIN else b""
    size = length[0] if length else _ADDRESS_SIZES.get(kind[0])
    if size is None:
        raise proxy.failure("does not speak SOCKS5")
    conversation.receive_data(start + length + await _receive(stream, proxy, size + 2))
    return None


async def _receive(stream: ByteStream, proxy: Proxy, size: int) -> bytes:
    """Exactly so many bytes."""
    got = b""
    while len(got) < size:
        data = stream.try_receive(size - len(got))
        if data is None:
            await stream.wait_readable()
        elif data:
            got += data
        else:
            raise proxy.failure("closed the connection in the middle of SOCKS5")
    return got
