"""A proxy's credentials reach nobody but the proxy: no event, error, repr or log, and no other proxy."""

from __future__ import annotations

import logging
import traceback

import pytest
from trio.testing import MockClock

import penstock
from penstock import Proxy
from penstock.testing import ScriptedPeer
from tests.support.proxies import OPENED
from tests.support.proxy_world import SECRET, TOKEN, wait_refused, world


async def test_credentials_are_in_no_event_error_repr_or_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    for url, port in (("http", 3128), ("https", 3129), ("socks5h", 1080)):
        proxy = Proxy(f"{url}://user:pass%3Aword@proxy.test:{port}")
        async with world(proxy, authorization=b"other", credentials=(b"other", b"other")) as w:
            error = await wait_refused(w)
            shown = [str(error), repr(error), repr(error.__dict__), repr(error.__cause__), repr(error.__context__)]
            shown += [repr(w.events), repr(w.pool), repr(w.pool.config), repr(w.pool.statistics()), repr(w.client)]
            shown += [repr(proxy), str(proxy), caplog.text]
            assert_clean(shown)


def assert_clean(shown: list[str]) -> None:
    assert not [text for text in shown if SECRET in text or "pass%3Aword" in text or TOKEN[:9] in text]


def everything_of(error: BaseException | None) -> list[str]:
    """An error, and all that hangs on it."""
    if error is None:
        return []
    shown = [str(error), repr(error), repr(error.__dict__), "".join(traceback.format_exception(error))]
    return shown + everything_of(error.__cause__) + everything_of(error.__context__)


ECHOES = {
    "no HTTP": b"ERR %b",
    "no fields": b"HTTP/1.1 400 no\r\n %b\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n",
    "cut": b"x" * 40 + b"%b",
}


@pytest.mark.parametrize("engine", ["h11", "httptools"])
@pytest.mark.parametrize("kind", ECHOES)
async def test_what_a_proxy_that_passes_requests_on_echoes_is_not_quoted(
    kind: str, engine: str, autojump_clock: MockClock
) -> None:
    async def echo(peer: ScriptedPeer) -> None:
        request = await peer.expect_request()
        await peer.send(ECHOES[kind] % (request.header(b"proxy-authorization") or b""))
        await peer.wait_closed()

    async with world("http://user:pass%3Aword@proxy.test:3128", http1_engine=engine) as w:
        w.front.listen("proxy.test", 3128, echo)
        with pytest.raises(penstock.RemoteProtocolError) as caught:
            await w.client.get("http://api.test/")
        assert_clean([*everything_of(caught.value), repr(w.events)])
        assert kind in ("cut", "no chunk") or "***" in caught.value.peer_said


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 %b\r\n\r\n", b"what is %b?"])
async def test_what_a_proxy_says_instead_of_the_origins_handshake_is_not_quoted(
    said: bytes, autojump_clock: MockClock
) -> None:
    async def echo(peer: ScriptedPeer) -> None:
        request = await peer.expect_request()
        await peer.send(OPENED)
        await peer.receive()
        await peer.send(said % (request.header(b"proxy-authorization") or b""))
        await peer.wait_closed()

    async with world("http://user:pass%3Aword@proxy.test:3128") as w:
        w.front.listen("proxy.test", 3128, echo)
        with pytest.raises(penstock.TLSError, match=r"\*\*\*") as caught:
            await w.client.get("https://localhost/")
        assert_clean([*everything_of(caught.value), repr(w.events)])


async def test_a_request_cannot_bring_credentials_for_the_proxy(autojump_clock: MockClock) -> None:
    for proxy in ("http://proxy.test:3128", "socks5h://proxy.test"):
        async with world(proxy) as w:
            for url in ("http://localhost/", "https://localhost/"):
                with pytest.raises(penstock.LocalProtocolError, match="proxy-authorization cannot be set"):
                    await w.client.get(url, headers={"Proxy-Authorization": "Basic x"})
